"""Owns how results are written as text: the leaderboard's cells and the sentences about them.

README and the page are both made from these strings, so that they can't differ.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.report.leaderboard import (
    CLASSES,
    COPIED_SHARE,
    COPIED_TIMES,
    FAULTS,
    POOR_SHARE,
    Board,
    Row,
    find_standings,
)
from pipeline.scores.course import Course
from pipeline.scores.intervals import LEVEL, Rank

MINUS = "−"


@dataclass(frozen=True)
class Line:
    """One line of the leaderboard, as text."""

    key: str  # of the cell; nothing for the two ends of the scale
    rank: str
    name: str
    profile: str
    champion: bool
    flags: list[str]
    fid: str
    share: str
    raw_fid: str
    kid: str
    classes: str
    confident: str
    details: list[str]  # one for each of the table's details
    steps: str
    images_seen: str
    minutes: str


class Detail(NamedTuple):
    """One column of the second table: a metric, its heading, how its values are written, what it means."""

    metric: str
    title: str
    write: Callable[[float | None], str]
    meaning: str


@dataclass(frozen=True)
class Table:
    """The leaderboard of one data set: the scale's two ends, and the lines between them."""

    floor: Line
    lines: list[Line]
    ceiling: Line
    details: list[Detail]  # those that at least one row has


def make_table(board: Board) -> Table:
    """Write a board's scores, with as many decimals in each column as its smallest entries need."""
    text = _Text(board)
    lines = [text.line(rank, row) for rank, row in enumerate(board.rows, start=1)]
    floor, ceiling = (
        text.scale("floor", "real training images"),
        text.scale("ceiling", "uniform noise"),
    )
    return Table(floor, lines, ceiling, text.details)


class _Text:
    """Formats the numbers of one board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.names = short_names(board.rows)
        self.fid_decimals = 2 if board.fid(board.rows[0], "floor") < 1 else 1
        scores = [board.score(row, "kid") for row in board.rows]
        self.kid_decimals = decimals_for([value for value in scores if value is not None])
        self.details = [
            detail
            for detail in DETAILS
            if any(board.score(row, detail.metric) is not None for row in board.rows)
        ]

    def line(self, rank: int, row: Row) -> Line:
        board = self.board
        diverged = row.diverged_at is not None
        return Line(
            key=row.cell.key,
            rank="–" if diverged else str(rank),
            name=self.names[row.cell.key],
            profile=row.profile,
            champion=row.champion,
            flags=board.flags(row),
            fid=fixed(board.fid(row), self.fid_decimals),
            share=percent(board.share(row)),
            raw_fid=fixed(board.score(row, "fid", "raw"), self.fid_decimals),
            kid=fixed(board.score(row, "kid"), self.kid_decimals),
            classes=fixed(board.score(row, "classes"), 0),
            confident=whole_percent(board.score(row, "confident")),
            details=[detail.write(board.score(row, detail.metric)) for detail in self.details],
            steps=f"{row.diverged_at:,} of {row.steps:,}" if diverged else f"{row.steps:,}",
            images_seen=f"{row.images_seen:,}",
            minutes=f"{row.seconds / 60:.1f}",
        )

    def scale(self, end: str, name: str) -> Line:
        """Write the floor or the ceiling, which all rows of a board share."""
        board, row = self.board, self.board.rows[0]
        score = board.fid(row, end)
        return Line(
            key="",
            rank="",
            name=name,
            profile=end,
            champion=False,
            flags=[],
            fid=fixed(score, self.fid_decimals),
            share=percent(score / board.fid(row, "ceiling")),
            raw_fid="",
            kid=fixed(board.score(row, "kid", end), self.kid_decimals),
            classes=fixed(board.score(row, "classes", end), 0),
            confident=whole_percent(board.score(row, "confident", end)),
            details=[detail.write(board.score(row, detail.metric, end)) for detail in self.details],
            steps="",
            images_seen="",
            minutes="",
        )


def short_names(rows: Sequence[Row]) -> dict[str, str]:
    """Name each cell by its variant, and by its budget and seed where the rows differ in them."""
    parts = {row.cell.key: [row.variant] for row in rows}
    if len({row.budget for row in rows}) > 1:
        for row in rows:
            parts[row.cell.key].append(row.budget)
    if len({row.seed for row in rows}) > 1:
        for row in rows:
            parts[row.cell.key].append(f"seed {row.seed}")
    return {key: " · ".join(words) for key, words in parts.items()}


def fixed(value: float | None, decimals: int) -> str:
    """Write a number with a fixed number of decimals; an en dash where there is none."""
    return "–" if value is None else f"{value:,.{decimals}f}".replace("-", MINUS)


def decimals_for(values: Sequence[float]) -> int:
    """Decimals that leave two significant digits to the smallest value, six at most."""
    smallest = min((abs(value) for value in values if value), default=1.0)
    return next((n for n in range(6) if smallest * 10**n >= 10), 6)


def percent(share: float) -> str:
    """Write a share with two significant digits, or three where it is above 10 %."""
    value = share * 100
    return f"{value:,.0f} %" if value >= 10 else f"{value:.1f} %" if value >= 1 else f"{value:.2f} %"


def whole_percent(share: float | None) -> str:
    """Write a share in whole per cent; 100 % only where nothing is missing."""
    if share is None:
        return "–"
    return f"{min(round(share * 100), 99) if share < 1 else 100} %"


def tenth_percent(share: float | None) -> str:
    """Write a share in per cent with one decimal."""
    return "–" if share is None else f"{share * 100:.1f} %"


def _decimals(n: int) -> Callable[[float | None], str]:
    return lambda value: fixed(value, n)


_FLAGGED = f"flagged above {COPIED_SHARE * 100:.0f} % and {COPIED_TIMES:.0f} times what real images score"
# Columns of the second table and rows of a variant's own, in this order.
DETAILS = [
    Detail("modes", "modes", _decimals(0), "combinations of names that some sample has"),
    Detail(
        "modes_confident",
        "modes, confident",
        _decimals(0),
        "the same among samples of which each name has more than 90 %; of points, those on a mode",
    ),
    Detail("mode_kl", "mode KL", _decimals(3), "how far the modes are from equal shares, in nats"),
    Detail("mode_kl_confident", "mode KL, confident", _decimals(3), "the same among the confident samples"),
    Detail(
        "is",
        "IS",
        _decimals(2),
        "Inception score: from 1 to the number of classes, higher for samples that are each surely of one "
        "class and together of all",
    ),
    Detail(
        "precision",
        "precision",
        whole_percent,
        "share of the samples that lie among the real images, within the ball of some real image's three "
        "nearest neighbours",
    ),
    Detail("recall", "recall", whole_percent, "share of the real images that lie among the samples"),
    Detail(
        "density",
        "density",
        _decimals(2),
        "in how many real images' balls a sample lies, over 5, the neighbours that make a ball; about 1 for "
        "real images",
    ),
    Detail(
        "coverage",
        "coverage",
        whole_percent,
        "share of the real images that have a sample among their five nearest",
    ),
    Detail("class_kl", "class KL", _decimals(3), "how far the classes are from the real shares, in nats"),
    Detail(
        "duplicates",
        "duplicates",
        tenth_percent,
        "share of the samples that lie as close to another sample as the closest 1 % of the real images do "
        f"to a real one; {_FLAGGED}",
    ),
    Detail(
        "memorised",
        "memorised",
        tenth_percent,
        "share of the samples that lie as close to a training image as the closest 1 % of other real images "
        f"do; {_FLAGGED}",
    ),
    Detail(
        "ms_ssim",
        "MS-SSIM",
        _decimals(2),
        "mean structural similarity of pairs of samples: varied samples score as low as the real images",
    ),
    Detail(
        "sharpness",
        "sharpness",
        _decimals(3),
        "share of the images' spectral energy in high frequencies; below that of real images is blurred, "
        "above it noisy",
    ),
]


class MetricLine(NamedTuple):
    """One metric of one cell, as text: both generators' values between the two ends of the scale."""

    title: str
    averaged: str
    raw: str
    floor: str
    ceiling: str
    meaning: str


def metric_lines(board: Board, row: Row) -> list[MetricLine]:
    """Write every metric of a row, those that have a meaning here first."""
    suffix = "_" + "_".join(board.protocol)
    there = [name.removesuffix(suffix) for name in row.metrics if name.endswith(suffix)]
    known = {detail.metric: detail for detail in (*FIRST_DETAILS, *DETAILS)}
    plain = [Detail(name, name.replace("_", " "), significant, "") for name in there if name not in known]
    lines = []
    for detail in (*known.values(), *plain):
        if detail.metric in there:
            averaged, raw, floor, ceiling = (
                detail.write(board.score(row, detail.metric, end)) for end in ("", "raw", "floor", "ceiling")
            )
            lines.append(MetricLine(detail.title, averaged, raw, floor, ceiling, detail.meaning))
    return lines


def significant(value: float | None) -> str:
    """Write a number with three significant digits and all its whole ones: 5,188, 33.1, 0.0023."""
    if not value:
        return "–" if value is None else "0"
    return fixed(value, min(max(2 - math.floor(math.log10(abs(value))), 0), 6))


# Of the first table, with what else belongs to them.
FIRST_DETAILS = [
    Detail("fid", "FID", significant, "Fréchet distance between features of generated and of real images"),
    Detail(
        "fid_infinity",
        "FID, extrapolated",
        significant,
        "the FID that samples without end would have, by a line through six counts; may fall below zero",
    ),
    Detail("kid", "KID", significant, "kernel distance on the same features, without bias from the count"),
    Detail("kid_spread", "KID, spread", significant, "standard deviation of the KID over its subsets"),
    Detail("classes", "classes", _decimals(0), "classes that at least 1 % of the samples are taken for"),
    Detail(
        "confident",
        "confident",
        whole_percent,
        "share of the samples that the evaluator takes for some class with more than 90 % confidence",
    ),
    Detail("repeats", "repeats", tenth_percent, "share of the samples that equal another in every pixel"),
]


def count(n: int, noun: str) -> str:
    """Write a number of things: 1 variant, 4 variants."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def summary(board: Board) -> list[str]:
    """Say in a few sentences what a board shows, what is poor in it, and what it can't show."""
    table = make_table(board)
    variants = count(len({row.variant for row in board.rows}), "variant")
    floor = f"Real training images score {table.floor.fid}: no generator can be expected below that."
    if all(row.status == "diverged" for row in board.rows):
        best = f"Every run of the {variants} on {board.dataset} diverged: there is no best one."
    else:
        best = (
            f"Of {variants} trained on {board.dataset}, {_best(board, table)} of the "
            f"{table.ceiling.fid} that uniform noise scores."
        )
    limit = f"{POOR_SHARE * 100:.0f} % of the ceiling"
    good = f"Every run covers the {CLASSES} classes and stays below {limit}."
    return [f"{best} {floor}", _poor(board) or good, _certainty(board)]


def _best(board: Board, table: Table) -> str:
    means = seed_lines(board)
    if not means:
        first = table.lines[0]
        return (
            f"{first.name} comes closest to the {board.protocol.split} images: FID {first.fid}, {first.share}"
        )
    over_seeds = means[0]
    share = percent(find_standings(board)[0].fid.mean / board.fid(board.rows[0], "ceiling"))
    closest = f"{over_seeds.name} comes closest to the {board.protocol.split} images"
    spread = f"{over_seeds.runs} seeds (95 % interval {over_seeds.interval})"
    return f"{closest}: mean FID {over_seeds.mean} over {spread}, {share}"


def _poor(board: Board) -> str:
    """Name the poor variants, fault by fault; nothing where there are none.

    Where variants were trained more than once it says how many of their runs have the fault.
    """
    groups = board.by_variant()
    several_budgets = len({row.budget for row in board.rows}) > 1
    several_runs = len(groups) < len(board.rows)
    names: dict[str, list[str]] = {}
    poor = 0
    for (variant, budget), rows in groups.items():
        faults = [fault for row in rows for fault in board.faults(row)]
        poor += bool(faults)
        name = f"{variant} · {budget}" if several_budgets else variant
        for kind in dict.fromkeys(fault.kind for fault in faults):
            own = [fault.own for fault in faults if fault.kind == kind]
            note = f"{len(own)} of {len(rows)} runs" if several_runs else own[0]
            names.setdefault(kind, []).append(f"{name} ({note})" if note else name)
    listed = [f"{kind[0].upper()}{kind[1:]}: {', '.join(names[kind])}." for kind in FAULTS if kind in names]
    verb = "falls" if poor == 1 else "fall"
    return " ".join([f"{poor} of {len(groups)} {verb} short.", *listed]) if poor else ""


def _certainty(board: Board) -> str:
    seeds = sorted({row.seed for row in board.rows})
    if len(seeds) == 1:
        return (
            f"Each variant was trained once, with seed {seeds[0]}, so no interval can be given; "
            "neighbours in the table may change places with another seed."
        )
    trained = (
        f"Each variant was trained with {len(seeds)} seeds; summary.json has the interval of every metric."
    )
    tied = [line.name for line in seed_lines(board) if line.rank.startswith("1–")]
    if len(tied) < 2:
        return trained
    return f"{trained} The first place is not settled between {', '.join(tied[:-1])} and {tied[-1]}."


class SeedLine(NamedTuple):
    """One line of the table over seeds, as text."""

    rank: str
    name: str
    runs: str
    mean: str
    interval: str
    collapsed: str
    diverged: str


def seed_lines(board: Board) -> list[SeedLine]:
    """Write what the seeds of each variant tell, best first, where there is more than one seed."""
    if len(board.by_variant()) == len(board.rows):
        return []
    several_budgets = len({row.budget for row in board.rows}) > 1
    lines = []
    for standing in find_standings(board):
        mean, low, high = standing.fid
        lines.append(
            SeedLine(
                rank=places(standing.rank),
                name=f"{standing.variant} · {standing.budget}" if several_budgets else standing.variant,
                runs=str(len(standing.rows)),
                mean=fixed(mean, 1),
                interval="–" if low is None else f"{fixed(low, 1)} to {fixed(high, 1)}",
                collapsed=str(standing.collapsed),
                diverged=str(standing.diverged),
            )
        )
    return lines


class CourseLine(NamedTuple):
    """What a run's snapshots score, as text: the last, and beside it the chosen one."""

    name: str
    last_step: str
    last_fid: str
    chosen_step: str
    chosen_fid: str


def course_lines(courses: Mapping[str, Course]) -> list[CourseLine]:
    """Write the last and the chosen snapshot of each run, which are named by the keys."""
    lines = []
    for name, course in courses.items():
        last, best = course.last, course.best
        chosen = (f"{best.step:,}", fixed(best.fid, 1)) if best else ("–", "–")
        lines.append(CourseLine(name, f"{last.step:,}", fixed(last.fid, 1), *chosen))
    return lines


def places(rank: Rank | None) -> str:
    """Write the places that a variant may hold: 2, or 1–3 where it is tied with others."""
    if rank is None:
        return "–"
    return str(rank.first) if rank.first == rank.last else f"{rank.first}–{rank.last}"


def seed_note(board: Board) -> str:
    """Say how the table over seeds was made and what it can't tell; nothing where there is none."""
    if not seed_lines(board):
        return ""
    n = sum(standing.rank is not None for standing in find_standings(board))
    pairs = n * (n - 1) // 2
    chance = (
        f" Each of the {pairs} pairs is tested by itself: were all variants equal, about "
        f"{max(1, round(LEVEL * pairs))} would be told apart by chance."
        if pairs > 1
        else ""
    )
    return (
        "Intervals: Student's t over training seeds, 95 %. Rank: the places that a variant may hold; those "
        "that share places are tied (Welch's t-test of the logarithms of FID, 5 %)."
        f"{chance} Collapsed runs repeat one image or miss classes. {_champion_note(board)}"
    )


def _champion_note(board: Board) -> str:
    split = board.rows[0].selected_on
    chosen = f"The champion is the single run of lowest FID against the {split} split"
    if split != board.protocol.split:
        return f"{chosen}, so its score here is what another draw of its samples would be expected to have."
    return (
        f"{chosen}, chosen by the score that it is shown with: its score is better than another run of the "
        "same variant would be expected to have."
    )


def position(board: Board, row: Row) -> tuple[float, float]:
    """Place the averaged and the raw FID in per cent of the way from floor to ceiling, by logarithm."""
    floor, ceiling = (math.log(max(board.fid(row, end), 1e-3)) for end in ("floor", "ceiling"))

    def place(value: float) -> float:
        way = (math.log(max(value, 1e-3)) - floor) / max(ceiling - floor, 1e-9)
        return round(100 * min(max(way, 0.0), 1.0), 1)

    return place(board.fid(row)), place(board.fid(row, "raw"))
