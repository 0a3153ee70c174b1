"""Owns the full names of metrics, which state their protocol: fid_mnistnet_1k_test_raw."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

Suffix = Literal["", "raw", "floor", "ceiling"]  # without one, it is the averaged generator's
SUFFIXES: tuple[Suffix, ...] = get_args(Suffix)

_NAME = re.compile(
    rf"(?P<metric>.+)_(?P<extractor>[a-z0-9]+)_(?P<samples>[0-9]+k?)_(?P<split>train|validation|test)"
    rf"(?:_(?P<suffix>{'|'.join(SUFFIXES[1:])}))?"
)


class MetricName(NamedTuple):
    """A metric with the protocol and the owner of its value; `str` writes the name, `parse` reads it."""

    metric: str  # short name, such as fid_infinity
    extractor: str
    samples: int
    split: str  # of the reference
    suffix: Suffix = ""

    @classmethod
    def parse(cls, text: str) -> MetricName | None:
        """Parse a full name; None for other texts."""
        if (found := _NAME.fullmatch(text)) is None:
            return None
        metric, extractor, samples, split, suffix = found.groups(default="")
        count = int(samples.removesuffix("k")) * (1000 if samples.endswith("k") else 1)
        name = cls(metric, extractor, count, split, suffix)  # type: ignore[arg-type]
        return name if str(name) == text else None

    @property
    def protocol(self) -> tuple[str, int, str]:
        """Extractor, number of samples and split: equal for scores that may be compared."""
        return self.extractor, self.samples, self.split

    @property
    def short_count(self) -> str:
        """Number of samples as names state it: whole thousands as 1k, others plain."""
        n = self.samples
        return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)

    def __str__(self) -> str:
        if self.suffix not in SUFFIXES:
            raise ValueError(f"unknown suffix {self.suffix!r}; there are {', '.join(map(repr, SUFFIXES))}")
        parts = (self.metric, self.extractor, self.short_count, self.split, self.suffix)
        return "_".join(part for part in parts if part)


def is_of_reference(text: str) -> bool:
    """Whether a name's value is a floor or a ceiling, which belong to the data set and not to a run."""
    name = MetricName.parse(text)
    return name is not None and name.suffix in ("floor", "ceiling")


def find_names(
    names: Iterable[str], metric: str, split: str | None = None, suffix: Suffix = ""
) -> list[MetricName]:
    """Find the names of a metric by its short name among any texts; split: None for any."""
    found = [name for text in names if (name := MetricName.parse(text))]
    return sorted(
        name
        for name in found
        if (name.metric, name.suffix) == (metric, suffix) and split in (None, name.split)
    )
