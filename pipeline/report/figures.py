"""Owns the figures for papers: the leaderboard with its intervals, and each critic's curve; PNG and SVG.

Equal results give equal bytes: no date, no random identifiers, and the font that matplotlib brings.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.drawing.svg import value_range
from pipeline.report.columns import short_names
from pipeline.report.history_charts import CHARTS, Kind
from pipeline.report.leaderboard import Board, find_standings
from pipeline.report.quality_charts import AXES, Strand
from pipeline.report.rows import Row
from pipeline.scores.history import Values, read_history, smooth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4  # panels side by side
LEGEND_COLUMNS = 7
# The curve shown for a critic: the first of these that its history has.
WATCHED = ("W estimate", "M", "Energy", "Potential", "Mean score", "Critic loss")
COLOURS = ("#1f5fbf", "#b45309", "#15803d")
MUTED = "#5d646e"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "svg.hashsalt": "gantry",
}


def draw_figures(board: Board, rows: Sequence[Row], strands: Sequence[Strand]) -> dict[str, bytes]:
    """Draw a data set's figures: file name -> content.

    rows: those whose critics' curves are drawn, best first; strands: the runs whose quality is.
    """
    from matplotlib import rc_context

    with rc_context(STYLE):
        figures = {
            "leaderboard": _leaderboard(board),
            "critics": _critics(rows),
            "quality": _quality(strands),
        }
        return {
            f"{board.dataset}-{name}.{kind}": _encode(figure, kind)
            for name, figure in figures.items()
            for kind in ("png", "svg")
        }


def _leaderboard(board: Board) -> Figure:
    """FID on a logarithmic axis, best on top: every run a dot, the mean and its interval where there are."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    standings = find_standings(board)
    figure = Figure(figsize=(5.5, 0.9 + 0.22 * len(standings)), layout="constrained")
    axes = figure.subplots()
    floor = board.fid(board.rows[0], "floor")
    for place, standing in enumerate(standings):
        for row in standing.rows:
            axes.plot(
                max(board.fid(row), 1e-3),
                place,
                "o",
                markersize=5 if len(standing.rows) == 1 else 3,
                markerfacecolor="white" if row.status == "diverged" else COLOURS[0],
                markeredgecolor=COLOURS[0],
            )
        mean, low, high = standing.fid
        if low is not None and high is not None:
            # A logarithmic axis can't show an end below zero, so it is drawn down to half of the floor.
            ends = [max(low, floor / 2, 1e-3), high]
            axes.plot(ends, [place, place], color=COLOURS[0], linewidth=1, solid_capstyle="butt", zorder=1)
            axes.plot(mean, place, "|", color=COLOURS[0], markersize=10)
    axes.axvline(max(floor, 1e-3), color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate(
        "real images",
        (max(floor, 1e-3), 1.0),
        (3, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=MUTED,
        va="bottom",
    )
    names = [board.title(standing.variant, standing.budget) for standing in standings]
    axes.set_yticks(range(len(standings)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#dfe2e6", linewidth=0.5)
    axes.set_axisbelow(True)
    protocol = board.protocol
    several = ", mean and 95 % interval over seeds" if len(board.by_variant()) < len(board.rows) else ""
    axes.set_xlabel(f"FID ({protocol.extractor}, {protocol.short_count}, {protocol.split} split){several}")
    return figure


def _critics(rows: Sequence[Row]) -> Figure:
    """One panel per variant with its critic's main curve, over generator steps."""
    from matplotlib.figure import Figure

    names = short_names(rows)
    lines = -(-len(rows) // COLUMNS)
    columns = min(COLUMNS, len(rows))
    figure = Figure(figsize=(1.9 * columns, 1.45 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    for axes, row in zip(panels, rows, strict=False):
        history = read_history(row.cell)
        axes.set_title(names[row.cell.key], fontsize=8, loc="left")
        axes.tick_params(labelsize=6, width=0.6, length=2)
        if (kind := _watched(history)) is not None:
            _panel(axes, kind, history)
    figure.supxlabel("generator steps", fontsize=7, color=MUTED)
    return figure


def _quality(strands: Sequence[Strand]) -> Figure:
    """FID along the runs over steps, images seen and seconds, both axes logarithmic; one line a run.

    What lies at zero has no place on these axes and is left out.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.6 + 0.16 * -(-len(strands) // LEGEND_COLUMNS)), layout="constrained")
    panels = figure.subplots(1, len(AXES), sharey=True)
    for axes, axis in zip(panels, AXES, strict=True):
        for strand in reversed(strands):
            colour = colorsys.hls_to_rgb(strand.hue / 360, 0.4, 0.7)
            for number, track in enumerate(strand.tracks):
                points = [dot for dot in track.dots(axis) if dot[0] > 0]
                axes.plot(
                    [place for place, _, _ in points],
                    [fid for _, fid, _ in points],
                    color=colour,
                    linewidth=0.9,
                    linestyle=(0, (4, 2)) if strand.is_dashed else "-",
                    label=None if number else strand.name,
                )
                for place, fid, is_chosen in points:
                    if is_chosen:
                        axes.plot(place, fid, "o", color=colour, markerfacecolor="none", markersize=4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(axis.title.lower())
        axes.tick_params(labelsize=6, width=0.6, length=2, which="both")
    course = strands[0].tracks[0].course
    panels[0].set_ylabel(f"FID ({course.split} split, {course.n:,} samples)")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        names[::-1],
        loc="outside lower center",
        ncols=LEGEND_COLUMNS,
        fontsize=6,
        frameon=False,
    )
    return figure


def _watched(history: dict[str, Values]) -> Kind | None:
    kinds = {kind.title: kind for kind in CHARTS if history.keys() & kind.columns.keys()}
    return next((kinds[title] for title in WATCHED if title in kinds), None)


def _panel(axes: Any, kind: Kind, history: dict[str, Values]) -> None:
    import numpy as np

    columns = [(name, label) for name, label in kind.columns.items() if name in history]
    for (name, label), colour in zip(columns, COLOURS, strict=False):
        axes.plot(history["step"], history[name], color=colour, linewidth=0.5, alpha=0.3)
        axes.plot(history["step"], smooth(history[name]), color=colour, linewidth=1, label=label)
    low, high, _ = value_range(np.concatenate([history[name] for name, _ in columns]))
    axes.set_ylim(low, high)
    axes.set_ylabel(kind.title, fontsize=6, color=MUTED)
    if any(label for _, label in columns):
        axes.legend(fontsize=5, frameon=False, borderpad=0, handlelength=1)


def _encode(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    nameless = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=kind, dpi=150, metadata=nameless)
    return buffer.getvalue()
