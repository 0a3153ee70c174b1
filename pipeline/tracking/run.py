"""Owns a cell's run in MLflow: creating and finding it, logging points and images, closing it.

A run is made by training (pipeline.tracking.live), or from a cell's files (pipeline.tracking.restore).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlencode

from gan.card import Card
from pipeline.stage import Cell
from pipeline.tracking.database import load_mlflow, sqlite_path, tracking_uri, without_password
from pipeline.tracking.lineage import Settings, describe_divergence, run_params
from pipeline.tracking.relocation import artifact_location

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

Status = Literal["FINISHED", "FAILED", "KILLED"]

UI = "http://127.0.0.1:5000"  # where `make ui` serves the checkout's database
PICTURES = "generated"  # sections are sorted by name: this one comes before loss, results after it
METRICS_PER_BATCH = 1000  # MLflow's limit
PARAMS_PER_BATCH = 100  # MLflow's limit
DIGEST_LENGTH = 12  # of a data set, to fit a column; MLflow refuses more than 36


def experiment_name(cell: Cell) -> str:
    """Name of the experiment: one per data set, since only scores on one data set compare."""
    return f"gantry/{cell.dataset}"


def find_experiment(client: MlflowClient, cell: Cell) -> str:
    """Return the id of the data set's experiment, creating it if necessary."""
    name = experiment_name(cell)
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    tags = {
        # Without it the interface opens on traces and judges of language models.
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": f"Generative adversarial networks on `{cell.dataset}`, a run for each cell.",
    }
    database = sqlite_path(tracking_uri())
    location = artifact_location(database, name) if database else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    except load_mlflow().MlflowException:
        made = client.get_experiment_by_name(name)  # another process has just created it
        if made is None:
            raise
        return str(made.experiment_id)


def runs_url(experiment_id: str, run_id: str | None = None, *, best_first: str | None = None) -> str:
    """Link to a run, or to an experiment with the lowest value of a metric first.

    It opens the view for training, not the one for language models.
    """
    uri = tracking_uri()
    host = uri.rstrip("/") if uri.startswith(("http://", "https://")) else UI
    path = f"runs/{run_id}" if run_id else "runs"
    order = {"orderByKey": f"metrics.`{best_first}`", "orderByAsc": "true"} if best_first else {}
    query = urlencode({"workflowType": "machine_learning"} | order)
    return f"{without_password(host)}/#/experiments/{experiment_id}/{path}?{query}"


class Ending(NamedTuple):
    """Name and tags of a run that has a model."""

    status: Status
    tags: dict[str, str]


def ending_of(card: Card) -> Ending:
    """FINISHED, or FAILED for a run that diverged, with the tags by which either is found."""
    tags = {"status": card.status, "weights_sha256": card.weights_sha256}
    if card.device:
        tags["device"] = card.device
    if card.diverged_at is None:
        return Ending("FINISHED", tags)
    note = {"mlflow.note.content": describe_divergence(card)}
    return Ending("FAILED", tags | note | {"diverged_at": str(card.diverged_at)})


def create_run(
    client: MlflowClient,
    cell: Cell,
    settings: Settings,
    experiment_id: str,
    tags: Mapping[str, str],
    start: int | None = None,
) -> str:
    """Create a run with its tags, parameters and data set. start: milliseconds since 1970."""
    from mlflow import entities

    created = client.create_run(experiment_id, start_time=start, run_name=cell.key, tags=dict(tags))
    run_id: str = created.info.run_id
    pairs = [entities.Param(name, value) for name, value in run_params(settings).items()]
    for begin in range(0, len(pairs), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=pairs[begin : begin + PARAMS_PER_BATCH])
    dataset = entities.Dataset(
        name=cell.dataset,
        digest=tags["data.digest"][:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": cell.store.as_posix()}),
    )
    context = entities.InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, datasets=[entities.DatasetInput(dataset, [context])])
    return run_id


def find_run(client: MlflowClient, run_id: str) -> Any | None:
    """Return MLflow's run, None when this database doesn't have it."""
    mlflow = load_mlflow()
    try:
        found = client.get_run(run_id)
    except mlflow.MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def logged_steps(client: MlflowClient, run_id: str, key: str) -> set[int]:
    """Steps at which a run has a value of this metric."""
    return {point.step for point in client.get_metric_history(run_id, key)}


def logged_image_steps(client: MlflowClient, run_id: str) -> set[int]:
    """Steps at which a run has an image; MLflow keeps them in the names of the files."""
    names = [artifact.path for artifact in client.list_artifacts(run_id, "images")]
    return {int(found[1]) for name in names if (found := re.search(r"[+%]step[+%](\d+)[+%]", name))}


def enlarge(image: Image, side: int = 448) -> Image:
    """Repeat pixels until the image is wide enough to be looked at in a browser."""
    scale = -(-side // image.width)
    return image if scale == 1 else image.resize((image.width * scale, image.height * scale), 0)


def point_name(column: str) -> str:
    """Name under which MLflow shows a column of the history; what stands before "/" is its section."""
    return column if "/" in column else f"progress/{column}"


def log_points(client: MlflowClient, run_id: str, points: list[tuple[str, float, int, int]]) -> None:
    """Log (key, value, milliseconds, step) in batches; values that aren't finite are left out.

    MLflow stores infinity as 1.8e308, which a plot takes for a number.
    """
    from mlflow.entities import Metric

    metrics = [Metric(*point) for point in points if abs(point[1]) < float("inf")]
    for begin in range(0, len(metrics), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[begin : begin + METRICS_PER_BATCH])


def set_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set a run's tags in one call."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def log_final(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    """Log results under `results/`, those that the run doesn't have already."""
    known = client.get_run(run_id).data.metrics
    now = milliseconds()
    named = {f"results/{name}": float(value) for name, value in metrics.items()}
    log_points(client, run_id, [(k, v, now, 0) for k, v in named.items() if known.get(k) != v])


def milliseconds() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return time.time_ns() // 1_000_000
