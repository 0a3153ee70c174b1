"""Owns the curves of a run: a history of scalars to small SVG charts, coloured by the page's CSS."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError

Values = NDArray[np.float64]


class Kind(NamedTuple):
    """One kind of chart: its columns in a history, each with the name of its curve, and what it shows."""

    title: str
    columns: dict[str, str]
    meaning: str


def _pair(prefix: str) -> dict[str, str]:
    return {f"{prefix}real": "real", f"{prefix}fake": "fake"}


# Charts that readers look for, in this order; any other column gets a chart of its own.
CHARTS = [
    Kind("Critic loss", {"loss/critic": ""}, "what the critic minimises, penalties included"),
    Kind("Generator loss", {"loss/generator": ""}, "what the generator minimises"),
    Kind(
        "W estimate",
        {"critic/wasserstein": "training", "critic/wasserstein_held_out": "held out"},
        "mean D(real) − mean D(fake), the critic's estimate of the distance between real and generated "
        "images. Read it within one run only: a falling W means that the generator gains on its critic. "
        "Its unit is set by the clip or the penalty, and a critic that makes few updates per generator step "
        "stays short of its optimum, so W falls short of the true distance by an unknown amount and ranks no "
        "variant against another. Held out: the same on images that the critic never learns from; where it "
        "falls behind, the critic knows its training images by heart",
    ),
    Kind(
        "Mean score",
        _pair("critic/") | {"critic/held_out": "held out"},
        "the critic's mean output on real images, on generated ones, and on real ones that it never learns "
        "from; where these come down to the fakes, the critic knows its training images by heart",
    ),
    Kind("Penalty", {"critic/penalty": ""}, "the term that bounds the critic, as it stands in its loss"),
    Kind("Gradient norm", {"critic/gradient_norm": ""}, "norm of the critic's gradient in its input"),
    Kind(
        "Energy",
        _pair("critic/energy_") | {"critic/energy_held_out": "held out"},
        "reconstruction error of the critic, which is an autoencoder; held out: of real images that it never "
        "learns from",
    ),
    Kind(
        "Fakes below the margin",
        {"critic/below_margin": ""},
        "share of generated images that the critic still pushes away; at 0 it has stopped learning from them",
    ),
    Kind(
        "Pulling-away term",
        {"generator/pulling_away": ""},
        "mean squared cosine between the codes of a batch, before its weight: 0 orthogonal, 1 all alike",
    ),
    Kind("k", {"began/k": ""}, "weight of the fakes in BEGAN's critic loss, moved by the balance"),
    Kind("Balance", {"began/balance": ""}, "γ · energy of real − energy of fake images, which k drives to 0"),
    Kind("M", {"began/measure": ""}, "BEGAN's measure of convergence: energy of real images + |balance|"),
    Kind("Potential", _pair("coulomb/potential_"), "Coulomb potential at real and at generated images"),
    Kind(
        "Potential without self term",
        _pair("coulomb/field_"),
        "the same, each image leaving out its own charge: both near 0 where the two densities agree",
    ),
    Kind(
        "Outside [−1, 1]", {"generator/outside": ""}, "share of generated values beyond the range of pixels"
    ),
]
WIDTH, HEIGHT = 260, 160
LEFT, RIGHT, TOP, BOTTOM = 44, 6, 8, 36
WINDOW = 9  # points of the median and of the mean behind the thick line


@dataclass(frozen=True)
class Chart:
    """One small chart: a title, the names of its curves where there are several, and the drawing."""

    title: str
    legend: list[str]
    note: str
    svg: str
    meaning: str = ""


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
    known = {"step", "images_seen"}.union(*(kind.columns for kind in CHARTS))
    others = [
        Kind(name.rpartition("/")[2].replace("_", " ").capitalize(), {name: ""}, "")
        for name in history
        if name not in known
    ]
    return [_draw(kind, history) for kind in (*CHARTS, *others) if history.keys() & kind.columns.keys()]


def _draw(kind: Kind, history: dict[str, Values]) -> Chart:
    names = [name for name in kind.columns if name in history]
    curves = [history[name] for name in names]
    low, high, is_cut = value_range(np.concatenate(curves))
    steps = history["step"]
    frame = _Frame(0.0, float(steps[-1]), low, high)
    body = [_grid(frame, float(history["images_seen"][-1]))]
    for index, curve in enumerate(curves):
        body.append(f'<path class="c{index} thin" d="{frame.path(steps, curve)}"/>')
        body.append(f'<path class="c{index}" d="{frame.path(steps, smooth(curve, WINDOW))}"/>')
    legend = [kind.columns[name] for name in names if kind.columns[name]]
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{kind.title}">{"".join(body)}</svg>'
    note = "outliers beyond the axis" if is_cut else ""
    if not np.isfinite(np.concatenate(curves)).any():
        note = "no finite value"
    return Chart(kind.title, legend, note, svg, kind.meaning)


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
        return draw_path(
            [
                (self.x(step), self.y(value)) if math.isfinite(value) else None
                for step, value in zip(steps, values, strict=True)
            ]
        )


def draw_path(points: Iterable[tuple[float, float] | None]) -> str:
    """Write an SVG path through points; None interrupts it.

    In tenths of a unit, each point from the one before: half the size of a page is curves. A point
    that stands alone becomes a dot, by a line of no length whose ends are round.
    """
    parts = []
    last: tuple[int, int] | None = None
    for point in points:
        if point is None:
            last = None
            continue
        x, y = round(10 * point[0]), round(10 * point[1])
        parts.append(f"M{_tenths(x)} {_tenths(y)}h0" if last is None else _line(x - last[0], y - last[1]))
        last = x, y
    return "".join(parts)


def _line(right: int, down: int) -> str:
    gap = "" if down < 0 else " "
    return f"l{_tenths(right)}{gap}{_tenths(down)}"


def _tenths(value: int) -> str:
    whole, rest = divmod(abs(value), 10)
    number = f"{whole or ''}.{rest}" if rest else str(whole)
    return f"-{number}" if value < 0 else number


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
    power = math.floor(math.log10(step) + 1e-9)
    values = [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(value, _tick_text(value, power)) for value in values]


def _tick_text(value: float, power: int) -> str:
    """Write a multiple of 10^power in few characters, so that it fits beside the axis: 0.05, 300, 1.2e6."""
    if value and not -4 < power < 4:
        digits = max(0, math.floor(math.log10(abs(value)) + 1e-9) - power)
        mantissa, exponent = f"{value:.{digits}e}".split("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    else:
        text = f"{value:.{max(0, -power) if value else 0}f}"
    return text.replace("-", "−")


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
