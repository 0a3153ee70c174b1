"""Owns the leaderboard's cells as text: its lines, its columns, and every metric of one run.

README and the pages are both made from these strings, so that they can't differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gan.metrics.catalogue import BY_NAME, METRICS, Metric
from gan.metrics.names import SUFFIXES, MetricName, Suffix
from pipeline.drawing.numbers import decimals_for, fixed, percent, significant, write_value
from pipeline.report.leaderboard import COPIED_METRICS, COPIED_SHARE, COPIED_TIMES, Board
from pipeline.report.rows import Row

FLAGGED = f"; flagged above {COPIED_SHARE * 100:.0f} % and {COPIED_TIMES:.0f} times what real images score"
OF_CEILING = "of ceiling"


@dataclass(frozen=True)
class Line:
    """One line of the leaderboard, as text."""

    key: str  # of the cell; nothing for the two ends of the scale
    rank: str
    name: str
    profile: str
    champion: bool
    flags: list[str]
    scores: dict[str, str]  # heading -> text, what leads first
    details: list[str]  # one for each of the table's details
    steps: str
    images_seen: str
    minutes: str
    lead: str  # the main score, as shown beside a picture
    told: str  # the same, with what it is measured by

    @property
    def fid(self) -> str:
        """The FID of the averaged generator."""
        return self.scores["FID"]


@dataclass(frozen=True)
class Table:
    """The leaderboard of one data set: floor, ceiling, and the lines between them."""

    floor: Line
    lines: list[Line]
    ceiling: Line
    details: list[Metric]  # those that at least one row has


def make_table(board: Board) -> Table:
    """Write a board's scores, with as many decimals in each column as its smallest entries need."""
    text = _Text(board)
    lines = [text.line(rank, row) for rank, row in enumerate(board.rows, start=1)]
    return Table(
        text.scale("floor", "real training images"),
        lines,
        text.scale("ceiling", "uniform noise"),
        text.details,
    )


def fid_decimals(board: Board) -> int:
    """Decimals in which a board's FIDs are written: those that real images' needs."""
    floor = board.real("fid") or 0.0
    return 1 if floor >= 1 else 2 if floor >= 0.1 else decimals_for([floor])


class _Text:
    """Formats the numbers of one board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.names = short_names(board.rows)
        self.fid_decimals = fid_decimals(board)
        scores = [board.score(row, "kid") for row in board.rows]
        self.kid_decimals = decimals_for([value for value in scores if value is not None])
        self.details = [metric for metric in METRICS if metric.has_column and self.has(metric.name)]

    def has(self, metric: str) -> bool:
        return any(self.board.score(row, metric) is not None for row in self.board.rows)

    def line(self, rank: int, row: Row) -> Line:
        diverged = row.diverged_at is not None
        return self._line(
            row,
            "",
            key=row.cell.key,
            rank="–" if diverged else str(rank),
            name=self.names[row.cell.key],
            profile=row.profile,
            champion=row.champion,
            flags=self.board.flags(row),
            steps=f"{row.diverged_at:,} of {row.steps:,}" if diverged else f"{row.steps:,}",
            images_seen=f"{row.images_seen:,}",
            minutes=f"{row.seconds / 60:.1f}",
        )

    def scale(self, end: Suffix, name: str) -> Line:
        """Write the floor or the ceiling, which all rows of a board share."""
        empty = {"key": "", "rank": "", "steps": "", "images_seen": "", "minutes": ""}
        return self._line(self.board.rows[0], end, **empty, name=name, profile=end, champion=False, flags=[])

    def _line(self, row: Row, end: Suffix, **fields: object) -> Line:
        scores = self._scores(row, end)
        if self.board.counts_modes:
            lead = f"{scores['modes found']} modes"
            sure = f", {scores['confident']} of the samples confident" if "confident" in scores else ""
            told = f"{lead}{sure}, FID {scores['FID']}"
        else:
            lead = f"FID {scores['FID']}"
            told = f"{lead}, {scores[OF_CEILING]} of the ceiling"
        details = [_written(metric, self.board.score(row, metric.name, end)) for metric in self.details]
        return Line(scores=scores, details=details, lead=lead, told=told, **fields)  # type: ignore[arg-type]

    def _scores(self, row: Row, end: Suffix) -> dict[str, str]:
        """Write the first table's scores; where modes are counted there is no share of the ceiling."""
        board = self.board
        fid, kid = board.fid(row, end), board.score(row, "kid", end)
        raw = "" if end else fixed(board.score(row, "fid", "raw"), self.fid_decimals)
        distances = {
            "FID": fixed(fid, self.fid_decimals),
            OF_CEILING: percent(fid / board.fid(row, "ceiling")),
            "FID, raw": raw,
            "KID": fixed(kid, self.kid_decimals),
        }
        names = ["confident"] if board.counts_modes else ["classes", "confident"]
        written = {
            name: _written(BY_NAME[name], board.score(row, name, end)) for name in names if self.has(name)
        }
        if not board.counts_modes:
            return distances | written
        del distances[OF_CEILING]
        modes = board.score(row, "modes_confident", end)
        found = f"{fixed(modes, 0)} of {fixed(board.real('modes_confident'), 0)}"
        return {"modes found": found} | written | distances


def _written(metric: Metric, value: float | None) -> str:
    return write_value(value, metric.decimals, is_share=metric.is_share)


def meaning_of(metric: Metric) -> str:
    """Say what a metric means, and when it is flagged."""
    return metric.meaning + (FLAGGED if metric.name in COPIED_METRICS else "")


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


class MetricLine(NamedTuple):
    """One metric of one cell, as text: both generators' values between the two ends of the scale."""

    title: str
    averaged: str
    raw: str
    floor: str
    ceiling: str
    meaning: str


def metric_lines(board: Board, row: Row) -> list[MetricLine]:
    """Write every metric of a row, known ones first."""
    names = [name for name in map(MetricName.parse, row.metrics) if name and not name.suffix]
    there = [name.metric for name in names if name.protocol == board.protocol.protocol]
    lines = [
        _metric_line(board, row, metric.name, metric.title, meaning_of(metric))
        for metric in METRICS
        if metric.name in there
    ]
    unknown = [name for name in there if name not in BY_NAME]
    return lines + [_metric_line(board, row, name, name.replace("_", " "), "") for name in unknown]


def _metric_line(board: Board, row: Row, name: str, title: str, meaning: str) -> MetricLine:
    values = [board.score(row, name, end) for end in SUFFIXES]
    metric = BY_NAME.get(name)
    averaged, raw, floor, ceiling = (
        _written(metric, value) if metric else significant(value) for value in values
    )
    return MetricLine(title, averaged, raw, floor, ceiling, meaning)
