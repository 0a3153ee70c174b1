"""Owns the leaderboard: one row a cell, its order and flags, and the means over seeds.

Two protocols never share a table: a board holds the cells of one data set, all scored by one
evaluator with one number of samples against one split.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from gan.card import read_card
from gan.config import Params
from gan.errors import DataError
from gan.files import read_json
from gan.metrics.names import MetricName, Suffix, find_names, is_of_reference
from pipeline.scores.course import read_course
from pipeline.scores.intervals import COMPARISON, METHOD, Interval, Rank, interval, ranks
from pipeline.scores.protocol import FLAT, flat_protocol, read_protocol
from pipeline.stage import Cell, champions, find_recipe

REPEATED_SPREAD = 5.0  # grey levels; 5,000 real digits have 49, the ones alone 23
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
EARLIER = {"status": "finished", "diverged_at": None, "selected_on": "test", "chosen_step": None}


@dataclass(frozen=True)
class Row:
    """One cell's result, all that README and the leaderboard files are made from."""

    dataset: str
    variant: str
    budget: str
    seed: int
    profile: str
    champion: bool
    status: str  # finished or diverged
    steps: int  # the budget
    diverged_at: int | None  # step at which a value of training was no longer finite
    images_seen: int
    seconds: float
    selected_on: str  # split on which the champion is chosen: validation, or the reference without one
    chosen_step: int | None  # snapshot of the lowest FID on the validation split; None without one
    spread: float  # standard deviation of a pixel over the samples, in grey levels, averaged over pixels
    weights_sha256: str
    data_digest: str
    code_digest: str
    evaluator_sha256: str
    evaluator_accuracy: float | None  # None for one that was not trained on these classes
    stamp: dict[str, Any]  # protocol_<field> of the scores; nothing in a report from before there were stamps
    metrics: dict[str, float]  # full name -> value

    @property
    def cell(self) -> Cell:
        """The cell that this row is the result of."""
        return Cell(self.dataset, self.variant, self.budget, self.seed)

    def flat(self) -> dict[str, Any]:
        """All fields and metrics in one mapping."""
        fields = {name: value for name, value in vars(self).items() if name not in ("metrics", "stamp")}
        return fields | self.stamp | self.metrics


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
        kinds |= {MISSING: f"fewer {self.things} than the real images"} | COPIED_METRICS
        return kinds | {name: f"{JUDGED[name]} below half of the real images'" for name in self.judged}

    def order(self, rows: Sequence[Row]) -> tuple[float, ...]:
        """Sort key of a variant's rows: modes found and the share on one where they are counted, then FID."""
        leads = ("modes_confident", "confident") if self.counts_modes else ()
        means = [mean(self.score(row, name) or 0.0 for row in rows) for name in leads]
        return *(-value for value in means), mean(self.fid(row) for row in rows)

    def most_copied(self, row: Row, metric: str) -> float:
        """Share of `memorised` or `duplicates` above which it is a fault: 5 %, or 3 times the floor."""
        return max(COPIED_SHARE, COPIED_TIMES * (self.score(row, metric, "floor") or 0.0))

    def by_variant(self) -> dict[tuple[str, str], list[Row]]:
        """Group the rows that differ in nothing but the seed, by variant and budget."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.variant, row.budget), []).append(row)
        return groups

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
            own = f"{number:.0f} of {there:.0f}"
            found.append(Fault(MISSING, own, f"{own} {self.things}"))
        for metric, text in COPIED_METRICS.items():
            share = self.score(row, metric)
            if share is not None and share > self.most_copied(row, metric):
                own = f"{share * 100:.0f} %"
                found.append(Fault(metric, own, f"{own} {text}"))
        for metric in self.judged:
            share, real = self.score(row, metric), self.real(metric)
            if share is not None and real is not None and share < LEAST_SHARE * real:
                own = f"{share * 100:.0f} % of {real * 100:.0f} %"
                found.append(
                    Fault(metric, own, f"{metric} {share * 100:.0f} %, real images {real * 100:.0f} %")
                )
        return found

    def flags(self, row: Row) -> list[str]:
        """Write the faults of a row in words, each by itself."""
        return [fault.text for fault in self.faults(row)]


def read_rows(cells: Iterable[Cell], params: Params) -> list[Row]:
    """Read the row of each cell from its artefacts."""
    best = read_json(champions(params))
    return [_read_row(cell, params, best.get(cell.dataset, {})) for cell in cells]


def _read_row(cell: Cell, params: Params, champion: dict[str, Any]) -> Row:
    card = read_card(cell.model)
    evaluator = read_json(cell.evaluator / "card.json")
    course = read_course(cell)
    return Row(
        dataset=cell.dataset,
        variant=cell.variant,
        budget=cell.budget,
        seed=cell.seed,
        profile=find_recipe(cell, params).profile,
        champion=champion.get("key") == cell.key,
        status=card.status,
        steps=card.steps,
        diverged_at=card.diverged_at,
        images_seen=card.images_seen,
        seconds=round(read_json(cell.training)["seconds"], 1),
        selected_on=course.split if course.split == "validation" else params.evaluate.reference,
        chosen_step=course.chosen,
        spread=round(_spread(cell.samples / "averaged.npy"), 2),
        weights_sha256=card.weights_sha256,
        data_digest=card.data_digest,
        code_digest=card.code_digest,
        evaluator_sha256=evaluator["sha256"],
        evaluator_accuracy=evaluator["accuracy"],
        stamp=dict(flat_protocol(read_protocol(cell.protocol))),
        metrics=read_json(cell.metrics),
    )


def _spread(samples: Path) -> float:
    images = np.load(samples, mmap_mode="r", allow_pickle=False)  # (N, C, H, W)
    return float(images.std(axis=0, dtype=np.float64).mean())


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


def as_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV, one column a field or metric; a metric that a row lacks is an empty cell."""
    flat = [row.flat() for row in rows]
    text = io.StringIO()
    columns = dict.fromkeys(name for row in flat for name in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def rows_from_json(path: Path) -> list[Row]:
    """Read the rows back from leaderboard.json. Raises DataError for a file of another shape.

    Fields that older reports lack are as those were made: of finished runs, by scores on the test split.
    """
    fields = set(Row.__dataclass_fields__) - {"metrics", "stamp"}
    try:
        flats = read_json(path)
        if not isinstance(flats, list) or not flats:
            raise TypeError("it has no rows")
        flats = [EARLIER | flat for flat in flats]
        return [
            Row(
                **{name: flat[name] for name in fields},
                stamp={name: value for name, value in flat.items() if name.startswith(FLAT)},
                metrics={
                    name: value
                    for name, value in flat.items()
                    if name not in fields and not name.startswith(FLAT)
                },
            )
            for flat in flats
        ]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run 'dvc repro report'") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a list of rows ({error}); run 'dvc repro -f report'") from error


class Standing(NamedTuple):
    """A variant's runs with one budget, and what they tell about it."""

    variant: str
    budget: str
    rows: list[Row]
    fid: Interval
    rank: Rank | None  # None for a single run, and where all runs diverged
    collapsed: int  # runs that repeat one image or miss classes; a diverged one is only that

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
