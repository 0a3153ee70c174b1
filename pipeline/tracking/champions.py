"""Owns the choice of champions: the best cell of a study on each data set, and the alias that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gan.card import read_card
from gan.config import Params
from gan.errors import DataError
from gan.metrics.names import find_names
from pipeline.scores.course import read_course
from pipeline.stage import Cell
from pipeline.tracking.models import Version, find_version_of
from pipeline.tracking.registration import crown, read_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient


def choose_champions(cells: Sequence[Cell], params: Params) -> dict[str, dict[str, Any]]:
    """Pick each data set's cell with the lowest FID of its averaged generator; ties go by key.

    Where the data set has a validation split, the FID is that of the run's last step against it: the split
    that the final scores are of decides nothing then. A run that diverged is never picked; a data set of
    none but such has no champion and no entry here.
    """
    chosen: dict[str, dict[str, Any]] = {}
    finished = [cell for cell in cells if read_card(cell.model).status == "finished"]
    for dataset in dict.fromkeys(cell.dataset for cell in finished):
        scored = [
            (*(_validation_fid(cell) or _fid_of(cell, read_metrics(cell), params)), cell)
            for cell in finished
            if cell.dataset == dataset
        ]
        names = {name for name, _, _ in scored}
        if len(names) > 1:
            raise DataError(f"{dataset}: cells are scored by different protocols: {', '.join(sorted(names))}")
        name, value, best = min(scored, key=lambda entry: (entry[1], entry[2].key))
        chosen[dataset] = {
            "key": best.key,
            "model": best.model_name,
            "weights_sha256": read_card(best.model).weights_sha256,
            "metric": name,
            "value": value,
        }
    return chosen


def without_champion(cells: Sequence[Cell], champions: Mapping[str, Any]) -> list[str]:
    """Explain for each data set of these cells without a champion why it has none."""
    return [
        f"no champion of {dataset}: every run on it diverged; the alias stays where it was"
        for dataset in dict.fromkeys(cell.dataset for cell in cells)
        if dataset not in champions
    ]


def crown_champions(client: MlflowClient, champions: Mapping[str, Mapping[str, Any]]) -> list[Version]:
    """Move each data set's alias `champion`. Raises DataError when a chosen model isn't registered."""
    return [
        crown(client, dataset, find_version_of(client, str(chosen["model"]), str(chosen["weights_sha256"])))
        for dataset, chosen in champions.items()
    ]


def _validation_fid(cell: Cell) -> tuple[str, float] | None:
    """Name and value of the last step's FID against the validation split; None without one."""
    course = read_course(cell)
    return (course.metric, course.last.fid) if course.split == "validation" else None


def _fid_of(cell: Cell, metrics: Mapping[str, float], params: Params) -> tuple[str, float]:
    """Name and value of the FID against the split that params.yaml scores against."""
    split = params.evaluate.reference
    found = [str(name) for name in find_names(metrics, "fid", split)]
    if len(found) != 1:
        raise DataError(
            f"{cell.metrics}: {len(found)} scores are a FID against {split}, expected one; "
            f"run 'dvc repro evaluate@{cell.key}'"
        )
    return found[0], metrics[found[0]]
