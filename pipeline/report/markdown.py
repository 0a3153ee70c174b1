"""Owns results as Markdown: README's tables, and the report that is put below a pull request."""

from collections.abc import Sequence

from pipeline.report.leaderboard import Board
from pipeline.report.sentences import Line, make_table, seed_lines, seed_note, summary

HEADINGS = ["", "Variant", "Profile", "FID", "of ceiling", "FID, raw", "KID", "Classes", "Confident"]
HEADINGS += ["Steps", "Minutes"]
SEED_HEADINGS = ["Rank", "Variant", "Runs", "Mean FID", "95 % interval", "Collapsed", "Diverged"]


def report_markdown(boards: Sequence[Board]) -> str:
    """Write a whole report: sentences and table of each data set, then what is folded away until asked for.

    It names no picture and no address: where it is read, none of the report's files need be.
    """
    parts = []
    for board in boards:
        parts += [f"## {board.dataset}", board_markdown(board), _details(board)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _details(board: Board) -> str:
    """Write the second table, folded."""
    table = make_table(board)
    if not table.details:
        return ""
    headings = ["variant", *(detail.title for detail in table.details)]
    lines = [_cells(headings), "|:---|" + "---:|" * len(table.details)]
    lines += [
        _cells([f"`{line.name}`" if line.rank else f"*{line.name}*", *line.details])
        for line in (table.floor, *table.lines, table.ceiling)
    ]
    return "\n".join(["<details><summary>Other metrics</summary>", "", *lines, "", "</details>"])


def board_markdown(board: Board) -> str:
    """Write one data set's sentences and tables."""
    table = make_table(board)
    lines = [_cells(HEADINGS), "|---:|:---|:---|" + "---:|" * (len(HEADINGS) - 3)]
    lines += [_cells(_entries(line)) for line in (table.floor, *table.lines, table.ceiling)]
    first = board.rows[0]
    right = first.evaluator_accuracy
    accuracy = "" if right is None else f", {100 * right:.1f} % of the test images right"
    scale = (
        f"{board.protocol.samples} samples of the averaged generator (raw: as training left it) against "
        f"the {board.protocol.split} split of {board.dataset}; less FID and KID is better. Their scale "
        f"belongs to one evaluator ({board.protocol.extractor} {first.evaluator_sha256[:12]}{accuracy}) "
        "and compares with no other."
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
