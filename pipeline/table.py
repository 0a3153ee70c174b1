"""Owns how results are written as text: the leaderboard's cells and the sentences about them.

README and the page are both made from these strings, so that they can't differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.leaderboard import CLASSES, FAULTS, POOR_SHARE, Board, Interval, Row, interval

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
    steps: str
    images_seen: str
    minutes: str


@dataclass(frozen=True)
class Table:
    """The leaderboard of one data set: the scale's two ends, and the lines between them."""

    floor: Line
    lines: list[Line]
    ceiling: Line


def make_table(board: Board) -> Table:
    """Write a board's scores, with as many decimals in each column as its smallest entries need."""
    text = _Text(board)
    lines = [text.line(rank, row) for rank, row in enumerate(board.rows, start=1)]
    return Table(text.scale("floor", "real training images"), lines, text.scale("ceiling", "uniform noise"))


class _Text:
    """Formats the numbers of one board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.names = short_names(board.rows)
        self.fid_decimals = 2 if board.fid(board.rows[0], "floor") < 1 else 1
        scores = [board.score(row, "kid") for row in board.rows]
        self.kid_decimals = decimals_for([value for value in scores if value is not None])

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
    name, runs, mean, spread = means[0]
    share = percent(_seed_means(board)[0][0].mean / board.fid(board.rows[0], "ceiling"))
    closest = f"{name} comes closest to the {board.protocol.split} images"
    return f"{closest}: mean FID {mean} over {runs} seeds (95 % interval {spread}), {share}"


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
    return f"Each variant was trained with {len(seeds)} seeds; summary.json has the interval of every metric."


def seed_lines(board: Board) -> list[tuple[str, str, str, str]]:
    """Give variant, runs, mean FID and its 95 % interval, best first, where there is more than one seed."""
    if len(board.by_variant()) == len(board.rows):
        return []
    several_budgets = len({row.budget for row in board.rows}) > 1
    lines = []
    for found, variant, budget, runs in _seed_means(board):
        spread = "–" if found.low is None else f"{fixed(found.low, 1)} to {fixed(found.high, 1)}"
        name = f"{variant} · {budget}" if several_budgets else variant
        lines.append((name, str(runs), fixed(found.mean, 1), spread))
    return lines


def _seed_means(board: Board) -> list[tuple[Interval, str, str, int]]:
    groups = board.by_variant().items()
    found = [(interval([board.fid(row) for row in rows]), *names, len(rows)) for names, rows in groups]
    diverged = {names for names, rows in groups if all(row.status == "diverged" for row in rows)}
    return sorted(found, key=lambda group: (group[1:3] in diverged, group[0].mean))


def position(board: Board, row: Row) -> tuple[float, float]:
    """Place the averaged and the raw FID in per cent of the way from floor to ceiling, by logarithm."""
    floor, ceiling = (math.log(max(board.fid(row, end), 1e-3)) for end in ("floor", "ceiling"))

    def place(value: float) -> float:
        way = (math.log(max(value, 1e-3)) - floor) / max(ceiling - floor, 1e-9)
        return round(100 * min(max(way, 0.0), 1.0), 1)

    return place(board.fid(row)), place(board.fid(row, "raw"))
