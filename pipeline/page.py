"""Owns the report's page: what each of its sections shows, handed to report.html.j2 ready to print.

The page is one file that opens anywhere: its pictures and drawings are part of it, and it names no
address outside itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console
from rich.progress import track

from gan.card import Card, read_card
from gan.config import Params
from gan.files import read_json
from pipeline.curves import CHARTS, Chart, draw_charts, read_history, short_number
from pipeline.leaderboard import Board, Row
from pipeline.pictures import along_the_run, data_uri, enlarge, lay_out, png_uri, read_grid, read_samples
from pipeline.stage import Cell
from pipeline.table import (
    Line,
    SeedLine,
    Table,
    make_table,
    position,
    seed_lines,
    seed_note,
    short_names,
    summary,
)

STRIP = 12  # digits in a row of the same noise
GRID = 64
TRACKED = 4  # noise vectors followed along a run


@dataclass(frozen=True)
class Run:
    """One cell, as the page's sections show it."""

    name: str
    cell: Cell
    line: Line
    noise: str  # its latent law, where that is not the usual one
    strip: str
    grid: str
    course: str
    course_steps: list[str]
    charts: list[Chart]
    card: Card
    method: list[tuple[str, str]]
    training: dict[str, Any]


@dataclass(frozen=True)
class Section:
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
    runs: list[Run]
    noise: str  # the latent law of most variants
    meanings: list[tuple[str, str]]  # title of a chart and what it shows, for the charts there are
    first_seed: int


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


def render_page(boards: list[Board], params: Params) -> str:
    """Render the page of a study. Deterministic: equal artefacts give equal bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    sections = [_section(board, params) for board in boards]
    return environment.get_template("report.html.j2").render(params=params, sections=sections, Markup=Markup)


def pictured_rows(board: Board) -> list[Row]:
    """Rows that are shown in pictures and curves: those of the first seed, best first."""
    first = min(row.seed for row in board.rows)
    return [row for row in board.rows if row.seed == first]


def _section(board: Board, params: Params) -> Section:
    table, rows = make_table(board), pictured_rows(board)
    lines = {row.cell.key: line for row, line in zip(board.rows, table.lines, strict=True)}
    laws = NoiseLaws.of(rows)
    names = short_names(rows)
    shown = track(rows, f"drawing {board.dataset}", console=Console(stderr=True), transient=True)
    runs = [_run(row.cell, names[row.cell.key], lines[row.cell.key], laws) for row in shown]
    return Section(
        board=board,
        table=table,
        summary=summary(board),
        positions={row.cell.key: position(board, row) for row in board.rows},
        seeds=seed_lines(board),
        seed_note=seed_note(board),
        samples=f"{params.evaluate.samples:,}",
        evaluator=read_json(rows[0].cell.evaluator / "card.json"),
        contact=png_uri(rows[0].cell.contact.read_bytes()),
        runs=runs,
        noise=laws.usual,
        meanings=_meanings(runs),
        first_seed=rows[0].seed,
    )


def _run(cell: Cell, name: str, line: Line, laws: NoiseLaws) -> Run:
    card = read_card(cell.model)
    samples = read_samples(cell.samples / "averaged.npy", GRID)
    previews = sorted((cell.model / "previews").glob("*.png"))
    pictures = [read_grid(path, card.shape) for path in previews]
    return Run(
        name=name,
        cell=cell,
        line=line,
        noise=laws.unusual(cell),
        strip=data_uri(enlarge(lay_out(samples[:STRIP], columns=STRIP), 3)),
        grid=data_uri(enlarge(lay_out(samples, columns=8))),
        course=data_uri(enlarge(along_the_run(pictures, TRACKED))),
        course_steps=[short_number(int(path.stem)) for path in previews],
        charts=draw_charts(read_history(cell.model / "history.csv", cell.key)),
        card=card,
        method=list(_flat(card.method.model_dump(mode="json", by_alias=True))),
        training=read_json(cell.training),
    )


def _meanings(runs: list[Run]) -> list[tuple[str, str]]:
    """Say once what each kind of chart shows, in the order of the charts."""
    found = {chart.title: chart.meaning for run in runs for chart in run.charts if chart.meaning}
    return [(kind.title, kind.meaning) for kind in CHARTS if kind.title in found]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each parameter under its dotted name, as params.yaml would write its value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", ", ".join(_point(item) for item in value) or "none"
        else:
            yield f"{prefix}{name}", _plain(value)


def _point(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _plain(value)
    held = " ".join(f"{name}={_plain(item)}" for name, item in value.items() if item is not None)
    return f"({held})"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
