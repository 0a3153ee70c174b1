"""Owns the drawing of quality along runs: FID over steps, images seen and seconds, one line a run, as SVG.

Both axes are logarithmic: a FID falls by factors, and budgets differ by factors. What lies at zero, such as
a snapshot from before the first step, stands at the left edge.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gan.errors import DataError
from pipeline.drawing.numbers import short_number
from pipeline.drawing.svg import Chart, Frame, Margins, draw_path, log_ticks
from pipeline.report.columns import short_names
from pipeline.report.leaderboard import Board, find_standings
from pipeline.scores.course import Course, read_course, read_seconds

WIDTH, HEIGHT, MARGINS = 340, 240, Margins(left=40, right=8, top=8, bottom=22)
START = 14  # between the left edge and the first point that is not at zero
LEAST_FID = 1e-3
GOLDEN_ANGLE = 137.508  # between the hues of neighbours in the ranking, whose lines lie side by side


class Axis(NamedTuple):
    """The horizontal axis of a panel."""

    title: str
    place: Callable[[Track], list[float]]


@dataclass(frozen=True)
class Track:
    """One run as it is drawn: its snapshots with the seconds of training at each."""

    key: str  # of the cell
    name: str  # shown where a pointer rests
    course: Course
    seconds: list[float]

    def dots(self, axis: Axis) -> list[tuple[float, float, bool]]:
        """Place and FID of each snapshot, as logarithmic axes take it, and whether it is the chosen one."""
        return [
            (place, max(point.fid, LEAST_FID), point.step == self.course.chosen)
            for place, point in zip(axis.place(self), self.course.points, strict=True)
        ]


@dataclass(frozen=True)
class Strand:
    """The runs of one variant: a line each, of one colour, switched on and off together."""

    name: str
    index: int  # place in the ranking, from 0, which decides the colour
    tracks: list[Track]

    @property
    def hue(self) -> int:
        """Hue of the lines, in degrees."""
        return round(215 + GOLDEN_ANGLE * self.index) % 360

    def holds(self, key: str) -> bool:
        """Whether a cell's run is among these."""
        return any(track.key == key for track in self.tracks)

    @property
    def is_dashed(self) -> bool:
        """Whether the lines are dashed, which distinguishes similar hues."""
        return self.index % 2 == 1


AXES = (
    Axis("Generator steps", lambda track: [float(point.step) for point in track.course.points]),
    Axis("Images seen", lambda track: [float(point.images_seen) for point in track.course.points]),
    # The seconds before the first step are those of starting up.
    Axis(
        "Seconds of training",
        lambda track: [
            seconds if point.step else 0.0
            for point, seconds in zip(track.course.points, track.seconds, strict=True)
        ],
    ),
)


def read_strands(board: Board) -> list[Strand]:
    """Read the runs of each variant and budget of a board, those of the lowest mean FID first."""
    names = short_names(board.rows)
    strands = []
    for index, standing in enumerate(find_standings(board)):
        tracks = []
        for row in standing.rows:
            course, seconds = read_course(row.cell), read_seconds(row.cell)
            missing = [point.step for point in course.points if point.step not in seconds]
            if missing:
                raise DataError(
                    f"{row.cell.training}: no time of the snapshot at step {missing[0]}; "
                    f"run 'dvc repro -f train@{row.cell.key}'"
                )
            times = [seconds[point.step] for point in course.points]
            tracks.append(Track(row.cell.key, names[row.cell.key], course, times))
        strands.append(Strand(board.title(standing.variant, standing.budget), index, tracks))
    return strands


def courses_as_csv(strands: Sequence[Strand]) -> str:
    """Every snapshot of every run, one a row: what `dvc plots` draws."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "step", "images_seen", "seconds", "fid", "split", "chosen"])
    for track in (track for strand in strands for track in strand.tracks):
        course = track.course
        for point, seconds in zip(course.points, track.seconds, strict=True):
            numbers = [point.step, point.images_seen, seconds, point.fid]
            writer.writerow([track.key, *numbers, course.split, point.step == course.chosen])
    return text.getvalue()


def draw_courses(strands: Sequence[Strand], alone: int | None = None) -> list[Chart]:
    """Draw one panel for each axis, with every strand in it; alone: index of the one that is coloured."""
    return [_draw(axis, strands, alone) for axis in AXES]


def _draw(axis: Axis, strands: Sequence[Strand], alone: int | None) -> Chart:
    dots = [dot for strand in strands for track in strand.tracks for dot in track.dots(axis)]
    frame = _frame_of([place for place, _, _ in dots], [fid for _, fid, _ in dots])
    body = [_grid(frame, has_start=min(place for place, _, _ in dots) <= 0)]
    # The last one drawn is on top: the best, or the one that the page is about.
    for strand in sorted(strands, key=lambda strand: (strand.index == alone, -strand.index)):
        body += [
            _line(axis, frame, strand, track, is_muted=alone not in (None, strand.index))
            for track in strand.tracks
        ]
    return Chart(axis.title, [], "", frame.svg(f"FID over {axis.title.lower()}", body))


def _line(axis: Axis, frame: Frame, strand: Strand, track: Track, *, is_muted: bool) -> str:
    """Draw a run: its line, a dot at its end, a ring at the chosen step; a wide line takes the pointer."""
    dots = [(frame.x(place), frame.y(fid), is_chosen) for place, fid, is_chosen in track.dots(axis)]
    path = draw_path([(x, y) for x, y, _ in dots])
    kinds = (
        f"strand s{strand.index}" + (" dashed" if strand.is_dashed else "") + (" muted" if is_muted else "")
    )
    parts = [f'<g class="{kinds}" style="--hue:{strand.hue}"><title>{_told(track)}</title>']
    parts.append(f'<path d="{path}"/><path class="hit" d="{path}"/>')
    parts.append(f'<circle cx="{dots[-1][0]:.1f}" cy="{dots[-1][1]:.1f}" r="2.5"/>')
    for x, y, is_chosen in dots:
        if is_chosen:
            parts.append(f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>')
    return "".join([*parts, "</g>"])


def _told(track: Track) -> str:
    last, best = track.course.last, track.course.best
    told = f"{track.name}: FID {last.fid:.1f} at step {last.step:,}, the last"
    return f"{told}; {best.fid:.1f} at step {best.step:,}, chosen" if best else told


def _frame_of(places: Sequence[float], fids: Sequence[float]) -> Frame:
    """Make a frame that fits these positions and FIDs, with a margin below and above."""
    positive = [place for place in places if place > 0] or [1.0]
    first, last = min(positive), max(positive)
    low, high = min(fids), max(fids)
    margin = max((high / low) ** 0.04, 1.02)
    span = (first, last if last > first else 2 * first)
    return Frame(WIDTH, HEIGHT, MARGINS, span, (low / margin, high * margin), is_log=True, start=START)


def _grid(frame: Frame, *, has_start: bool) -> str:
    parts = [frame.rules((value, f"{value:g}") for value in log_ticks(*frame.values))]
    floor, right = frame.floor, frame.right
    if has_start:
        parts.append(f'<text text-anchor="middle" x="{MARGINS.left}" y="{floor + 17}">0</text>')
    for value in log_ticks(*frame.places):
        x = frame.x(value)
        anchor = "end" if x > right - 14 else "middle"
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>')
        place = f'text-anchor="{anchor}" x="{min(x, right):.1f}"'
        parts.append(f'<text {place} y="{floor + 17}">{short_number(value)}</text>')
    return "".join(parts)
