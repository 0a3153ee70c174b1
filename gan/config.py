"""Owns params.yaml and the files of recipes that it names: reads them, and says all their faults at once.

Loads no torch, so that a wrong key costs a fraction of a second.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate, chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError, model_validator
from ruamel.yaml.comments import CommentedMap

from gan.contract import AdamParams, ImageShape, Profile, StrictModel, TrainParams
from gan.data.convert import Plan
from gan.data.pixels import CropName
from gan.data.sources import Layout
from gan.errors import ConfigError
from gan.extractors.base import Pictures
from gan.faults import MISSING, Fault, explain_all, fault_lines, parse_mapping, plain, read_text, unknown
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
    """One roster entry on one kind of image. `method` and the steps are all that changes its weights."""

    profile: Profile
    origin: str = ""  # whose recipe it is, or what it is for
    method: Variant
    steps: Annotated[dict[Budget, PositiveInt], Field(min_length=1)]
    departures: dict[str, str] = {}  # dotted name in `method`: what the paper or the ancestor has there

    @property
    def settings(self) -> dict[str, Any]:
        """The method with all defaults, as YAML would write it."""
        return self.method.model_dump(mode="json", by_alias=True)


class Params(StrictModel):
    """The whole of params.yaml, with the recipes of the files that it names."""

    select: SelectParams
    train: TrainParams
    evaluator: EvaluatorParams
    evaluate: EvaluateParams
    samples: dict[Name, SampleCount]  # of each data set; a block of its own, since DVC tracks whole entries
    trajectory: TrajectoryParams
    datasets: dict[Name, DatasetParams]
    recipes: dict[Name, dict[Name, Recipe]]  # of each data set; the file names files that hold them


Files = dict[Name, list[str]]  # of each data set, relative to params.yaml
Entries = dict[Name, Recipe]


class RecipeFile(NamedTuple):
    """What a file of recipes holds: as written, as checked, and a line for each of its faults."""

    raw: CommentedMap
    entries: Entries
    faults: list[str]


def load_params(path: Path) -> Params:
    """Read and check params.yaml and the files of recipes that it names.

    Raises ConfigError with one line per fault: file, line, key, what is wrong, and the nearest valid
    name where there is one.
    """
    return parse_params(read_text(path), path)


def parse_params(text: str, path: Path) -> Params:
    """Check what is, or is to be, the text of params.yaml at `path`. Raises ConfigError as `load_params`."""
    raw = parse_mapping(text, path)
    values = plain(raw)
    named, faults = _named_files(raw, values)
    files: dict[str, RecipeFile] = {}
    recipes: dict[str, Entries] = {}
    written: dict[str, dict[str, Any]] = {}
    for dataset, names in named.items():
        recipes[dataset], written[dataset] = {}, {}
        for position, name in enumerate(names):
            if name not in files and not (path.parent / name).is_file():
                faults.append((("recipes", dataset, position), f"no such file {name!r}"))
                continue
            files[name] = files.get(name) or read_recipes(path.parent / name)
            if twice := sorted(written[dataset].keys() & files[name].raw.keys()):
                fault = f"{name} has entries that a file before it has too: {', '.join(twice)}"
                faults.append((("recipes", dataset, position), fault))
            recipes[dataset] |= files[name].entries
            written[dataset] |= files[name].raw
    faults += [*_unknown_selections(raw, written), *_misnamed(raw, "samples"), *_misnamed(raw, "recipes")]
    params = None
    try:
        params = Params.model_validate(values | ({"recipes": recipes} if "recipes" in values else {}))
    except ValidationError as error:
        faults += explain_all(raw, error, Params)
    lines = [*fault_lines(path, raw, faults), *(line for file in files.values() for line in file.faults)]
    if lines or params is None:
        raise ConfigError("\n".join(lines))
    return params


def _named_files(raw: CommentedMap, values: Mapping[str, Any]) -> tuple[Files, list[Fault]]:
    """Names of the files of each data set's recipes, and what is wrong with the block that has them."""
    try:
        return TypeAdapter(Files).validate_python(values.get("recipes", {}), strict=True), []
    except ValidationError as error:
        return {}, list(explain_all(raw["recipes"], error, Files, under=("recipes",)))


def read_recipes(path: Path) -> RecipeFile:
    """Read and check a file of recipes. Raises ConfigError when it is no mapping."""
    raw = parse_mapping(read_text(path), path)
    entries: Entries = {}
    try:
        entries = TypeAdapter(Entries).validate_python(plain(raw))
        faults = list(_unknown_departures(entries))
    except ValidationError as error:
        faults = list(explain_all(raw, error, Entries))
    return RecipeFile(raw, entries, fault_lines(path, raw, faults))


def _unknown_departures(entries: Entries) -> Iterator[Fault]:
    """Yield a fault for each departure from a setting that its entry's method doesn't have."""
    for entry, recipe in entries.items():
        valid = dotted_names(recipe.settings)
        for name in recipe.departures:
            if name not in valid:
                yield (entry, "departures", name), unknown("setting", name, valid)


def dotted_names(settings: Mapping[str, Any]) -> list[str]:
    """Dotted names of settings and of the groups that they stand in."""
    names = (accumulate(name.split("."), "{}.{}".format) for name, _ in flatten(settings))
    return list(dict.fromkeys(chain.from_iterable(names)))


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting under its dotted name; an empty group has none."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _unknown_selections(raw: CommentedMap, recipes: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield a fault for each selected name that no data set, recipe or budget answers to."""
    select = raw.get("select")
    if not isinstance(select, Mapping) or not recipes:
        return

    def names(axis: str) -> list[tuple[int, Any]]:
        values = select.get(axis)
        return list(enumerate(values)) if isinstance(values, list) else []

    for position, dataset in names("datasets"):
        if dataset not in recipes:
            yield ("select", "datasets", position), unknown("data set", dataset, list(recipes))
            continue
        entries = recipes[dataset]
        for variant_position, variant in names("variants"):
            if variant not in entries:
                fault = unknown("variant", variant, list(entries))
                yield ("select", "variants", variant_position), fault
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


def _misnamed(raw: CommentedMap, block: str) -> Iterator[Fault]:
    """Yield a fault for each data set that a block lacks, and for each of its names that is no data set."""
    datasets, held = raw.get("datasets"), raw.get(block)
    if not isinstance(datasets, Mapping) or not isinstance(held, Mapping):
        return
    for name in datasets:
        if name not in held:
            yield (block, name), MISSING
    for name in held:
        if name not in datasets:
            yield (block, name), unknown("data set", name, list(datasets))
