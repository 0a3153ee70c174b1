"""Owns README's results: the picture and the table between two markers, from leaderboard.json alone.

That file is committed, so README can be checked in a clone that never ran anything.
"""

from collections.abc import Sequence
from pathlib import Path

from gan.config import Params
from gan.errors import ConfigError
from gan.files import write_bytes
from pipeline.leaderboard import Board, make_boards, rows_from_json
from pipeline.table import Line, make_table, seed_lines, seed_note, summary

README = Path("README.md")
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

HEADINGS = ["", "Variant", "Profile", "FID", "of ceiling", "FID, raw", "KID", "Classes", "Confident"]
HEADINGS += ["Steps", "Minutes"]
SEED_HEADINGS = ["Rank", "Variant", "Runs", "Mean FID", "95 % interval", "Collapsed", "Diverged"]


def readme_block(params: Params) -> str:
    """Write the picture and one table a data set as Markdown, from the selected study's report."""
    folder = Path(params.select.report)
    boards = make_boards(rows_from_json(folder / "leaderboard.json"), params.evaluate.reference)
    picture = f"![The same noise through every variant]({folder.as_posix()}/samples.png)"
    page = f"{folder.as_posix()}/index.html"
    parts = [picture, *(_markdown(board) for board in boards)]
    return "\n\n".join([*parts, f"Samples over time, curves, parameters and hashes: `{page}`."])


def write_readme(params: Params) -> None:
    """Replace what stands between README's markers. Raises ConfigError when they are missing."""
    before, _, after = _split_readme()
    write_bytes(README, f"{before}{BEGIN}\n{readme_block(params)}\n{END}{after}".encode())


def check_readme(params: Params) -> None:
    """Raise ConfigError when README's results are not those of the report."""
    _, found, _ = _split_readme()
    if found.strip() != readme_block(params).strip():
        raise ConfigError(
            f"{README}: its results differ from {params.select.report}/leaderboard.json; "
            "run 'gantry report --readme'"
        )


def _split_readme() -> tuple[str, str, str]:
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    found, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{README}: no '{BEGIN}' with '{END}' after it; put both where the results belong")
    return before, found, after


def _markdown(board: Board) -> str:
    table = make_table(board)
    lines = [_cells(HEADINGS), "|---:|:---|:---|" + "---:|" * (len(HEADINGS) - 3)]
    lines += [_cells(_entries(line)) for line in (table.floor, *table.lines, table.ceiling)]
    first = board.rows[0]
    accuracy = f"{100 * first.evaluator_accuracy:.1f} %"
    scale = (
        f"{board.protocol.samples} samples of the averaged generator (raw: as training left it) against "
        f"the {board.protocol.split} split of {board.dataset}; less FID and KID is better. Their scale "
        f"belongs to one evaluator ({board.protocol.extractor} {first.evaluator_sha256[:12]}, {accuracy} of "
        "the test images right) and compares with no other."
    )
    if any(line.flags for line in table.lines):
        scale += " † falls short: see above."
    parts = [" ".join(summary(board)), "\n".join(lines), scale]
    if over_seeds := seed_lines(board):
        rows = [(rank, f"`{name}`", *others) for rank, name, *others in over_seeds]
        seeds = [
            _cells(SEED_HEADINGS),
            "|---:|:---|" + "---:|" * (len(SEED_HEADINGS) - 2),
            *map(_cells, rows),
        ]
        parts += ["\n".join(seeds), seed_note(board)]
    return "\n\n".join(parts)


def _entries(line: Line) -> list[str]:
    name = f"`{line.name}`" if line.rank else f"*{line.name}*"
    marks = (" **champion**" if line.champion else "") + (" †" if line.flags else "")
    scores = [line.fid, line.share, line.raw_fid, line.kid, line.classes, line.confident]
    return [line.rank, name + marks, line.profile, *scores, line.steps, line.minutes]


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
