"""Owns what a test of a claim is: what it measures and reads, and how the interval of the effect decides.

The interval wholly on the claimed side of the threshold confirms, wholly on the other side it refutes, across
it nothing is said. From single runs nothing is said either.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gan.contract import StrictModel
from gan.errors import ConfigError, DataError
from gan.metrics.catalogue import BY_NAME
from pipeline.claims.evidence import Evidence, MetricNameError
from pipeline.scores.inference import Effect

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


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """One refuted part refutes the whole, all confirmed ones confirm it."""
    found = set(verdicts)
    if "refuted" in found:
        return "refuted"
    return "confirmed" if found == {"confirmed"} else "inconclusive"


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


def read_of(quantity: str) -> tuple[Source, str]:
    """Split a quantity or a series into what is looked up and its name; a final level is a curve's."""
    kind, _, name = quantity.partition("/")
    sources: dict[str, Source] = {"score": "score", "seconds": "seconds"}
    return sources.get(kind, "curve"), name


def spoken(quantity: str) -> str:
    """A quantity or a series in words."""
    kind, _, name = quantity.partition("/")
    plain = "W" if name == "critic/wasserstein" else name.replace("/", " ").replace("_", " ")
    if name in BY_NAME:
        plain = BY_NAME[name].title
    if kind == "seconds":
        return "seconds a step"
    return {"final": f"final {plain}", "final_share": f"final {plain} over its maximum"}.get(kind, plain)
