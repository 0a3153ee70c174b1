"""Owns the results of one data set as pages show them: read from its cells' files, drawn and formatted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import track

from gan.card import Card, read_card
from gan.config import Params
from gan.data import mixture
from gan.errors import DataError
from gan.files import read_json
from pipeline.drawing.pictures import data_uri, enlarge, lay_out, png_uri, read_overview
from pipeline.drawing.svg import Chart
from pipeline.report.columns import Line, Table, make_table, short_names
from pipeline.report.leaderboard import Board
from pipeline.report.quality_charts import Strand, draw_courses, read_strands
from pipeline.report.rows import Row
from pipeline.report.sentences import (
    CourseLine,
    SeedLine,
    course_lines,
    position,
    seed_lines,
    seed_note,
    summary,
)
from pipeline.scores.course import Course
from pipeline.stage import Cell

STRIP = 12  # digits in a row of the same noise
GRID = 64
PICTURED_BYTES = 900_000  # of pixels on the first page, so that it loads quickly


@dataclass(frozen=True)
class PicturedRun:
    """One cell that is shown in pictures."""

    name: str
    page: str  # file name of its own page
    row: Row
    line: Line
    noise: str  # its noise law, where that is not the usual one
    strip: str
    grid: str  # empty where so many images would make the page heavy
    card: Card
    training: dict[str, Any]

    @property
    def cell(self) -> Cell:
        """The cell whose run this is."""
        return self.row.cell

    @property
    def on_planes(self) -> bool:
        """Whether its samples are points, all of which are shown, on as many planes as there are pictures."""
        return tuple(self.card.image) == mixture.SHAPE


@dataclass(frozen=True)
class Quality:
    """One data set's scores along its runs."""

    strands: list[Strand]  # best first
    charts: list[Chart]
    lines: list[CourseLine]
    course: Course  # of any run: all are scored alike


@dataclass(frozen=True)
class Results:
    """One data set's results."""

    board: Board
    table: Table
    summary: list[str]
    positions: dict[str, tuple[float, float]]  # cell -> place of averaged and raw FID, in per cent
    seeds: list[SeedLine]
    seed_note: str
    samples: str
    evaluator: dict[str, Any]
    contact: str  # the data set's contact sheet, as an address
    runs: list[PicturedRun]
    pages: dict[str, str]  # cell -> file name of its own page, for those that have one
    grid: int  # samples in each variant's picture
    noise: str  # the latent law of most variants
    first_seed: int
    quality: Quality


@dataclass(frozen=True)
class NoiseLaws:
    """What each cell's noise is drawn from. Cells of equal laws get equal noise, others can't."""

    laws: dict[str, str]  # cell -> components and distribution

    @classmethod
    def of(cls, rows: list[Row]) -> NoiseLaws:
        """Read the laws from the cards of these rows."""
        methods = {row.cell.key: read_card(row.cell.model).method for row in rows}
        laws = {
            key: f"{method.z_dim} × {'N(0, 1)' if method.noise == 'normal' else 'U[−1, 1]'}"
            for key, method in methods.items()
        }
        return cls(laws)

    @property
    def usual(self) -> str:
        """The law of most cells."""
        laws = list(self.laws.values())
        return max(laws, key=laws.count)

    def unusual(self, cell: Cell) -> str:
        """Law of a cell, where it is not the usual one, else nothing."""
        law = self.laws[cell.key]
        return "" if law == self.usual else law


def make_results(boards: list[Board], params: Params) -> list[Results]:
    """Read and draw what the pages of a study show, data set by data set."""
    return [_results(board, params, several=len(boards) > 1) for board in boards]


def pictured_rows(board: Board) -> list[Row]:
    """Rows that are shown in pictures and curves: those of the first seed, best first."""
    first = min(row.seed for row in board.rows)
    return [row for row in board.rows if row.seed == first]


def pictured(runs: int, size: int) -> tuple[int, int]:
    """How many images of `size` bytes a run gets on the first page, in its row and in its square.

    12 and 64 for digits; fewer, the square first, where images or runs are many.
    """
    share = PICTURED_BYTES // (runs * size)
    strip = min(STRIP, max(share, 4))
    side = min(math.isqrt(max(share - strip, 0)), math.isqrt(GRID))
    return strip, side * side if side > 1 else 0


def _results(board: Board, params: Params, *, several: bool) -> Results:
    table, rows = make_table(board), pictured_rows(board)
    lines = {row.cell.key: line for row, line in zip(board.rows, table.lines, strict=True)}
    laws = NoiseLaws.of(rows)
    names = short_names(rows)
    prefix = f"{board.dataset}-" if several else ""
    pages = {key: f"{prefix}{name.replace(' · ', '-')}.html" for key, name in names.items()}
    strip, grid = pictured(len(rows), math.prod(params.datasets[board.dataset].shape))
    runs = [
        _run(row, names[row.cell.key], pages[row.cell.key], lines[row.cell.key], laws, strip, grid)
        for row in track(rows, f"drawing {board.dataset}", console=Console(stderr=True), transient=True)
    ]
    return Results(
        board=board,
        table=table,
        summary=summary(board),
        positions={row.cell.key: position(board, row) for row in board.rows},
        seeds=seed_lines(board),
        seed_note=seed_note(board),
        samples=f"{rows[0].stamp['protocol_samples']:,}",
        evaluator=read_json(rows[0].cell.evaluator / "card.json"),
        contact=png_uri(rows[0].cell.contact.read_bytes()),
        runs=runs,
        pages=pages,
        grid=grid,
        noise=laws.usual,
        first_seed=rows[0].seed,
        quality=make_quality(board),
    )


def make_quality(board: Board) -> Quality:
    """Read and draw the scores along a board's runs. Raises DataError where they were made differently."""
    strands = read_strands(board)
    courses = {track.name: track.course for strand in strands for track in strand.tracks}
    if len({(course.metric, course.n) for course in courses.values()}) > 1:
        found = ", ".join(sorted({course.metric for course in courses.values()}))
        raise DataError(f"{board.dataset}: runs are scored by different protocols ({found}); run 'dvc repro'")
    return Quality(
        strands=strands,
        charts=draw_courses(strands),
        lines=course_lines(courses),
        course=next(iter(courses.values())),
    )


def _run(row: Row, name: str, page: str, line: Line, laws: NoiseLaws, strip: int, grid: int) -> PicturedRun:
    cell = row.cell
    samples = read_overview(cell.samples / "averaged.npy", max(strip, grid))
    width = samples.shape[3]
    return PicturedRun(
        name=name,
        page=page,
        row=row,
        line=line,
        noise=laws.unusual(cell),
        strip=data_uri(enlarge(lay_out(samples[:strip], columns=strip), max(1, 84 // width))),
        grid=data_uri(enlarge(lay_out(samples[:grid], columns=math.isqrt(grid)), max(1, 56 // width)))
        if grid
        else "",
        card=read_card(cell.model),
        training=read_json(cell.training),
    )
