"""Owns the kinds of test that a claim may name: what each measures of its runs, and when it stands.

The interval of the effect decides: wholly on the claimed side of the threshold it confirms, wholly on the
other side it refutes, across it nothing is said. From single runs nothing is said either.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from gan.config import Name
from gan.contract import StrictModel
from gan.errors import ConfigError, DataError
from pipeline.claims.evidence import Evidence, MetricNameError
from pipeline.scores.history import WINDOW
from pipeline.scores.inference import (
    Effect,
    Floats,
    bounded_mean,
    contrast,
    exponential,
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

Verdict = Literal["confirmed", "refuted", "inconclusive", "not run here"]
Quantity = Annotated[str, Field(pattern=r"^(score|final|final_share)/[a-z0-9_/]+$|^seconds/step$")]
Series = Annotated[str, Field(pattern=r"^(score|curve)/[a-z0-9_/]+$")]
Scale = Literal["ratio", "difference"]
Source = Literal["score", "score along the run", "curve", "seconds"]


@dataclass(frozen=True)
class Finding:
    """What one test found."""

    what: str  # is measured
    rule: str  # by which the claim stands
    effect: Effect | None
    verdict: Verdict
    runs: int
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        effect = self.effect
        interval = [effect.low, effect.high] if effect else None
        return {
            "what": self.what,
            "rule": self.rule,
            "effect": effect.value if effect else None,
            "interval": interval,
            "verdict": self.verdict,
            "runs": self.runs,
            "note": self.note,
        }


def decide(effect: Effect, *, more_than: float | None = None, less_than: float | None = None) -> Verdict:
    """Confirmed or refuted where the whole interval lies on one side of a threshold."""
    if more_than is not None:
        if effect.low is not None and effect.low > more_than:
            return "confirmed"
        return "refuted" if effect.high is not None and effect.high < more_than else "inconclusive"
    if less_than is None:
        raise ConfigError("a threshold is needed: more_than or less_than")
    if effect.high is not None and effect.high < less_than:
        return "confirmed"
    return "refuted" if effect.low is not None and effect.low > less_than else "inconclusive"


class BaseTest(StrictModel):
    """One statistic with its decision rule."""

    kind: str

    @property
    @abstractmethod
    def entries(self) -> list[str]:
        """Roster entries whose runs it compares."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What is measured, for the page."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """Where the effect must lie, for the page."""

    @property
    @abstractmethod
    def reads(self) -> list[tuple[Source, str]]:
        """Names that it looks up in the files of each entry's runs, and what they are names of."""

    @property
    def along_the_run(self) -> bool:
        """Whether it needs scores along the runs."""
        return any(source == "score along the run" for source, _ in self.reads)

    @abstractmethod
    def measure(self, evidence: Evidence) -> tuple[Effect, Verdict, str]:
        """Effect, verdict and a note. Raises DataError where it can't be told from these runs."""

    def judge(self, evidence: Evidence) -> Finding:
        """Measure; what can't be told is inconclusive, with the reason.

        Raises MetricNameError for a name that a file lacks or has twice: that is a fault, and no evidence.
        """
        runs = sum(len(evidence.runs(entry)) for entry in self.entries)
        try:
            effect, verdict, note = self.measure(evidence)
        except MetricNameError:
            raise
        except DataError as error:
            return Finding(self.what, self.rule, None, "inconclusive", runs, str(error))
        return Finding(self.what, self.rule, effect, verdict, runs, note)


class Thresholded(BaseTest):
    """A test whose effect must lie above one number, or below."""

    more_than: float | None = None
    less_than: float | None = None

    @model_validator(mode="after")
    def _has_one_threshold(self) -> Thresholded:
        if (self.more_than is None) == (self.less_than is None):
            raise ValueError("give one of more_than and less_than")
        return self

    @property
    def rule(self) -> str:
        """The threshold."""
        return f"above {self.more_than:g}" if self.more_than is not None else f"below {self.less_than:g}"

    def decided(self, effect: Effect, note: str = "") -> tuple[Effect, Verdict, str]:
        """The effect with its verdict."""
        return effect, decide(effect, more_than=self.more_than, less_than=self.less_than), note


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


class Comparison(Thresholded):
    """Ratio or difference of one number of the runs of two entries."""

    kind: Literal["comparison"]
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


class Equivalence(BaseTest):
    """Two one-sided tests at 5 %, that is the 90 % interval, against a margin. Schuirmann, 1987."""

    kind: Literal["equivalence"]
    quantity: Quantity
    of: Name
    against: Name
    scale: Scale
    margin: PositiveFloat
    claimed: Literal["equal", "different"]

    @model_validator(mode="after")
    def _has_a_margin(self) -> Equivalence:
        if self.scale == "ratio" and self.margin <= 1:
            raise ValueError("the margin of a ratio is above 1")
        return self

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


class Correlation(BaseTest):
    """Rank correlation of a curve with a score along each run; the entry that is furthest off decides."""

    kind: Literal["correlation"]
    variants: Annotated[list[Name], Field(min_length=1)]
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
    def entries(self) -> list[str]:
        """All of them."""
        return self.variants

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


class Collapse(BaseTest):
    """Whether any run collapsed: final recall below a quarter of its best, or half its samples duplicates."""

    kind: Literal["collapse"]
    variants: Annotated[list[Name], Field(min_length=1)]
    least_runs: PositiveInt

    @property
    def entries(self) -> list[str]:
        """All of them."""
        return self.variants

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
        trend = mann_kendall(list(after))
        return trend.tau < 0 and trend.p < SIGNIFICANT


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
        trend = mann_kendall(list(values))
        first, last = final_level(list(smoothed[::-1])), final_level(list(smoothed))
        return trend.tau < 0 and trend.p < SIGNIFICANT and self.low <= last / first <= self.high


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
        trend = mann_kendall(list(values))
        first, last = final_level(list(smoothed[::-1])), final_level(list(smoothed))
        return trend.tau > 0 and trend.p < SIGNIFICANT and last >= self.factor * first


Shape = Annotated[RisesThenFalls | Falls | Dips | Grows, Field(discriminator="kind")]


class Course(BaseTest):
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


Test = Annotated[
    Comparison | Interaction | Equivalence | Duration | Correlation | Collapse | Course,
    Field(discriminator="kind"),
]

# Each kind of test and of shape: fields that a misspelt one is told beside.
MODELS: dict[str, type[StrictModel]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model
    for union in (Test, Shape)
    for model in get_args(get_args(union)[0])
}


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """One refuted part refutes the whole, all confirmed ones confirm it."""
    found = set(verdicts)
    if "refuted" in found:
        return "refuted"
    return "confirmed" if found == {"confirmed"} else "inconclusive"


def read_of(quantity: str) -> tuple[Source, str]:
    """Split a quantity or a series into what is looked up and its name; a final level is a curve's."""
    kind, _, name = quantity.partition("/")
    sources: dict[str, Source] = {"score": "score", "seconds": "seconds"}
    return sources.get(kind, "curve"), name


def spoken(quantity: str) -> str:
    """A quantity or a series in words."""
    kind, _, name = quantity.partition("/")
    plain = {"fid": "FID", "kid": "KID", "is": "IS", "critic/wasserstein": "W"}.get(
        name, name.replace("/", " ").replace("_", " ")
    )
    if kind == "seconds":
        return "seconds a step"
    return {"final": f"final {plain}", "final_share": f"final {plain} over its maximum"}.get(kind, plain)
