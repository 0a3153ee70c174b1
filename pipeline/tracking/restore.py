"""Owns restoring a cell's MLflow run from its files: finding it, recreating and completing it.

A run that training logged is complete already, unless MLflow failed meanwhile. What is missing is taken
from the files that DVC keeps, so that doing it twice adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from gan.card import CARD, Card, read_card
from gan.errors import DataError
from gan.files import read_json
from gan.metrics.names import is_of_reference
from pipeline.scores.history import read_rows
from pipeline.stage import Cell
from pipeline.tracking import run as runs
from pipeline.tracking.lineage import Settings, run_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Clock(NamedTuple):
    """Start and duration of training in milliseconds, from which the time of any step follows."""

    start: int
    duration: int
    steps: int

    def at(self, step: int) -> int:
        """Milliseconds since 1970 at which this step was done, had all steps taken equally long."""
        return self.start + self.duration * step // self.steps


def ensure_run(client: MlflowClient, cell: Cell, card: Card) -> str:
    """Return the id of the run that trained a cell's model, made again when this database lost it.

    A run made again says what the card does: params.yaml may have been edited since training.
    """
    reference: dict[str, Any] = read_json(cell.run) if cell.run.is_file() else {}
    if reference.get("run_id") and runs.find_run(client, reference["run_id"]):
        return str(reference["run_id"])
    experiment_id = runs.find_experiment(client, cell)
    wanted = f"tags.restored = 'true' and tags.weights_sha256 = '{card.weights_sha256}'"
    for run in client.search_runs([experiment_id], filter_string=wanted):
        return str(run.info.run_id)
    settings = Settings.of_card(card)
    tags = run_tags(cell, settings, data_digest=card.data_digest, code_digest=card.code_digest)
    tags |= {"restored": "true", "weights_sha256": card.weights_sha256}
    return runs.create_run(client, cell, settings, experiment_id, tags, start=_read_clock(cell).start)


def complete_run(client: MlflowClient, run_id: str, cell: Cell, metrics: Mapping[str, float]) -> None:
    """Add what a run lacks: points, previews, card, results, the digest of its weights, its status."""
    clock = _read_clock(cell)
    run = client.get_run(run_id)
    ending = runs.ending_of(read_card(cell.model))
    runs.set_tags(client, run_id, ending.tags)
    _complete_points(client, run_id, cell, clock)
    _complete_pictures(client, run_id, cell, clock)
    timing = read_json(cell.training)
    finals = {name: timing[name] for name in ("seconds", "images_per_second")}
    # Floors and ceilings belong to the data set, not to the run, and each would get a chart.
    finals |= {name: value for name, value in metrics.items() if not is_of_reference(name)}
    runs.log_final(client, run_id, finals)
    if run.info.status != ending.status:
        client.set_terminated(run_id, ending.status, end_time=clock.at(clock.steps))


def _complete_points(client: MlflowClient, run_id: str, cell: Cell, clock: Clock) -> None:
    rows = read_rows(cell)
    names = dict.fromkeys(name for row in rows for name in row if name != "step")
    known = {name: runs.logged_steps(client, run_id, runs.point_name(name)) for name in names}
    points = [
        (runs.point_name(name), value, clock.at(int(row["step"])), int(row["step"]))
        for row in rows
        for name, value in row.items()
        if name != "step" and int(row["step"]) not in known[name]
    ]
    runs.log_points(client, run_id, points)


def _complete_pictures(client: MlflowClient, run_id: str, cell: Cell, clock: Clock) -> None:
    from PIL import Image

    previews = sorted((cell.model / "previews").glob("*.png"))
    known = runs.logged_image_steps(client, run_id)
    for path in previews:
        step = int(path.stem)
        if step not in known:
            with Image.open(path, formats=("PNG",)) as image:
                picture = runs.enlarge(image)
            name = f"{runs.PICTURES}/samples"
            client.log_image(run_id, picture, key=name, step=step, timestamp=clock.at(step))
    present = {artifact.path for artifact in client.list_artifacts(run_id)}
    for path in (cell.model / CARD, cell.history):
        if path.name not in present:
            client.log_artifact(run_id, str(path))
    if previews and "samples.png" not in present:
        with Image.open(previews[-1], formats=("PNG",)) as image:
            client.log_image(run_id, runs.enlarge(image), artifact_file="samples.png")


def _read_clock(cell: Cell) -> Clock:
    try:
        timing = read_json(cell.training)
        start = datetime.fromisoformat(timing["started"]).timestamp()
        steps = read_card(cell.model).diverged_at or int(timing["steps"])  # those that the seconds went into
        return Clock(int(start * 1000), int(timing["seconds"] * 1000), steps)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{cell.training}: can't be read ({error!r}); run 'dvc repro train@{cell.key}'"
        ) from error
