"""Owns the curves of a run: a history of scalars to small SVG charts, coloured by the page's CSS."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError

Values = NDArray[np.float64]

# Charts that every reader looks for, in this order; any other column gets a chart of its own.
CHARTS = {
    "Critic loss": ["loss/critic"],
    "Generator loss": ["loss/generator"],
    "W estimate": ["critic/wasserstein"],
    "Mean score": ["critic/real", "critic/fake"],
    "Penalty": ["critic/penalty"],
    "Gradient norm": ["critic/gradient_norm"],
}
WIDTH, HEIGHT = 260, 160
LEFT, RIGHT, TOP, BOTTOM = 38, 6, 8, 36
WINDOW = 9  # points of the median and of the mean behind the thick line


@dataclass(frozen=True)
class Chart:
    """One small chart: a title, the names of its curves where there are several, and the drawing."""

    title: str
    legend: list[str]
    note: str
    svg: str


def read_history(path: Path, key: str) -> dict[str, Values]:
    """Read a run's scalars, column by column. Raises DataError for a table without steps."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not {"step", "images_seen"} <= set(rows[0]):
        raise DataError(f"{path}: no rows with step and images_seen; run 'dvc repro -f train@{key}'")
    return {
        name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if name is not None
    }


def draw_charts(history: dict[str, Values]) -> list[Chart]:
    """Draw every scalar of a history, the well-known ones first."""
    known = {name for names in CHARTS.values() for name in names}
    others = [name for name in history if name not in known | {"step", "images_seen"}]
    charts = CHARTS | {name.rpartition("/")[2].replace("_", " ").capitalize(): [name] for name in others}
    present = [(title, [name for name in names if name in history]) for title, names in charts.items()]
    return [_draw(title, history, names) for title, names in present if names]


def _draw(title: str, history: dict[str, Values], names: Sequence[str]) -> Chart:
    curves = [history[name] for name in names]
    low, high, is_cut = value_range(np.concatenate(curves))
    steps = history["step"]
    frame = _Frame(0.0, float(steps[-1]), low, high)
    body = [_grid(frame, float(history["images_seen"][-1]))]
    for index, curve in enumerate(curves):
        body.append(f'<path class="c{index} thin" d="{frame.path(steps, curve)}"/>')
        body.append(f'<path class="c{index}" d="{frame.path(steps, smooth(curve, WINDOW))}"/>')
    legend = [name.rpartition("/")[2].replace("_", " ") for name in names] if len(names) > 1 else []
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(body)}</svg>'
    return Chart(title, legend, "outliers beyond the axis" if is_cut else "", svg)


@dataclass(frozen=True)
class _Frame:
    """Maps steps and values to the drawing's coordinates."""

    first: float
    last: float
    low: float
    high: float

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - inside) / (self.high - self.low)

    def path(self, steps: Values, values: Values) -> str:
        """Draw a line through the finite points; it is interrupted where a value is not finite."""
        parts, pen = [], "M"
        for step, value in zip(steps, values, strict=True):
            if math.isfinite(value):
                parts.append(f"{pen}{self.x(step):.1f} {self.y(value):.1f}")
            pen = "L" if math.isfinite(value) else "M"
        return "".join(parts)


def _grid(frame: _Frame, images_seen: float) -> str:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value, text in ticks(frame.low, frame.high):
        y = frame.y(value)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{text}</text>')
    for fraction, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x, step = frame.x(frame.last * fraction), frame.last * fraction
        place = f'text-anchor="{anchor}" x="{x:.1f}"'
        unit = (" steps", " images") if fraction == 1.0 else ("", "")
        parts.append(f'<text {place} y="{floor + 15}">{short_number(step)}{unit[0]}</text>')
        seen = short_number(images_seen * fraction)
        parts.append(f'<text {place} y="{floor + 29}">{seen}{unit[1]}</text>')
    return "".join(parts)


def value_range(values: Values) -> tuple[float, float, bool]:
    """Lowest and highest value to draw, and whether outliers are left out.

    One spike at the first step would flatten all that follows; where the whole range is more than
    three times that of the inner 96 %, the axis is cut there.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0, False
    low, high = float(finite.min()), float(finite.max())
    inner_low, inner_high = (float(edge) for edge in np.quantile(finite, [0.02, 0.98]))
    is_cut = high - low > 3 * (inner_high - inner_low) > 0
    if is_cut:
        low, high = inner_low, inner_high
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    return low - margin, high + margin, is_cut


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Two to five round values inside a range, each with its text."""
    most = (high - low) / 2
    unit = 10.0 ** math.floor(math.log10(most))
    step = max(unit * factor for factor in (1, 2, 5) if unit * factor <= most)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    values = [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(value, f"{value:.{decimals}f}".replace("-", "−")) for value in values]


def smooth(values: Values, window: int) -> Values:
    """Centred median, which a lone spike doesn't move, then the mean of the medians.

    The window (odd) is cut off at both ends; values that are not finite stay out of it and stay gaps.
    """
    finite = np.isfinite(values)
    curve = np.where(finite, values, np.nan)
    for centre in (np.nanmedian, np.nanmean):
        padded = np.pad(curve, window // 2, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, window)
        curve = np.full(len(values), np.nan)
        curve[finite] = centre(windows[finite], axis=1)
    return curve


def short_number(value: float) -> str:
    """Write a count in at most five characters: 400, 1.25k, 128k, 1.3M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            decimals = 2 if value < 10 * size else 1 if value < 100 * size else 0
            number = f"{value / size:.{decimals}f}"
            return (number.rstrip("0").rstrip(".") if "." in number else number) + unit
    return f"{value:.0f}"
