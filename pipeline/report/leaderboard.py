"""Owns the leaderboard: the order of its rows, their faults, and the means over seeds.

Two protocols never share a table: a board holds the cells of one data set, all scored by one
evaluator with one number of samples against one split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import mul
from statistics import mean
from typing import Any, NamedTuple

from gan.errors import DataError
from gan.metrics.catalogue import BY_NAME
from gan.metrics.names import MetricName, Suffix, find_names, is_of_reference
from pipeline.report.rows import Row
from pipeline.scores.intervals import COMPARISON, METHOD, Interval, Rank, interval, ranks

REPEATED_SPREAD = 5.0  # grey levels; 5,000 real digits have 49, the digit 1 alone 23
# A share of copies or of near repeats is a fault above both. Real images score about 1 % by the metrics'
# own construction; one sample in twenty is beyond what their count or a loose evaluator explains.
COPIED_SHARE, COPIED_TIMES = 0.05, 3.0  # of the samples; times what real images score
COPIED_METRICS = {
    "memorised": "copies of training images",
    "duplicates": "near repeats among the samples",
}
LEAST_SHARE = 0.5  # of what real images score; samples below it fall short
DIVERGED, REPEATED, MISSING = "diverged", "repeated", "missing"
# What samples are judged by beside the classes or modes that they have: nearest neighbours in a plane are so
# close that few points of any generator count as precise, and how many lie on a mode says the same.
JUDGED = {"confident": "share of confident samples", "precision": "precision", "recall": "recall"}
JUDGED_BY_MODES = ("confident", "recall")


class Fault(NamedTuple):
    """One way in which a row falls short: its kind, the row's own value in a few words, and both in words."""

    kind: str
    own: str
    text: str


@dataclass(frozen=True)
class Board:
    """The rows of one data set, best first and diverged ones last, and the protocol that they share."""

    dataset: str
    protocol: MetricName  # of the FID; every metric has its extractor, count and split
    rows: list[Row]

    def score(self, row: Row, metric: str, suffix: Suffix = "") -> float | None:
        """Look up a metric by its short name; None where the extractor has no such metric."""
        return row.metrics.get(str(self.protocol._replace(metric=metric, suffix=suffix)))

    def fid(self, row: Row, suffix: Suffix = "") -> float:
        """Fréchet distance of a row. Raises DataError where the row has none under this name."""
        value = self.score(row, "fid", suffix)
        if value is None:
            name = str(self.protocol._replace(suffix=suffix))
            raise DataError(
                f"{row.cell.metrics}: no metric {name!r}; run 'dvc repro -f evaluate@{row.cell.key}'"
            )
        return value

    def real(self, metric: str) -> float | None:
        """What real images score in a metric, which all rows share."""
        return self.score(self.rows[0], metric, "floor")

    @property
    def counts_modes(self) -> bool:
        """Whether samples have modes, which then lead in place of the FID."""
        return self.real("modes_confident") is not None

    @property
    def counted(self) -> str:
        """Metric that says how many classes or modes the samples have."""
        return "modes_confident" if self.counts_modes else "classes"

    @property
    def things(self) -> str:
        """What is counted, in words."""
        return "modes" if self.counts_modes else "classes"

    @property
    def judged(self) -> tuple[str, ...]:
        """Metrics in which samples fall short below half of what real images score."""
        return JUDGED_BY_MODES if self.counts_modes else tuple(JUDGED)

    @property
    def fault_kinds(self) -> dict[str, str]:
        """Ways to fall short, the gravest first, each in words."""
        kinds = {DIVERGED: "diverged", REPEATED: "one image, repeated"}
        kinds[MISSING] = f"fewer {self.things} than the {self.real(self.counted) or 0:.0f} of the real images"
        reals = {name: self.real(name) for name in self.judged}
        below = {
            name: f"{JUDGED[name]} below half of the real images' {real * 100:.0f} %"
            for name, real in reals.items()
            if real is not None
        }
        return kinds | COPIED_METRICS | below

    def order(self, rows: Sequence[Row]) -> tuple[float, ...]:
        """Sort key of a variant's rows: modes found and the share on one where they are counted, then FID."""
        leads = ("modes_confident", "confident") if self.counts_modes else ()
        means = [mean(self.score(row, name) or 0.0 for row in rows) for name in leads]
        signs = [-1 if BY_NAME[name].better == "higher" else 1 for name in leads]
        return *map(mul, signs, means), mean(self.fid(row) for row in rows)

    def most_copied(self, row: Row, metric: str) -> float:
        """Share of `memorised` or `duplicates` above which it is a fault: 5 %, or 3 times the floor."""
        return max(COPIED_SHARE, COPIED_TIMES * (self.score(row, metric, "floor") or 0.0))

    def by_variant(self) -> dict[tuple[str, str], list[Row]]:
        """Group the rows that differ in nothing but the seed, by variant and budget."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.variant, row.budget), []).append(row)
        return groups

    def title(self, variant: str, budget: str) -> str:
        """Name a variant's runs, with their budget where the board has several."""
        return f"{variant} · {budget}" if len({row.budget for row in self.rows}) > 1 else variant

    def faults(self, row: Row) -> list[Fault]:
        """Why this row's images fall short of real ones; empty for a row that may be good.

        Of a diverged run only that is said: whatever else is poor may follow from it.
        """
        if row.diverged_at is not None:
            step = f"step {row.diverged_at:,}"
            return [Fault(DIVERGED, step, f"diverged at {step}")]
        found = []
        if row.spread < REPEATED_SPREAD:
            found.append(Fault(REPEATED, "", self.fault_kinds[REPEATED]))
        number, there = self.score(row, self.counted), self.real(self.counted)
        if number is not None and there is not None and number < there:
            own = f"{number:.0f}"
            found.append(Fault(MISSING, own, f"{own} of {there:.0f} {self.things}"))
        for metric, text in COPIED_METRICS.items():
            share = self.score(row, metric)
            if share is not None and share > self.most_copied(row, metric):
                own = f"{share * 100:.0f} %"
                found.append(Fault(metric, own, f"{own} {text}"))
        for metric in self.judged:
            share, real = self.score(row, metric), self.real(metric)
            if share is not None and real is not None and share < LEAST_SHARE * real:
                own = f"{share * 100:.0f} %"
                found.append(Fault(metric, own, f"{metric} {own}, real images {real * 100:.0f} %"))
        return found

    def flags(self, row: Row) -> list[str]:
        """Write each fault of a row in words."""
        return [fault.text for fault in self.faults(row)]


def make_boards(rows: Sequence[Row], split: str) -> list[Board]:
    """Sort the rows of each data set, best first by `Board.order`; diverged ones come last.

    What a diverged run left is the state before it broke, whose score no budget would bring again.

    Raises DataError when one data set's rows were scored by different protocols or evaluators.
    """
    datasets = dict.fromkeys(row.dataset for row in rows)
    return [_make_board(name, [row for row in rows if row.dataset == name], split) for name in datasets]


def _make_board(dataset: str, rows: list[Row], split: str) -> Board:
    protocols = {(_find_protocol(row, split), row.evaluator_sha256) for row in rows}
    if len(protocols) > 1:
        found = ", ".join(sorted(str(protocol) for protocol, _ in protocols))
        raise DataError(f"{dataset}: cells were scored by different protocols ({found}); run 'dvc repro'")
    board = Board(dataset, protocols.pop()[0], rows)
    order = sorted(rows, key=lambda row: (row.status == "diverged", board.order([row]), row.cell.key))
    return replace(board, rows=order)


def _find_protocol(row: Row, split: str) -> MetricName:
    if found := find_names(row.metrics, "fid", split):
        return found[0]
    raise DataError(
        f"{row.cell.metrics}: no FID against the split {split!r}; run 'dvc repro -f evaluate@{row.cell.key}'"
    )


class Standing(NamedTuple):
    """A variant's runs with one budget, and what they tell about it."""

    variant: str
    budget: str
    rows: list[Row]
    fid: Interval
    rank: Rank | None  # None for a single run, and where all runs diverged
    collapsed: int  # runs that repeat one image or miss classes; diverged runs are not counted

    @property
    def diverged(self) -> int:
        """Number of runs that diverged."""
        return sum(row.status == "diverged" for row in self.rows)


def find_standings(board: Board) -> list[Standing]:
    """Rank variants and budgets over their seeds by FID, in the board's order, all diverged ones last.

    As in the means, a diverged run counts by what it left. A variant without a rank is in no comparison.
    """
    groups = board.by_variant()
    scores = {names: [board.fid(row) for row in rows] for names, rows in groups.items()}
    ranked = [
        names
        for names, rows in groups.items()
        if len(rows) > 1 and any(row.status != "diverged" for row in rows)
    ]
    places = dict(zip(ranked, ranks([scores[names] for names in ranked]), strict=True))
    found = [
        Standing(*names, rows, interval(scores[names]), places.get(names), _count_collapsed(board, rows))
        for names, rows in groups.items()
    ]
    return sorted(
        found, key=lambda standing: (standing.diverged == len(standing.rows), board.order(standing.rows))
    )


def _count_collapsed(board: Board, rows: Sequence[Row]) -> int:
    return sum(any(fault.kind in (REPEATED, MISSING) for fault in board.faults(row)) for row in rows)


def summarise(board: Board) -> list[dict[str, Any]]:
    """Give one flat row for each variant and budget, best first: means over seeds, intervals, rank, faults.

    `rank` to `rank_last` are the places that it may hold; both are None where it has no rank.
    """
    summary = []
    for variant, budget, rows, _, rank, collapsed in find_standings(board):
        flat: dict[str, Any] = {"dataset": board.dataset, "variant": variant, "budget": budget}
        flat |= {"profile": rows[0].profile, "seeds": len(rows)}
        flat |= {"rank": rank.first if rank else None, "rank_last": rank.last if rank else None}
        flat |= {"interval": METHOD, "comparison": COMPARISON}
        flat["poor"] = sum(bool(board.faults(row)) for row in rows)
        flat["collapsed"] = collapsed
        flat["diverged"] = sum(row.status == "diverged" for row in rows)
        for name in rows[0].metrics:
            if not is_of_reference(name):
                found = interval([row.metrics[name] for row in rows])
                flat |= {f"{name}_{part}": value for part, value in found._asdict().items()}
        summary.append(flat)
    return summary
