"""Owns the tests of how runs went: time to a level, correlation with a score, collapse, shape of a curve."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from gan.config import Name
from gan.contract import StrictModel
from gan.errors import DataError
from pipeline.claims.evidence import Evidence
from pipeline.claims.finding import (
    BaseTest,
    Series,
    Source,
    Thresholded,
    Verdict,
    combined,
    decide,
    read_of,
    spoken,
)
from pipeline.scores.history import WINDOW
from pipeline.scores.inference import (
    Effect,
    Floats,
    bounded_mean,
    final_level,
    mann_kendall,
    ratio_of_times,
    reached,
    share,
    spearman,
)
from pipeline.stage import Cell

SIGNIFICANT = 0.05  # p of a trend
COLLAPSED_RECALL, COLLAPSED_DUPLICATES = 0.25, 0.5


class Duration(Thresholded):
    """How many times as long one entry takes as another until a falling series is at a level."""

    kind: Literal["duration"]
    of: Name
    against: Name
    axis: Literal["step", "images_seen"]
    series: Series
    level: PositiveFloat
    level_of: Literal["ceiling", "value"]  # ceiling: a share of noise's score

    @model_validator(mode="after")
    def _has_a_level(self) -> Duration:
        if self.level_of == "ceiling" and self.series.startswith("curve/"):
            raise ValueError("level_of ceiling goes with a score; a curve has no ceiling, give value")
        return self

    @property
    def entries(self) -> list[str]:
        """Both."""
        return [self.of, self.against]

    @property
    def reads(self) -> list[tuple[Source, str]]:
        """The series, and noise's score where the level is a share of it."""
        source, name = read_of(self.series)
        if source == "curve":
            return [(source, name)]
        found: list[tuple[Source, str]] = [("score along the run", name)]
        return [*found, ("score", name)] if self.level_of == "ceiling" else found

    @property
    def what(self) -> str:
        """Name the two and the level."""
        axis = "images" if self.axis == "images_seen" else "generator steps"
        level = f"{self.level:g}" + (" of noise's" if self.level_of == "ceiling" else "")
        return f"ratio of {axis} until {spoken(self.series)} is {level}, {self.of} to {self.against}"

    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Ratio of geometric means; a run of `of` that never arrives stands with its length, as the least."""
        times: dict[str, list[float]] = {}
        unfinished = 0
        for entry in self.entries:
            times[entry] = []
            for cell in evidence.runs(entry):
                steps, images, values = evidence.series(cell, self.series)
                axis = images if self.axis == "images_seen" else steps
                level = self.level
                if self.level_of == "ceiling":
                    level *= evidence.score(cell, self.series.partition("/")[2], "ceiling")
                found = reached(level, list(axis), list(values))
                if found is None and entry == self.against:
                    raise DataError(f"{cell.key} never came to {level:.4g}")
                unfinished += found is None
                times[entry].append(max(float(axis[-1]) if found is None else found, 1.0))
        effect = ratio_of_times(times[self.of], times[self.against], unfinished=unfinished > 0)
        note = f"{unfinished} of {len(times[self.of])} runs never got there" if unfinished else ""
        return self.decided(effect, note)


class OfEntries(BaseTest):
    """A test of the runs of any number of entries."""

    variants: Annotated[list[Name], Field(min_length=1)]

    @property
    def entries(self) -> list[str]:
        """All of them."""
        return self.variants


class Correlation(OfEntries):
    """Rank correlation of a curve with a score along each run; the entry that is furthest off decides."""

    kind: Literal["correlation"]
    series: str
    score: Name
    more_than: float | None = None
    less_than_absolute: float | None = None

    @model_validator(mode="after")
    def _has_one_threshold(self) -> Correlation:
        if (self.more_than is None) == (self.less_than_absolute is None):
            raise ValueError("give one of more_than and less_than_absolute")
        return self

    @property
    def reads(self) -> list[tuple[Source, str]]:
        """The curve and the score."""
        return [("curve", self.series), ("score along the run", self.score)]

    @property
    def what(self) -> str:
        """Name the two series."""
        size = "absolute " if self.more_than is None else ""
        return (
            f"{size}rank correlation of {spoken('curve/' + self.series)} with "
            f"{spoken('score/' + self.score)} along each run of {', '.join(self.variants)}"
        )

    @property
    def rule(self) -> str:
        """The threshold."""
        if self.more_than is not None:
            return f"above {self.more_than:g}"
        return f"below {self.less_than_absolute:g}"

    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Mean over runs with Student's interval, entry by entry."""
        found: list[tuple[Effect, Verdict, str]] = []
        for variant in self.variants:
            values = [self._of_run(evidence, cell) for cell in evidence.runs(variant)]
            if self.more_than is not None:
                effect = bounded_mean(values, -1, 1)
                verdict = decide(effect, more_than=self.more_than)
            else:
                effect = bounded_mean([abs(value) for value in values], 0, 1)
                verdict = decide(effect, less_than=self.less_than_absolute)
            found.append((effect, verdict, variant if len(self.variants) > 1 else ""))
        worst = combined(verdict for _, verdict, _ in found)
        candidates = [entry for entry in found if entry[1] == worst]
        return min(candidates, key=lambda entry: entry[0].value * (1 if self.more_than is not None else -1))

    def _of_run(self, evidence: Evidence, cell: Cell) -> float:
        steps, _, scores = evidence.points(cell, self.score)
        times, _, values = evidence.series(cell, f"curve/{self.series}")
        within = (steps >= times[0]) & (steps <= times[-1])
        return spearman(list(np.interp(steps[within], times, values)), list(scores[within]))


class Collapse(OfEntries):
    """Whether any run collapsed: final recall below a quarter of its best, or half its samples duplicates."""

    kind: Literal["collapse"]
    least_runs: PositiveInt

    @property
    def reads(self) -> list[tuple[Source, str]]:
        """Recall along the run and at its end, and duplicates."""
        return [("score along the run", "recall"), ("score", "recall"), ("score", "duplicates")]

    @property
    def what(self) -> str:
        """Name the entries."""
        return f"share of collapsed runs of {', '.join(self.variants)}"

    @property
    def rule(self) -> str:
        """None of enough runs."""
        return f"0 of {self.least_runs} runs or more"

    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Share with Wilson's interval."""
        cells = [cell for variant in self.variants for cell in evidence.runs(variant)]
        fallen = [cell.key for cell in cells if self._is_collapsed(evidence, cell)]
        effect = share(len(fallen), len(cells))
        if fallen:
            return effect, "refuted", f"collapsed: {', '.join(fallen)}"
        return effect, "confirmed" if len(cells) >= self.least_runs else "inconclusive", ""

    def _is_collapsed(self, evidence: Evidence, cell: Cell) -> bool:
        recall = evidence.score(cell, "recall")
        best = max(recall, float(evidence.points(cell, "recall")[2].max()))
        repeated = evidence.score(cell, "duplicates") > COLLAPSED_DUPLICATES
        return repeated or recall < COLLAPSED_RECALL * best


def _has_trend(values: Floats, sign: int) -> bool:
    """Whether values rise (1) or fall (-1), by Mann and Kendall's test."""
    trend = mann_kendall(list(values))
    return sign * trend.tau > 0 and trend.p < SIGNIFICANT


def _ends(curve: Floats) -> tuple[float, float]:
    """Levels of the first and of the last tenth of a curve."""
    return final_level(list(curve[::-1])), final_level(list(curve))


class RisesThenFalls(StrictModel):
    """A maximum, within the first steps where `by` is given, and a falling trend from there on."""

    kind: Literal["rises_then_falls"]
    by: PositiveInt | None = None  # generator steps, fewer than the run has

    @property
    def rule(self) -> str:
        """In words."""
        by = "" if self.by is None else f" and by step {self.by}"
        return f"has its maximum after the first row{by}, then falls (Mann-Kendall)"

    def holds(self, steps: Floats, values: Floats, smoothed: Floats) -> bool:
        """Whether a curve is such: a trend is one of the curve itself, levels are of the smoothed one."""
        peak = int(smoothed.argmax())
        after = values[peak + WINDOW :]  # nearer values are high since they made the peak
        if peak == 0 or (self.by is not None and steps[peak] > self.by) or len(after) < 4:
            return False
        return _has_trend(after, -1)


class Falls(StrictModel):
    """A falling trend, down to a share of where it began."""

    kind: Literal["falls"]
    low: PositiveFloat
    high: PositiveFloat

    @property
    def rule(self) -> str:
        """In words."""
        return f"falls (Mann-Kendall), to {self.low:g} to {self.high:g} of its first tenth"

    def holds(self, steps: Floats, values: Floats, smoothed: Floats) -> bool:
        """Whether a curve is such: a trend is one of the curve itself, levels are of the smoothed one."""
        first, last = _ends(smoothed)
        return _has_trend(values, -1) and self.low <= last / first <= self.high


class Dips(StrictModel):
    """Below a level in the first half of the run, above another at the end."""

    kind: Literal["dips"]
    below: float
    above: float

    @property
    def rule(self) -> str:
        """In words."""
        return f"is below {self.below:g} in the first half of the run, and ends above {self.above:g}"

    def holds(self, steps: Floats, values: Floats, smoothed: Floats) -> bool:
        """Whether a curve is such: a trend is one of the curve itself, levels are of the smoothed one."""
        early = smoothed[steps <= steps[-1] / 2]
        return bool(early.min() < self.below) and final_level(list(smoothed)) > self.above


class Grows(StrictModel):
    """A rising trend, by a factor from the first tenth to the last."""

    kind: Literal["grows"]
    factor: PositiveFloat

    @property
    def rule(self) -> str:
        """In words."""
        return f"grows (Mann-Kendall), {self.factor:g} times or more from its first tenth to its last"

    def holds(self, steps: Floats, values: Floats, smoothed: Floats) -> bool:
        """Whether a curve is such: a trend is one of the curve itself, levels are of the smoothed one."""
        first, last = _ends(smoothed)
        return _has_trend(values, 1) and last >= self.factor * first


Shape = Annotated[RisesThenFalls | Falls | Dips | Grows, Field(discriminator="kind")]


class CurveShape(BaseTest):
    """Share of runs whose curve has a shape: all of them confirm, none refutes."""

    kind: Literal["course"]
    variant: Name
    series: str
    shape: Shape

    @property
    def entries(self) -> list[str]:
        """The one."""
        return [self.variant]

    @property
    def reads(self) -> list[tuple[Source, str]]:
        """The curve."""
        return [("curve", self.series)]

    @property
    def what(self) -> str:
        """Name the curve."""
        return f"share of runs of {self.variant} whose {spoken('curve/' + self.series)} has the shape"

    @property
    def rule(self) -> str:
        """The shape, in every run."""
        return f"{self.shape.rule}; in every run"

    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Share with Wilson's interval."""
        cells = evidence.runs(self.variant)
        held = 0
        for cell in cells:
            steps, _, values = evidence.curve(cell, self.series)
            held += self.shape.holds(steps, values, evidence.series(cell, f"curve/{self.series}")[2])
        effect = share(held, len(cells))
        if len(cells) < 2 or 0 < held < len(cells):
            return effect, "inconclusive", ""
        return effect, "confirmed" if held else "refuted", ""
