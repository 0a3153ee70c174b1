"""Owns the sentences about results, and the tables over seeds and along runs as text.

README and the pages are both made from these strings, so that they can't differ.
"""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

from pipeline.drawing.numbers import count, fixed, percent
from pipeline.report.columns import OF_CEILING, Table, fid_decimals, make_table
from pipeline.report.leaderboard import JUDGED, Board, Standing, find_standings
from pipeline.report.rows import Row
from pipeline.scores.course import Course
from pipeline.scores.intervals import LEVEL, Rank


def summary(board: Board) -> list[str]:
    """Say in a few sentences what a board shows, what is poor in it, and what it can't show."""
    table = make_table(board)
    variants = count(len({row.variant for row in board.rows}), "variant")
    if all(row.status == "diverged" for row in board.rows):
        best = f"Every run of the {variants} on {board.dataset} diverged: there is no best one."
    else:
        best = f"Of {variants} trained on {board.dataset}, {_best(board, table)}."
    if board.counts_modes:
        floor = f"Real training images: {table.floor.told}."
    else:
        floor = f"Real training images score {table.floor.fid}: no generator can be expected below that."
    return [f"{best} {floor}", _poor(board) or _good(board), _certainty(board)]


def _best(board: Board, table: Table) -> str:
    over_seeds = find_standings(board)[0] if seed_lines(board) else None
    if board.counts_modes:
        if over_seeds is None:
            return f"{table.lines[0].name} comes first: {table.lines[0].told}"
        line = seed_lines(board)[0]
        spread = f"{line.modes} modes on average over {line.runs} seeds, mean FID {line.mean}"
        return f"{line.name} comes first: {spread}"
    of_noise = f"of the {table.ceiling.fid} that uniform noise scores"
    if over_seeds is None:
        first = table.lines[0]
        closest = f"{first.name} comes closest to the {board.protocol.split} images"
        return f"{closest}: FID {first.fid}, {first.scores[OF_CEILING]} {of_noise}"
    line = seed_lines(board)[0]
    share = percent(over_seeds.fid.mean / board.fid(board.rows[0], "ceiling"))
    closest = f"{line.name} comes closest to the {board.protocol.split} images"
    spread = f"{line.runs} seeds (95 % interval {line.interval})"
    return f"{closest}: mean FID {line.mean} over {spread}, {share} {of_noise}"


def _good(board: Board) -> str:
    """Say what no run falls short of, which is what real images score."""
    number = board.real(board.counted)
    parts = [] if number is None else [f"the {number:.0f} {board.things} of the real images"]
    if names := [JUDGED[name] for name in board.judged if board.real(name) is not None]:
        listed = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
        parts.append(f"at least half of their {listed}")
    return f"No run falls short{': all have ' if parts else ''}{', and '.join(parts)}."


def _poor(board: Board) -> str:
    """Name the poor variants, fault by fault; nothing where there are none.

    Where variants were trained more than once it says how many of their runs have the fault.
    """
    groups = board.by_variant()
    several_runs = len(groups) < len(board.rows)
    names: dict[str, list[str]] = {}
    poor = 0
    for (variant, budget), rows in groups.items():
        faults = [fault for row in rows for fault in board.faults(row)]
        poor += bool(faults)
        name = board.title(variant, budget)
        for kind in dict.fromkeys(fault.kind for fault in faults):
            own = [fault.own for fault in faults if fault.kind == kind]
            note = f"{len(own)} of {len(rows)} runs" if several_runs else own[0]
            names.setdefault(kind, []).append(f"{name} ({note})" if note else name)
    listed = [
        f"{headline[0].upper()}{headline[1:]}: {', '.join(names[kind])}."
        for kind, headline in board.fault_kinds.items()
        if kind in names
    ]
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
    if len(tied) < 2 or board.counts_modes:  # ranks are of FID, which doesn't lead there
        return trained
    return f"{trained} The first place is not settled between {', '.join(tied[:-1])} and {tied[-1]}."


class SeedLine(NamedTuple):
    """One line of the table over seeds, as text."""

    rank: str
    name: str
    runs: str
    modes: str  # mean number found, where they are counted
    mean: str
    interval: str
    collapsed: str
    diverged: str


def seed_lines(board: Board) -> list[SeedLine]:
    """Write what the seeds of each variant tell, best first, where there is more than one seed."""
    if len(board.by_variant()) == len(board.rows):
        return []
    decimals = max(fid_decimals(board) if board.counts_modes else 1, 1)
    lines = []
    for standing in find_standings(board):
        mean, low, high = standing.fid
        lines.append(
            SeedLine(
                rank=places(standing.rank),
                name=board.title(standing.variant, standing.budget),
                runs=str(len(standing.rows)),
                modes=_mean_modes(board, standing),
                mean=fixed(mean, decimals),
                interval="–" if low is None else f"{fixed(low, decimals)} to {fixed(high, decimals)}",
                collapsed=str(standing.collapsed),
                diverged=str(standing.diverged),
            )
        )
    return lines


def _mean_modes(board: Board, standing: Standing) -> str:
    if not board.counts_modes:
        return ""
    mean = fmean(board.score(row, "modes_confident") or 0.0 for row in standing.rows)
    return f"{fixed(mean, 1)} of {fixed(board.real('modes_confident'), 0)}"


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
    order = ""
    if board.counts_modes:
        order = (
            "The order is by modes found, then by the share of confident samples; the rank is by FID alone. "
        )
    return (
        "Intervals: Student's t over training seeds, 95 %. Rank: the places that a variant may hold; those "
        "that share places are tied (Welch's t-test of the logarithms of FID, 5 %)."
        f"{chance} Collapsed runs repeat one image or miss {board.things}. {order}{_champion_note(board)}"
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
