"""Owns the settings of a method as a person reads them, each with its departure from the paper."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gan.config import flatten
from gan.contract import VariantParams


class Setting(NamedTuple):
    """One value of a recipe, and where the recipe says that it departs from the paper."""

    name: str
    value: str
    departure: str


def list_settings(method: VariantParams, departures: Mapping[str, str]) -> Iterator[Setting]:
    """Yield every value of a method, defaults included, with its departure.

    A departure of a group of values comes before them, under the group's name and without a value.
    """
    left = dict(departures)
    for name, value in flatten(method.model_dump(mode="json", by_alias=True)):
        parts = name.split(".")
        for end in range(1, len(parts)):
            group = ".".join(parts[:end])
            if group in left:
                yield Setting(group, "", left.pop(group))
        yield Setting(name, _text(value), left.pop(name, ""))


def _text(value: Any) -> str:
    """Write a value as a recipe would, a list as its members."""
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, Mapping):
        return f"({' '.join(f'{name}={_text(item)}' for name, item in value.items() if item is not None)})"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
