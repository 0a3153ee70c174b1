"""Owns how a fault in a YAML file is said: file, line, key, what is wrong, and the nearest valid name.

YAML is read with ruamel (YAML 1.2, as DVC reads it: `1e-4` is a number, `no` a string, a repeated key an
error).
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gan.errors import ConfigError

Keys = tuple[str | int, ...]
Fault = tuple[Keys, str]  # the keys that lead to it, and a sentence
MISSING = "this key is missing"
Container = TypeVar("Container", CommentedMap, CommentedSeq)


def read_text(path: Path) -> str:
    """Read a text file. Raises ConfigError when it isn't there or isn't UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; run this in the project's root") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def parse_mapping(text: str, path: Path) -> CommentedMap:
    """Parse a YAML mapping that knows the lines of its keys. Raises ConfigError, naming `path`, otherwise."""
    return _parse(text, path, CommentedMap, "a mapping of sections")


def _parse(text: str, path: Path, kind: type[Container], described: str) -> Container:
    try:
        raw = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = (error.problem or "not YAML").splitlines()[0]
        raise ConfigError(f"{path}:{line}: {problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, kind):
        raise ConfigError(f"{path}:1: expected {described}, found {type(raw).__name__}")
    return raw


def plain(value: Any) -> Any:
    """Take ruamel's round-trip containers and scalars down to Python's own."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, CommentedSeq):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def read_checked(path: Path, model: Any) -> Any:
    """Read a YAML mapping, or a list for a model that is one. Raises ConfigError with one line per fault."""
    text = read_text(path)
    is_list = get_origin(model) is list
    raw = _parse(text, path, CommentedSeq, "a list of entries") if is_list else parse_mapping(text, path)
    try:
        return TypeAdapter(model).validate_python(plain(raw))
    except ValidationError as error:
        raise ConfigError("\n".join(fault_lines(path, raw, explain_all(raw, error, model)))) from error


def unknown(what: str, found: object, valid: Sequence[str]) -> str:
    """Say that a name isn't among the valid ones, with the nearest of them."""
    near = difflib.get_close_matches(str(found), valid, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {str(found)!r}; {hint}(valid: {', '.join(sorted(valid))})"


def explain_all(raw: Any, error: ValidationError, model: Any, under: Keys = ()) -> Iterator[Fault]:
    """Turn pydantic's errors on what is read under these keys, as a `model`, into faults."""
    for detail in error.errors():
        keys, text = _explain(raw, detail, model)
        yield (*under, *keys), text


def fault_lines(path: Path, raw: CommentedMap | CommentedSeq, faults: Iterable[Fault]) -> list[str]:
    """Write faults in the order of the file, without those that follow from another one."""
    lines = sorted(
        (line_of(raw, keys), ".".join(map(str, keys)), text) for keys, text in _without_echoes(faults)
    )
    return [f"{path}:{line}: {key}: {text}" for line, key, text in lines]


def _without_echoes(faults: Iterable[Fault]) -> list[Fault]:
    """Leave out the missing key where an unknown one beside it is that very key, misspelt."""
    faults = list(faults)
    misspelt = {
        (*keys[:-1], text.split("'")[3])
        for keys, text in faults
        if "unknown key" in text and "did you mean" in text
    }
    return [(keys, text) for keys, text in faults if text != MISSING or keys not in misspelt]


def _explain(raw: Any, detail: ErrorDetails, model: Any) -> Fault:
    """Turn one of pydantic's errors into the keys that lead to it and a sentence."""
    keys = tuple(part for part in _without_tags(raw, detail["loc"]))
    kind, found = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return keys, unknown("key", keys[-1], _valid_keys(detail["loc"], model))
    if kind == "missing":
        return keys, MISSING
    if kind in ("union_tag_invalid", "literal_error"):
        expected = detail["ctx"].get("expected_tags") or detail["ctx"]["expected"]
        valid = [name.strip("' ") for name in expected.replace(" or ", ",").split(",")]
        found = detail["ctx"].get("tag", found)
        keys = (*keys, "kind") if kind == "union_tag_invalid" else keys
        return keys, unknown("value", found, valid)
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


def _valid_keys(location: Sequence[str | int], model: Any) -> list[str]:
    """Names of the fields that may stand beside the last part of a location."""
    current = model
    for part in location[:-1]:
        current = _step_into(current, part)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _step_into(current: Any, part: str | int) -> Any:
    if isinstance(current, type) and issubclass(current, BaseModel):
        field = current.model_fields[str(part)].annotation
        return get_args(field)[0] if type(None) in get_args(field) else field
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


def line_of(raw: Any, keys: Keys) -> int:
    """Line of the deepest of these keys that the file holds, counted from 1."""
    line = 1
    for key in keys:
        if isinstance(raw, CommentedMap) and key in raw:
            line = raw.lc.key(key)[0] + 1
        elif isinstance(raw, CommentedSeq) and isinstance(key, int) and key < len(raw):
            line = raw.lc.item(key)[0] + 1
        else:
            return line
        raw = raw[key]
    return line
