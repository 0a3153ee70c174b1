"""Owns the report's page: what each of its sections shows, handed to report.html.j2 ready to print.

The page is one file that opens anywhere: its pictures and drawings are part of it, and it names no
address outside itself.
"""

import shlex
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
from pipeline.curves import Chart, draw_charts, read_history, short_number
from pipeline.leaderboard import Board, Row
from pipeline.pictures import along_the_run, data_uri, enlarge, lay_out, read_grid, read_samples
from pipeline.stage import Cell
from pipeline.table import Line, Table, make_table, position, seed_lines, short_names, summary

STRIP = 12  # digits in a row of the same noise
GRID = 64
TRACKED = 6  # noise vectors followed along a run


@dataclass(frozen=True)
class Run:
    """One cell, as the page's sections show it."""

    name: str
    cell: Cell
    line: Line
    noise: str  # its latent law, where that differs from most of the board's
    strip: str
    grid: str
    course: str
    course_steps: list[str]
    charts: list[Chart]
    estimates_distance: bool
    card: Card
    method: list[tuple[str, str]]
    training: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """One data set's results."""

    board: Board
    table: Table
    summary: list[str]
    positions: dict[str, tuple[float, float]]  # row name -> place of averaged and raw FID, in per cent
    seeds: list[tuple[str, str, str, str]]
    samples: str
    evaluator: dict[str, Any]
    runs: list[Run]
    first_seed: int


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
    environment.filters["quote"] = shlex.quote
    sections = [_section(board, params) for board in boards]
    return environment.get_template("report.html.j2").render(params=params, sections=sections, Markup=Markup)


def pictured_rows(board: Board) -> list[Row]:
    """Rows that are shown in pictures and curves: those of the first seed, best first."""
    first = min(row.seed for row in board.rows)
    return [row for row in board.rows if row.seed == first]


def _section(board: Board, params: Params) -> Section:
    table, rows = make_table(board), pictured_rows(board)
    lines = {row.cell.key: line for row, line in zip(board.rows, table.lines, strict=True)}
    cards = {row.cell.key: read_card(row.cell.model) for row in rows}
    laws = [_noise_law(card) for card in cards.values()]
    usual = max(laws, key=laws.count)
    names = short_names(rows)
    shown = track(rows, f"drawing {board.dataset}", console=Console(stderr=True), transient=True)
    runs = [
        _run(row.cell, names[row.cell.key], lines[row.cell.key], cards[row.cell.key], usual) for row in shown
    ]
    return Section(
        board=board,
        table=table,
        summary=summary(board),
        positions={lines[row.cell.key].name: position(board, row) for row in board.rows},
        seeds=seed_lines(board),
        samples=f"{params.evaluate.samples:,}",
        evaluator=read_json(rows[0].cell.evaluator / "card.json"),
        runs=runs,
        first_seed=rows[0].seed,
    )


def _run(cell: Cell, name: str, line: Line, card: Card, usual_law: str) -> Run:
    samples = read_samples(cell.samples / "averaged.npy", GRID)
    previews = sorted((cell.model / "previews").glob("*.png"))
    pictures = [read_grid(path, card.shape) for path in previews]
    history = read_history(cell.model / "history.csv", cell.key)
    law = _noise_law(card)
    return Run(
        name=name,
        cell=cell,
        line=line,
        noise="" if law == usual_law else f"noise of its own: {law}",
        strip=data_uri(enlarge(lay_out(samples[:STRIP], columns=STRIP), 3)),
        grid=data_uri(enlarge(lay_out(samples, columns=8))),
        course=data_uri(enlarge(along_the_run(pictures, TRACKED))),
        course_steps=[short_number(int(path.stem)) for path in previews],
        charts=draw_charts(history),
        estimates_distance="critic/wasserstein" in history,
        card=card,
        method=list(_flat(card.method.model_dump(mode="json", by_alias=True))),
        training=read_json(cell.training),
    )


def _noise_law(card: Card) -> str:
    return f"{card.method.z_dim} × {'N(0, 1)' if card.method.noise == 'normal' else 'U[−1, 1]'}"


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
