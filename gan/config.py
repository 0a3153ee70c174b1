"""Owns params.yaml: assembles everyone's models, reads the file, and says all its faults at once.

Loads no torch, so that a wrong key costs a fraction of a second. YAML is read with ruamel (YAML 1.2,
as DVC reads it: `1e-4` is a number, `no` a string, a repeated key an error).
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gan.contract import AdamParams, ImageShape, Profile, StrictModel, TrainParams
from gan.data.convert import Plan
from gan.data.pixels import CropName
from gan.data.sources import Layout
from gan.errors import ConfigError
from gan.extractors.base import Pictures
from gan.variants import Variant

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
LEAST_SAMPLES = 129  # more than the evaluator's 128 features
SampleCount = Annotated[int, Field(ge=LEAST_SAMPLES)]
Budget = Literal["smoke", "quick", "full"]
SplitRule = Literal[
    "every_fifth_is_test",
    "last_5000_are_validation",
    "stacked",
    "stacked_every_fifth",
    "mixture",
    "as_published",
]


class SelectParams(StrictModel):
    """What `dvc repro` runs: the full product of four lists."""

    datasets: Annotated[list[Name], Field(min_length=1)]
    variants: Annotated[list[Name], Field(min_length=1)]
    budgets: Annotated[list[Budget], Field(min_length=1)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    study: Name  # names the report
    claims: Annotated[list[Name], Field(max_length=1)] = []  # name of the report of verdicts on claims


class EvaluatorParams(StrictModel):
    """What scores the images: the training of the small network for digits, the name of another's."""

    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: AdamParams
    seed: Annotated[int, Field(ge=0)]
    pictures: Pictures  # scores images that are no digits


class EvaluateParams(StrictModel):
    """Against which split samples are scored."""

    reference: Literal["train", "validation", "test"]


class TrajectoryParams(StrictModel):
    """How many samples of each snapshot are scored along a run."""

    samples: SampleCount


class DatasetParams(StrictModel):
    """What a data set's images look like after conversion, and how they come from the raw files."""

    image: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
    layout: Layout = "idx"  # of the raw files
    split: SplitRule = "as_published"
    crop: CropName = "exact"  # how a picture of any size becomes one of `image`
    max_bad: NonNegativeInt = 0  # pictures that may be left out; each is listed in the store's manifest

    @model_validator(mode="after")
    def _check_rule(self) -> "DatasetParams":
        if (self.layout == "idx") == (self.split == "as_published"):
            raise ValueError("layout idx needs a split rule, the others have the split that is published")
        return self

    @property
    def shape(self) -> ImageShape:
        """Channels, height, width."""
        return ImageShape(*self.image)

    @property
    def plan(self) -> Plan:
        """How the data set is converted."""
        return Plan(self.shape, self.layout, self.split, self.crop, self.max_bad)


class Recipe(StrictModel):
    """One roster entry on one data set. `method` and the steps are all that changes its weights."""

    profile: Profile
    method: Variant
    steps: Annotated[dict[Budget, PositiveInt], Field(min_length=1)]


class Params(StrictModel):
    """The whole of params.yaml."""

    select: SelectParams
    train: TrainParams
    evaluator: EvaluatorParams
    evaluate: EvaluateParams
    samples: dict[Name, SampleCount]  # of each data set; a block of its own, since DVC tracks whole entries
    trajectory: TrajectoryParams
    datasets: dict[Name, DatasetParams]
    anchors: dict[str, Any]  # values that recipes share by YAML alias; read nowhere else
    recipes: dict[Name, dict[Name, Recipe]]


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises ConfigError with one line per fault: file, line, key, what is wrong, and the nearest valid
    name where there is one.
    """
    raw = _read_yaml(path)
    faults = [*_unknown_selections(raw), *_uncounted_datasets(raw)]
    try:
        params = Params.model_validate(_plain(raw))
    except ValidationError as error:
        faults += [_explain(raw, detail) for detail in error.errors()]
        params = None
    if faults or params is None:
        faults = _without_echoes(faults)
        # An aliased block is checked once per data set; its fault stands in one line of the file.
        found = {(_line_of(raw, keys), keys[-1], text): keys for keys, text in reversed(faults)}
        lines = sorted((line, ".".join(map(str, keys)), text) for (line, _, text), keys in found.items())
        raise ConfigError("\n".join(f"{path}:{line}: {key}: {text}" for line, key, text in lines))
    return params


Fault = tuple[tuple[str | int, ...], str]
MISSING = "this key is missing"


def _read_yaml(path: Path) -> CommentedMap:
    try:
        raw = YAML(typ="rt").load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; run this in the project's root") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = (error.problem or "not YAML").splitlines()[0]
        raise ConfigError(f"{path}:{line}: {problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, CommentedMap):
        raise ConfigError(f"{path}:1: expected a mapping of sections, found {type(raw).__name__}")
    return raw


def _plain(value: Any) -> Any:
    """Take ruamel's round-trip containers and scalars down to Python's own, merges resolved."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, CommentedSeq):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _unknown_selections(raw: CommentedMap) -> Iterator[Fault]:
    """Yield a fault for each selected name that no data set, recipe or budget answers to."""
    select, recipes = raw.get("select"), raw.get("recipes")
    if not isinstance(select, Mapping) or not isinstance(recipes, Mapping):
        return

    def names(axis: str) -> list[tuple[int, Any]]:
        values = select.get(axis)
        return list(enumerate(values)) if isinstance(values, list) else []

    for position, dataset in names("datasets"):
        if dataset not in recipes:
            yield ("select", "datasets", position), _unknown("data set", dataset, list(recipes))
            continue
        entries = recipes[dataset]
        for variant_position, variant in names("variants"):
            if not isinstance(entries, Mapping) or variant not in entries:
                valid = list(entries) if isinstance(entries, Mapping) else []
                yield (
                    ("select", "variants", variant_position),
                    _unknown("variant", variant, valid),
                )
                continue
            steps = entries[variant].get("steps") if isinstance(entries[variant], Mapping) else None
            for budget_position, budget in names("budgets"):
                if isinstance(steps, Mapping) and budget not in steps and budget in get_args(Budget):
                    yield (
                        ("select", "budgets", budget_position),
                        f"{variant} on {dataset} has no budget {budget!r}; it has {', '.join(steps)}",
                    )
    for axis in ("datasets", "variants", "budgets", "seeds"):
        values = [value for _, value in names(axis)]
        if len(set(map(str, values))) < len(values):
            yield ("select", axis), "a name stands here twice"


def _uncounted_datasets(raw: CommentedMap) -> Iterator[Fault]:
    """Yield a fault for each data set without a count of samples, and for each count without a data set."""
    datasets, samples = raw.get("datasets"), raw.get("samples")
    if not isinstance(datasets, Mapping) or not isinstance(samples, Mapping):
        return
    for name in datasets:
        if name not in samples:
            yield ("samples", name), MISSING
    for name in samples:
        if name not in datasets:
            yield ("samples", name), _unknown("data set", name, list(datasets))


def _without_echoes(faults: list[Fault]) -> list[Fault]:
    """Leave out the missing key where an unknown one beside it is that very key, misspelt."""
    misspelt = {
        (*keys[:-1], text.split("'")[3])
        for keys, text in faults
        if "unknown key" in text and "did you mean" in text
    }
    return [(keys, text) for keys, text in faults if text != MISSING or keys not in misspelt]


def _unknown(what: str, found: object, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(found), valid, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {str(found)!r}; {hint}(valid: {', '.join(sorted(valid))})"


def _explain(raw: CommentedMap, detail: ErrorDetails) -> Fault:
    """Turn one of pydantic's errors into the keys that lead to it and a sentence."""
    keys = tuple(part for part in _without_tags(raw, detail["loc"]))
    kind, found = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return keys, _unknown("key", keys[-1], _valid_keys(detail["loc"]))
    if kind == "missing":
        return keys, MISSING
    if kind in ("union_tag_invalid", "literal_error"):
        expected = detail["ctx"].get("expected_tags") or detail["ctx"]["expected"]
        valid = [name.strip("' ") for name in expected.replace(" or ", ",").split(",")]
        found = detail["ctx"].get("tag", found)
        keys = (*keys, "kind") if kind == "union_tag_invalid" else keys
        return keys, _unknown("value", found, valid)
    if kind == "union_tag_not_found":
        return (*keys, "kind"), MISSING
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return keys, f"{message}, found {found!r}"


def _without_tags(raw: Any, location: Sequence[str | int]) -> Iterator[str | int]:
    """Leave out the union tags that pydantic puts into a location and the file doesn't hold."""
    for index, part in enumerate(location):
        inside = isinstance(raw, Mapping) and part in raw
        inside = inside or (isinstance(raw, list) and isinstance(part, int) and part < len(raw))
        if inside:
            raw = raw[part]
            yield part
        elif index == len(location) - 1:
            yield part


def _valid_keys(location: Sequence[str | int]) -> list[str]:
    """Names of the fields that may stand beside the last part of a location."""
    current: Any = Params
    for part in location[:-1]:
        current = _step_into(current, part)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _step_into(current: Any, part: str | int) -> Any:
    if isinstance(current, type) and issubclass(current, BaseModel):
        return current.model_fields[str(part)].annotation
    while get_origin(current) is Annotated:
        current = get_args(current)[0]
    if get_origin(current) is dict:
        return get_args(current)[1]
    if get_origin(current) is list:
        return get_args(current)[0]
    for member in get_args(current):  # a union, whose tag is the part
        if issubclass(member, BaseModel) and part in get_args(member.model_fields["kind"].annotation):
            return member
    return current


def _line_of(raw: Any, keys: Sequence[str | int]) -> int:
    """Line of the deepest of these keys that the file holds, counted from 1."""
    line = 1
    for key in keys:
        if isinstance(raw, CommentedMap):
            owner = _owner(raw, key)
            if owner is None:
                return line
            line = owner.lc.key(key)[0] + 1
        elif isinstance(raw, CommentedSeq) and isinstance(key, int) and key < len(raw):
            line = raw.lc.item(key)[0] + 1
        else:
            return line
        raw = raw[key]
    return line


def _owner(mapping: CommentedMap, key: str | int) -> CommentedMap | None:
    """Find the mapping that writes a key itself: this one, or one that it merges with `<<`."""
    if key in (mapping.lc.data or {}):
        return mapping
    for merged in mapping.merge:
        owner = _owner(merged, key)
        if owner is not None:
            return owner
    return None
