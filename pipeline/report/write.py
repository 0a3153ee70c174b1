"""Owns the report: a page and one for each variant, the leaderboard, the means over seeds, and figures.

Reads the artefacts of the selected cells, never a directory listing: what another study left behind
must not show. Loads neither torch nor MLflow.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gan.config import Params
from gan.errors import DataError
from gan.files import write_bytes, write_json
from pipeline.drawing.pictures import Pixels, labelled_rows, read_overview
from pipeline.report.columns import make_table, short_names
from pipeline.report.figures import draw_figures
from pipeline.report.leaderboard import Board, make_boards, summarise
from pipeline.report.markdown import report_markdown
from pipeline.report.page import render_page
from pipeline.report.quality_charts import courses_as_csv
from pipeline.report.readme import write_readme
from pipeline.report.results import STRIP, NoiseLaws, Results, make_results, pictured_rows
from pipeline.report.rows import as_csv, read_rows
from pipeline.report.variant_page import render_variants
from pipeline.stage import (
    PUBLISHED,
    REPORTS,
    Cell,
    champions,
    published_folder,
    report_folder,
    selected_cells,
)


def write_report(params: Params) -> Path:
    """Write all files of the report and return the page's path. Raises DataError for what is missing."""
    cells = selected_cells(params)
    check_artefacts(cells, champions(params))
    boards = make_boards(read_rows(cells, params), params.evaluate.reference)
    rows = [row for board in boards for row in board.rows]
    folder = report_folder(params)
    write_json(folder / "leaderboard.json", [row.flat() for row in rows])
    write_bytes(folder / "leaderboard.csv", as_csv(rows).encode())
    write_json(folder / "summary.json", [line for board in boards for line in summarise(board)])
    pictured = [row for board in boards for row in picture_rows(board)]
    write_bytes(folder / "samples.png", labelled_rows(pictured))
    results = make_results(boards, params)
    _write_folder(
        folder / "variants", {name: page.encode() for name, page in render_variants(results, params)}
    )
    write_bytes(folder / "report.md", report_markdown(boards).encode())
    strands = [strand for found in results for strand in found.quality.strands]
    write_bytes(folder / "courses.csv", courses_as_csv(strands).encode())
    write_figures(folder / "figures", results)
    page = folder / "index.html"
    write_bytes(page, render_page(results, params).encode())
    return page


def publish_reports(params: Params) -> list[Path]:
    """Copy the selected study's reports to where they are committed; return those folders.

    README's results are written from the default study's. Raises DataError where a report isn't there.
    """
    copies = {report_folder(params): published_folder(params)}
    copies |= {REPORTS / name: PUBLISHED / name for name in params.select.claims}
    for report in copies:
        if not (report / "index.html").is_file():
            raise DataError(f"{report}: no report; run 'make repro'")
    for report, published in copies.items():
        for part in report.iterdir():
            if part.is_dir():
                shutil.rmtree(published / part.name, ignore_errors=True)
        shutil.copytree(report, published, dirs_exist_ok=True)
    if published_folder(params) == PUBLISHED:
        write_readme(params)
    return list(copies.values())


def write_figures(folder: Path, results: Sequence[Results]) -> None:
    """Write the figures for papers."""
    figures: dict[str, bytes] = {}
    for found in results:
        rows = [run.row for run in found.runs]
        figures |= draw_figures(found.board, rows, found.quality.strands)
    _write_folder(folder, figures)


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder's files; what an earlier selection left in it goes."""
    for path in folder.glob("*"):
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        write_bytes(folder / name, content)


def picture_rows(board: Board) -> Iterator[tuple[str, list[str], Pixels]]:
    """Yield name, score and the first samples of each cell that is shown in pictures.

    A second note says where the noise can't be that of the rows around.
    """
    rows = pictured_rows(board)
    names, laws = short_names(rows), NoiseLaws.of(rows)
    scores = {line.key: line.lead for line in make_table(board).lines}
    for row in rows:
        samples = read_overview(row.cell.samples / "averaged.npy", STRIP)
        score = scores[row.cell.key] + (", diverged" if row.status == "diverged" else "")
        law = laws.unusual(row.cell).replace("×", "x").replace("−", "-")  # Pillow's font lacks both
        yield names[row.cell.key], [score, *([f"noise {law}"] if law else [])], samples


def check_artefacts(cells: Sequence[Cell], champion: Path) -> None:
    """Raise DataError with one line for each file that the report needs and that isn't there."""
    needed = {champion: "champion"}
    for cell in cells:
        needed |= {
            cell.contact: f"contact@{cell.dataset}",
            cell.evaluator / "card.json": f"evaluator@{cell.dataset}",
            cell.model / "card.json": f"train@{cell.key}",
            cell.history: f"train@{cell.key}",
            cell.model / "previews": f"train@{cell.key}",
            cell.training: f"train@{cell.key}",
            cell.samples / "averaged.npy": f"sample@{cell.key}",
            cell.samples / "interpolation.npy": f"sample@{cell.key}",
            cell.samples / "nearest.npy": f"sample@{cell.key}",
            cell.samples / "nearest.json": f"sample@{cell.key}",
            cell.trajectory / "scores.json": f"trajectory@{cell.key}",
            cell.trajectory / "images.npy": f"trajectory@{cell.key}",
            cell.metrics: f"evaluate@{cell.key}",
            cell.protocol: f"evaluate@{cell.key}",
        }
    missing = {path: stage for path, stage in needed.items() if not path.exists()}
    if missing:
        lines = [f"{path}: no such file; run 'dvc repro {stage}'" for path, stage in missing.items()]
        raise DataError("\n".join(lines))
