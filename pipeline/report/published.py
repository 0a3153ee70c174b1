"""Owns the published scores: what others report for a kind of GAN, with the protocol of each value.

The values are data, in published.yaml. No two protocols are alike, so they are read, never ranked.
"""

from pathlib import Path
from typing import Literal

from gan.contract import StrictModel
from gan.faults import read_checked

PUBLISHED = Path(__file__).parent / "published.yaml"


class Scores(StrictModel):
    """One model's values in one source."""

    kinds: list[str]  # of our recipes
    model: str  # as the source calls it
    values: dict[str, str]  # data set -> value as printed


class Publication(StrictModel):
    """One source: what it measured, how, and whether that was read there."""

    source: str
    mark: Literal["verified", "recalled"]
    measure: str
    protocol: str
    scores: list[Scores]

    def of_kind(self, kind: str) -> list[tuple[str, str, str]]:
        """Model, data set and value of each score that stands beside a kind of GAN."""
        return [
            (scores.model, dataset, value)
            for scores in self.scores
            if kind in scores.kinds
            for dataset, value in scores.values.items()
        ]


def read_published(path: Path = PUBLISHED) -> list[Publication]:
    """Read all sources. Raises ConfigError with one line per fault."""
    sources: list[Publication] = read_checked(path, list[Publication])
    return sources
