"""Owns the scores along a run, as stage `trajectory` writes them. Doesn't import torch."""

from typing import NamedTuple

from gan.errors import DataError
from gan.files import read_json
from pipeline.stage import Cell


class Point(NamedTuple):
    """One snapshot of a run: its step, images seen and FID."""

    step: int
    images_seen: int
    fid: float


class Course(NamedTuple):
    """The snapshots of a run, first to last, and the step that was chosen where one may be."""

    metric: str  # full name of the FID: extractor, count and split
    split: str
    n: int  # samples of each snapshot, and images of the reference
    chosen: int | None  # on a validation split only
    points: list[Point]

    @property
    def last(self) -> Point:
        """The end of the run."""
        return self.points[-1]

    @property
    def best(self) -> Point | None:
        """The chosen snapshot; none where nothing may be chosen."""
        return next((point for point in self.points if point.step == self.chosen), None)


def read_course(cell: Cell) -> Course:
    """Read a cell's scores along its run. Raises DataError when they aren't there."""
    path = cell.trajectory / "scores.json"
    try:
        found = read_json(path)
        metric = str(found["metrics"]["fid"])
        points = [
            Point(int(raw["step"]), int(raw["images_seen"]), float(raw[metric])) for raw in found["points"]
        ]
        if not points:
            raise ValueError("no points")
        return Course(metric, str(found["split"]), int(found["n"]), found["chosen"], points)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: no scores along the run ({type(error).__name__}: {error}); "
            f"run 'dvc repro trajectory@{cell.key}'"
        ) from error


def read_seconds(cell: Cell) -> dict[int, float]:
    """Read the seconds of training at each snapshot. Raises DataError when they aren't there."""
    try:
        found = read_json(cell.training)["snapshot_seconds"]
        return {int(step): float(seconds) for step, seconds in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{cell.training}: no times of the snapshots ({type(error).__name__}: {error}); "
            f"run 'dvc repro -f train@{cell.key}'"
        ) from error
