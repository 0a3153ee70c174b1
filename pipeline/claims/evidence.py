"""Owns the evidence for a claim: which file of its runs holds which number.

Scores bear their protocol in their names; a claim compares cells of one study, which share it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gan.errors import DataError
from gan.files import read_json
from gan.metrics.names import Suffix, find_names
from pipeline.scores.history import read_history, smooth
from pipeline.scores.inference import Floats, final_level
from pipeline.stage import Cell


class MetricNameError(DataError):
    """A name that matches no metric or curve of a run's files, or several: not a lack of evidence."""


class Evidence:
    """Results of a claim's cells, read lazily and once."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self._read = cache(read_json)
        self._history = cache(read_history)

    def runs(self, variant: str) -> list[Cell]:
        """Cells of one entry, one per seed."""
        return [cell for cell in self.cells if cell.variant == variant]

    def quantities(self, variant: str, quantity: str) -> list[float]:
        """One number of each run: a score, a curve's final level or that over its maximum, seconds a step."""
        kind, _, name = quantity.partition("/")
        if kind == "score":
            return [self.score(cell, name) for cell in self.runs(variant)]
        if kind == "seconds":
            timings = [self._read(cell.training) for cell in self.runs(variant)]
            return [timing["seconds"] / timing["steps"] for timing in timings]
        curves = [self.curve(cell, name)[2] for cell in self.runs(variant)]
        finals = [final_level(list(curve)) for curve in curves]
        if kind == "final":
            return finals
        return [final / float(curve.max()) for final, curve in zip(finals, curves, strict=True)]

    def score(self, cell: Cell, metric: str, suffix: Suffix = "") -> float:
        """The final score of the averaged generator, or its floor or ceiling."""
        return find_score(self._read(cell.metrics), metric, str(cell.metrics), suffix)

    def points(self, cell: Cell, metric: str) -> tuple[Floats, Floats, Floats]:
        """Steps, images seen and scores along a run, (P,) each."""
        path = scores_along(cell)
        points = self._read(path)["points"]
        if not points:
            raise DataError(f"{path}: no points")
        rows = [(p["step"], p["images_seen"], find_score(p, metric, str(path))) for p in points]
        steps, images, scores = np.array(rows, np.float64).T
        return steps, images, scores

    def curve(self, cell: Cell, name: str) -> tuple[Floats, Floats, Floats]:
        """Steps, images seen and a scalar of a run's history where it is finite, (P,) each."""
        path = cell.history
        history = self._history(cell)
        if name not in history:
            raise MetricNameError(f"{path}: no column {name}; there are {', '.join(history)}")
        values = np.asarray(history[name], np.float64)
        finite = np.isfinite(values)
        if not finite.any():
            raise DataError(f"{path}: no finite value of {name}")
        steps, images = (np.asarray(history[axis], np.float64)[finite] for axis in ("step", "images_seen"))
        return steps, images, values[finite]

    def series(self, cell: Cell, series: str) -> tuple[Floats, Floats, Floats]:
        """Scores along a run, or a smoothed curve of its history."""
        kind, _, name = series.partition("/")
        if kind == "score":
            return self.points(cell, name)
        steps, images, values = self.curve(cell, name)
        return steps, images, np.asarray(smooth(values), np.float64)


def scores_along(cell: Cell) -> Path:
    """File of the scores along a run."""
    return cell.trajectory / "scores.json"


def find_score(scores: Mapping[str, Any], metric: str, where: str, suffix: Suffix = "") -> float:
    """Look up a metric by its short name among full names, which bear extractor, count and split.

    Raises MetricNameError when none matches or several do, such as those of two extractors or counts, and
    DataError when the value isn't finite.
    """
    found = sorted(map(str, find_names(scores, metric, suffix=suffix)))
    wanted = f"{metric}_{suffix}" if suffix else metric
    if not found:
        raise MetricNameError(f"{where}: no score {wanted}")
    if len(found) > 1:
        raise MetricNameError(f"{where}: {len(found)} scores match {wanted}: {', '.join(found)}")
    value = float(scores[found[0]])
    if not math.isfinite(value):
        raise DataError(f"{where}: {found[0]} is {value}")
    return value
