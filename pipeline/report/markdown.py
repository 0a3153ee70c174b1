"""Owns results as Markdown: README's tables, and the report that is posted to a pull request."""

from collections.abc import Sequence

from pipeline.report.columns import OF_CEILING, Line, make_table
from pipeline.report.leaderboard import Board
from pipeline.report.sentences import seed_lines, seed_note, summary

SEED_HEADINGS = ["Rank", "Variant", "Runs", "Mean modes", "Mean FID"]
SEED_HEADINGS += ["95 % interval", "Collapsed", "Diverged"]


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
    headings = ["", "Variant", "Profile", *map(_capitalised, table.floor.scores), "Steps", "Minutes"]
    lines = [_cells(headings), "|---:|:---|:---|" + "---:|" * (len(headings) - 3)]
    lines += [_cells(_entries(line)) for line in (table.floor, *table.lines, table.ceiling)]
    first = board.rows[0]
    right = first.evaluator_accuracy
    accuracy = "" if right is None else f", {100 * right:.1f} % of the test images right"
    scale = (
        f"{board.protocol.short_count} samples of the averaged generator (raw: as training left it) against "
        f"the {board.protocol.split} split of {board.dataset}; less FID and KID is better. Their scale "
        f"belongs to one evaluator ({board.protocol.extractor} {first.evaluator_sha256[:12]}{accuracy}) "
        "and compares with no other."
    )
    if any(line.flags for line in table.lines):
        scale += " † falls short: see above."
    parts = [" ".join(summary(board)), "\n".join(lines), scale]
    if over_seeds := seed_lines(board):
        rows = [SEED_HEADINGS, *([rank, f"`{name}`", *others] for rank, name, *others in over_seeds)]
        if not board.counts_modes:
            rows = [[*row[:3], *row[4:]] for row in rows]
        seeds = [_cells(rows[0]), "|---:|:---|" + "---:|" * (len(rows[0]) - 2), *map(_cells, rows[1:])]
        parts += ["\n".join(seeds), seed_note(board)]
    return "\n\n".join(parts)


def _entries(line: Line) -> list[str]:
    name = f"`{line.name}`" if line.rank else f"*{line.name}*"
    marks = (" **champion**" if line.champion else "") + (" †" if line.flags else "")
    return [line.rank, name + marks, line.profile, *line.scores.values(), line.steps, line.minutes]


def _capitalised(heading: str) -> str:
    return heading if heading == OF_CEILING else heading[:1].upper() + heading[1:]


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
