"""Owns history.csv, the scalars that training logged: its one writer and reader. Loads no torch."""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError
from gan.files import write_bytes
from pipeline.stage import Cell

Values = NDArray[np.float64]

AXES = ("step", "images_seen")  # columns that every history has
WINDOW = 9  # points of the median and of the mean that smooth a curve


def write_history(cell: Cell, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the scalars of each logged step, one step a row; the first row names the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(cell.history, text.getvalue().encode())


def read_rows(cell: Cell) -> list[dict[str, float]]:
    """Read the scalars of each logged step; a row lacks those that were left empty.

    Raises DataError for a file that holds something else than numbers, or no row with both axes.
    """
    try:
        with cell.history.open(newline="", encoding="utf-8") as stream:
            rows = [
                {name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{cell.history}: not a history of numbers: {error}") from error
    if not rows or not set(AXES) <= set(rows[0]):
        raise DataError(
            f"{cell.history}: no rows with step and images_seen; run 'dvc repro -f train@{cell.key}'"
        )
    return rows


def read_history(cell: Cell) -> dict[str, Values]:
    """Read the scalars of a run, column by column, (rows,) each; nan where one is missing.

    Raises DataError as `read_rows` does.
    """
    rows = read_rows(cell)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def smooth(values: Values, window: int = WINDOW) -> Values:
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
