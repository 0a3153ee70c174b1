"""Owns formatting numbers on pages and in charts."""

import math
from collections.abc import Sequence

MINUS = "−"


def fixed(value: float | None, decimals: int) -> str:
    """Write a number with a fixed number of decimals; an en dash where there is none."""
    return "–" if value is None else f"{value:,.{decimals}f}".replace("-", MINUS)


def decimals_for(values: Sequence[float]) -> int:
    """Decimals that give the smallest value two significant digits, at most six."""
    smallest = min((abs(value) for value in values if value), default=1.0)
    return next((n for n in range(6) if smallest * 10**n >= 10), 6)


def percent(share: float) -> str:
    """Write a share with two significant digits, or three where it is above 10 %."""
    value = share * 100
    return f"{value:,.0f} %" if value >= 10 else f"{value:.1f} %" if value >= 1 else f"{value:.2f} %"


def significant(value: float | None) -> str:
    """Write a number with three significant digits, but every digit before the point: 5,188, 33.1, 0.0023."""
    if not value:
        return "–" if value is None else "0"
    return fixed(value, min(max(2 - math.floor(math.log10(abs(value))), 0), 6))


def write_value(value: float | None, decimals: int | None, *, is_share: bool = False) -> str:
    """Write a metric's value; a share in per cent, 100 % only where nothing is missing."""
    if value is None:
        return "–"
    if is_share:
        if decimals == 0:
            return f"{min(round(value * 100), 99) if value < 1 else 100} %"
        return f"{value * 100:.{decimals}f} %"
    return significant(value) if decimals is None else fixed(value, decimals)


def count(n: int, noun: str, plural: str = "") -> str:
    """Write a number of things: 1 variant, 4 variants."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def short_number(value: float) -> str:
    """Write a count in at most five characters: 400, 1.25k, 128k, 1.3M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            decimals = 2 if value < 10 * size else 1 if value < 100 * size else 0
            number = f"{value / size:.{decimals}f}"
            return (number.rstrip("0").rstrip(".") if "." in number else number) + unit
    return f"{value:.0f}"
