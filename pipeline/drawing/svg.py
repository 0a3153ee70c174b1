"""Owns small SVG charts, coloured by the page's CSS: how data are mapped to a drawing, axes, lines."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MOST_TICKS = 6  # of a logarithmic axis


@dataclass(frozen=True)
class Chart:
    """One small chart: a title, the names of its curves where there are several, and the drawing."""

    title: str
    legend: list[str]
    note: str
    svg: str
    meaning: str = ""


class Margins(NamedTuple):
    """Margins around the plot area."""

    left: int
    right: int
    top: int
    bottom: int


@dataclass(frozen=True)
class Frame:
    """Maps data to coordinates of the drawing, both axes linear or both logarithmic."""

    width: int
    height: int
    margins: Margins
    places: tuple[float, float]  # first and last
    values: tuple[float, float]  # lowest and highest
    is_log: bool = False
    start: int = 0  # from the left edge, where what isn't positive stands on a logarithmic axis, to the first

    @property
    def right(self) -> int:
        """Where the lines end."""
        return self.width - self.margins.right

    @property
    def floor(self) -> int:
        """Height of the horizontal axis."""
        return self.height - self.margins.bottom

    def x(self, place: float) -> float:
        """Coordinate of a place."""
        first, last = self.places
        if self.is_log and place <= 0:
            return float(self.margins.left)
        begin = self.margins.left + self.start
        return begin + self._part(self.right - begin, first, place, last)

    def y(self, value: float) -> float:
        """Coordinate of a value, clipped to the range."""
        low, high = self.values
        inside = min(max(value, low), high)
        return self.margins.top + self._part(self.floor - self.margins.top, high, inside, low)

    def _part(self, length: float, first: float, value: float, last: float) -> float:
        """Part of a length that lies between the first value and this one."""
        if self.is_log:
            return length * (math.log(value / first) / math.log(last / first))
        return length * (value - first) / (last - first)

    def path(self, places: Iterable[float], values: Iterable[float]) -> str:
        """Draw a line through the finite points; it is interrupted where a value is not finite."""
        return draw_path(
            [
                (self.x(place), self.y(value)) if math.isfinite(value) else None
                for place, value in zip(places, values, strict=True)
            ]
        )

    def rules(self, ticks: Iterable[tuple[float, str]]) -> str:
        """Draw a line across at each tick, with its text beside the axis."""
        left = self.margins.left
        return "".join(
            f'<line x1="{left}" x2="{self.right}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"/>'
            f'<text class="y" x="{left - 6}" y="{self.y(value) + 4:.1f}">{text}</text>'
            for value, text in ticks
        )

    def svg(self, label: str, body: Iterable[str]) -> str:
        """Write the whole drawing."""
        box = f'viewBox="0 0 {self.width} {self.height}"'
        return f'<svg {box} role="img" aria-label="{label}">{"".join(body)}</svg>'


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


def log_ticks(low: float, high: float) -> list[float]:
    """Round values from low to high for a logarithmic axis: as many of 1, 2 and 5 times a power as have room.

    Where less than two of these lie between, evenly spaced values as on a linear axis.
    """
    for digits in ((1, 2, 5), (1, 3), (1,)):
        values = [value for value in _multiples(digits, low, high) if low <= value <= high]
        if len(values) <= MOST_TICKS:
            break
    else:
        values = values[:: -(-len(values) // MOST_TICKS)]
    return values if len(values) > 1 else [value for value, _ in ticks(low, high)]


def _multiples(digits: Sequence[int], low: float, high: float) -> Iterator[float]:
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (digit * 10.0**power for digit in digits)
