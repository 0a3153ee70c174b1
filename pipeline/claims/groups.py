"""Owns the tests that compare one number of the runs of several entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveFloat, model_validator

from gan.config import Name
from gan.errors import DataError
from pipeline.claims.evidence import Evidence
from pipeline.claims.finding import BaseTest, Quantity, Scale, Source, Thresholded, Verdict, read_of, spoken
from pipeline.scores.inference import Effect, contrast, exponential


def compared(
    groups: Sequence[Sequence[float]],
    scale: Scale,
    weights: Sequence[float] = (1, -1),
    confidence: float = 0.95,
) -> Effect:
    """Difference of means, or ratio of geometric means. Raises DataError as `contrast` does."""
    if scale == "difference":
        return contrast(groups, weights, confidence=confidence)
    if not all(value > 0 for group in groups for value in group):
        raise DataError("a ratio is one of positive numbers")
    logs = [[math.log(value) for value in group] for group in groups]
    return exponential(contrast(logs, weights, confidence=confidence))


class OfTwoEntries(BaseTest):
    """A test of one number of the runs of two entries."""

    quantity: Quantity
    of: Name
    against: Name
    scale: Scale

    @property
    def entries(self) -> list[str]:
        """Both."""
        return [self.of, self.against]

    @property
    def reads(self) -> list[tuple[Source, str]]:
        """The one quantity."""
        return [read_of(self.quantity)]

    @property
    def what(self) -> str:
        """Name the two."""
        return f"{self.scale} of {spoken(self.quantity)}, {self.of} to {self.against}"


class Comparison(OfTwoEntries, Thresholded):
    """Ratio or difference of one number of the runs of two entries."""

    kind: Literal["comparison"]

    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Welch's interval, of logarithms for a ratio."""
        groups = [evidence.quantities(entry, self.quantity) for entry in self.entries]
        return self.decided(compared(groups, self.scale))


class Interaction(Thresholded):
    """How many times as much a change does to one entry as to another: a ratio of two ratios."""

    kind: Literal["interaction"]
    quantity: Quantity
    of: Name
    against: Name
    other_of: Name
    other_against: Name

    @property
    def entries(self) -> list[str]:
        """All four."""
        return [self.of, self.against, self.other_of, self.other_against]

    @property
    def reads(self) -> list[tuple[Source, str]]:
        """The one quantity."""
        return [read_of(self.quantity)]

    @property
    def what(self) -> str:
        """Name the four."""
        return (
            f"ratio of {spoken(self.quantity)}, {self.of} to {self.against}, "
            f"over that of {self.other_of} to {self.other_against}"
        )

    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Contrast of the four means of logarithms."""
        groups = [evidence.quantities(entry, self.quantity) for entry in self.entries]
        return self.decided(compared(groups, "ratio", (1, -1, -1, 1)))


class Equivalence(OfTwoEntries):
    """Two one-sided tests at 5 %, that is the 90 % interval, against a margin. Schuirmann, 1987."""

    kind: Literal["equivalence"]
    margin: PositiveFloat
    claimed: Literal["equal", "different"]

    @model_validator(mode="after")
    def _has_a_margin(self) -> Equivalence:
        if self.scale == "ratio" and self.margin <= 1:
            raise ValueError("the margin of a ratio is above 1")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which two entries count as equal."""
        return (1 / self.margin, self.margin) if self.scale == "ratio" else (-self.margin, self.margin)

    @property
    def rule(self) -> str:
        """The margin."""
        low, high = self.bounds
        return f"{'within' if self.claimed == 'equal' else 'outside'} {low:g} to {high:g}"

    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Equal where the interval lies within the margin, different where it lies beyond one end of it."""
        groups = [evidence.quantities(entry, self.quantity) for entry in self.entries]
        effect = compared(groups, self.scale, confidence=0.9)
        if effect.low is None or effect.high is None:
            return effect, "inconclusive", ""
        low, high = self.bounds
        equal, different = low < effect.low and effect.high < high, effect.low > high or effect.high < low
        holds, fails = (equal, different) if self.claimed == "equal" else (different, equal)
        return effect, "confirmed" if holds else "refuted" if fails else "inconclusive", "90 % interval"
