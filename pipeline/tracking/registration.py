"""Owns registering scored cells: a version has hashed weights, a card and serving code.

Equal weights are one version, however often and from wherever they are registered. Nothing is pickled.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gan
from gan.card import CARD, Card, read_card, read_weights
from gan.errors import DataError
from gan.files import read_json
from gan.versions import public_version
from pipeline.stage import Cell
from pipeline.tracking.database import load_mlflow, sqlite_path, tracking_uri, waiting_lock
from pipeline.tracking.lineage import Settings, describe_run
from pipeline.tracking.models import (
    WEIGHTS,
    Version,
    find_model,
    find_version,
    metrics_table,
    plain_metrics,
)
from pipeline.tracking.restore import complete_run, ensure_run
from pipeline.tracking.run import find_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
SERVING = Path(__file__).with_name("serving.py")
# What gan/generator.py imports, and MLflow itself; the versions are those that registered the model.
REQUIREMENTS = ("mlflow", "torch", "torchvision", "numpy", "pillow", "pydantic", "safetensors")


def register_cell(client: MlflowClient, cell: Cell) -> Version | None:
    """Complete a cell's run, or make it again, and register its model. A second call adds nothing.

    All of it comes from the model's card and files, so params.yaml may have been edited since training.
    A diverged run is completed too; it has no model that anyone should use, so None is registered.
    Raises DataError before anything is written when the weights aren't those of the card.
    """
    card = read_card(cell.model)
    read_weights(cell.model, card)
    metrics = read_metrics(cell)
    run_id = ensure_run(client, cell, card)
    complete_run(client, run_id, cell, metrics)
    if card.status == "diverged":
        return None
    return register_model(client, cell, card, run_id, metrics)


def read_metrics(cell: Cell) -> dict[str, float]:
    """Read a cell's scores. Raises DataError when there are none."""
    try:
        return {str(name): float(value) for name, value in read_json(cell.metrics).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{cell.metrics}: no scores ({error}); run 'dvc repro evaluate@{cell.key}'"
        ) from error


def register_model(
    client: MlflowClient, cell: Cell, card: Card, run_id: str, metrics: Mapping[str, float]
) -> Version:
    """Register a cell's model as a version of `<dataset>-<variant>`.

    A version with these weights that is there already is used again, and its files are uploaded again
    where they can't be read any more. Interrupted anywhere, the same call completes it.
    """
    with _one_registrar():
        found = find_version(client, cell.model_name, card.weights_sha256)
        model_id = _model_id(found) if found else _find_logged_model(client, cell, card)
        if model_id and not _is_readable(client, model_id, cell):
            _upload(client, cell, client.get_logged_model(model_id), run_id)
        if found is None:
            model_id = model_id or _log_model(client, cell, card, run_id)
            tags = _version_tags(card, metrics)
            text = f"{describe_run(cell, Settings.of_card(card))}\n{metrics_table(metrics)}"
            found = _add_version(client, cell.model_name, model_id, run_id, tags, text)
    return find_model(client, cell.model_name, str(found.version))


def crown(client: MlflowClient, dataset: str, best: Version) -> Version:
    """Make a version the champion of its data set: add it to model `<dataset>` with the alias."""
    with _one_registrar():
        found = find_version(client, dataset, best.weights_sha256)
        if found is None:
            source: Any = client.get_model_version(best.model, str(best.version))
            found = _add_version(
                client, dataset, _model_id(source), source.run_id, source.tags, source.description
            )
        client.set_registered_model_alias(dataset, CHAMPION, str(found.version))
    return find_model(client, dataset, str(found.version))


@contextmanager
def _one_registrar() -> Iterator[None]:
    """Let one process at a time search and add if the database is a file; a server has no lock."""
    database = sqlite_path(tracking_uri())
    with waiting_lock(database.with_name(f"{database.name}.lock")) if database else nullcontext():
        yield


def _find_logged_model(client: MlflowClient, cell: Cell, card: Card) -> str | None:
    """Find a model that was uploaded completely but not registered, because the process was killed."""
    wanted = f"tags.weights_sha256 = '{card.weights_sha256}'"
    found = client.search_logged_models([find_experiment(client, cell)], filter_string=wanted)
    return next((model.model_id for model in found if model.status == "READY"), None)


def _log_model(client: MlflowClient, cell: Cell, card: Card, run_id: str) -> str:
    """Upload weights, card and serving code to the run's experiment; the run's page lists the model."""
    from mlflow.entities import LoggedModelOutput

    created = client.create_logged_model(
        find_experiment(client, cell),
        name=cell.key,
        source_run_id=run_id,
        tags={"weights_sha256": card.weights_sha256, "key": cell.key},
    )
    _upload(client, cell, created, run_id)
    client.finalize_logged_model(created.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(created.model_id, step=card.steps)])
    _score_logged_model(client, created.model_id, run_id)
    return str(created.model_id)


def _upload(client: MlflowClient, cell: Cell, logged: Any, run_id: str) -> None:
    """Upload a model's files to a logged model, replacing files of the same names."""
    with tempfile.TemporaryDirectory(prefix="gantry-") as temporary:
        staging = Path(temporary) / "model"
        _save_pyfunc(cell.model, staging, logged, run_id)
        client.log_model_artifacts(logged.model_id, str(staging))


def _is_readable(client: MlflowClient, model_id: str, cell: Cell) -> bool:
    """Whether a logged model has its card, and weights as large as the cell's.

    A database outlives the files beside it: a checkout may be moved, and `mlartifacts` deleted. Names and
    sizes are one small request; `download` compares digests.
    """
    mlflow = load_mlflow()
    try:
        listed = client.list_logged_model_artifacts(model_id, "artifacts")
    except (mlflow.MlflowException, OSError):
        return False
    sizes = {Path(file.path).name: file.file_size for file in listed}
    return CARD in sizes and sizes.get(WEIGHTS) == (cell.model / WEIGHTS).stat().st_size


def _score_logged_model(client: MlflowClient, model_id: str, run_id: str) -> None:
    """Show the run's scores beside the model too; they are the run's own points and add none to it."""
    from mlflow.entities import Metric

    finals = [key for key in client.get_run(run_id).data.metrics if key.startswith("results/")]
    last = [client.get_metric_history(run_id, key)[-1] for key in finals]
    points = [Metric(p.key, p.value, p.timestamp, p.step, model_id=model_id, run_id=run_id) for p in last]
    client.log_batch(run_id, metrics=points)


def _save_pyfunc(folder: Path, staging: Path, created: Any, run_id: str) -> None:
    mlflow = load_mlflow()
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.long, "n")]),
        outputs=Schema([TensorSpec(np.dtype("uint8"), (-1, *read_card(folder).image))]),
        params=ParamSchema([ParamSpec("seed", DataType.long, 0)]),
    )
    # MLflow records the code's path; a temporary one reveals nothing about this machine.
    code = shutil.copy(SERVING, staging.parent)
    # DVC may keep a model as links into its cache, and MLflow refuses a link that leaves its folder.
    artifacts = {Path(name).stem: shutil.copy(folder / name, staging.parent) for name in (CARD, WEIGHTS)}
    mlflow.pyfunc.save_model(
        path=staging,
        mlflow_model=Model(artifact_path=created.artifact_location, run_id=run_id, model_id=created.model_id),
        python_model=str(code),
        code_paths=[str(Path(gan.__file__).parent)],
        artifacts=artifacts,
        signature=signature,
        input_example=({"n": [4]}, {"seed": 0}),
        pip_requirements=[f"{name}=={public_version(name)}" for name in REQUIREMENTS],
    )


def _add_version(
    client: MlflowClient, name: str, model_id: str, run_id: str, tags: Mapping[str, str], description: str
) -> Any:
    mlflow = load_mlflow()
    try:
        client.create_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        tags=dict(tags),
        description=description,
        model_id=model_id,
    )


def _version_tags(card: Card, metrics: Mapping[str, float]) -> dict[str, str]:
    identity = {"weights_sha256": card.weights_sha256, "key": card.key, "seed": str(card.seed)}
    return identity | {name: repr(float(value)) for name, value in plain_metrics(metrics).items()}


def _model_id(version: Any) -> str:
    return str(version.source).removeprefix("models:/")
