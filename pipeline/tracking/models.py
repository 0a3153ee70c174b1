"""Owns the registry of models: a version is hashed weights, a card and serving code, never a pickle.

Equal weights are one version, however often and from wherever they are registered. Reading takes the
weights and the card only: code that lies in a registry is never run here.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gan
from gan.card import CARD, Card, read_card, read_weights
from gan.errors import ConfigError, DataError
from gan.metrics.features import METRICS
from pipeline.tracking.database import find_experiment, load_mlflow, sqlite_path, tracking_uri, waiting_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.stage import Cell

WEIGHTS = "generator.safetensors"
CHAMPION = "champion"
# The newest version that was registered here. MLflow's own alias of this name also counts those that
# people registered by hand, which have neither card nor digest.
LATEST = "latest"
SERVING = Path(__file__).with_name("serving.py")
# What gan/generator.py imports, and MLflow itself; the versions are those that registered the model.
REQUIREMENTS = ("mlflow", "torch", "torchvision", "numpy", "pillow", "pydantic", "safetensors")
SUFFIXES = ("_raw", "_floor", "_ceiling")
# A whole name as `gan.metrics.features.metric_name` makes it: people set tags too, such as `is_approved`.
METRIC_TAG = re.compile(rf"({'|'.join(METRICS)})_[a-z0-9]+_[0-9]+k?_(train|validation|test)")


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as its tags describe it."""

    model: str
    version: int
    aliases: list[str]
    key: str
    weights_sha256: str
    metrics: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def publish(
    client: MlflowClient, cell: Cell, run_id: str, metrics: Mapping[str, float], description: str
) -> Version:
    """Register a cell's model as a version of `<dataset>-<variant>`.

    A version with these weights that is there already is used again, and its files are uploaded again
    where they can't be read any more. Interrupted anywhere, the same call completes it.
    Raises DataError when the weights aren't those of the card.
    """
    card = read_card(cell.model)
    read_weights(cell.model, card)
    with _one_registrar():
        found = _find_version(client, cell.model_name, card.weights_sha256)
        model_id = _model_id(found) if found else _find_logged_model(client, cell, card)
        if model_id and not _is_readable(client, model_id, cell):
            _upload(client, cell, client.get_logged_model(model_id), run_id)
        if found is None:
            model_id = model_id or _log_model(client, cell, card, run_id)
            tags = _version_tags(card, metrics)
            text = f"{description}\n{metrics_table(metrics)}"
            found = _add_version(client, cell.model_name, model_id, run_id, tags, text)
    return find_model(client, cell.model_name, str(found.version))


def crown(client: MlflowClient, dataset: str, best: Version) -> Version:
    """Make a version champion of its data set: the model `<dataset>` gets it, with the alias."""
    with _one_registrar():
        found = _find_version(client, dataset, best.weights_sha256)
        if found is None:
            source: Any = client.get_model_version(best.model, str(best.version))
            found = _add_version(
                client, dataset, _model_id(source), source.run_id, source.tags, source.description
            )
        client.set_registered_model_alias(dataset, CHAMPION, str(found.version))
    return find_model(client, dataset, str(found.version))


def list_models(client: MlflowClient) -> list[Version]:
    """Every version of every registered model, by name, newest first."""
    names = sorted(model.name for model in _pages(client.search_registered_models))
    return [version for name in names for version in list_versions(client, name)]


def list_versions(client: MlflowClient, name: str) -> list[Version]:
    """Versions of one model, newest first; none when there is no such model."""
    mlflow = load_mlflow()
    try:
        aliases = client.get_registered_model(name).aliases
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return []
    found = client.search_model_versions(f"name = '{name}'")
    ours = (str(version.version) for version in found if "weights_sha256" in version.tags)
    newest = max(ours, key=int, default="")
    versions = [_describe(version, aliases | {LATEST: newest}) for version in found]
    return sorted(versions, key=lambda version: -version.version)


def find_model(client: MlflowClient, name: str, reference: str) -> Version:
    """Look up a version by number, alias or `latest`. Raises ConfigError saying what there is instead."""
    for version in list_versions(client, name):
        if reference in (str(version.version), *version.aliases):
            return version
    raise ConfigError(f"no model {name}@{reference}; {_what_there_is(client)}")


def find_version_of(client: MlflowClient, name: str, weights_sha256: str) -> Version:
    """Look up the version with these weights. Raises DataError when there is none."""
    found = _find_version(client, name, weights_sha256)
    if found is None:
        raise DataError(f"{name}: weights {weights_sha256} aren't registered; run 'gantry sync'")
    return find_model(client, name, str(found.version))


def download(client: MlflowClient, version: Version, folder: Path) -> Path:
    """Fetch card and weights of a version into a folder and check their digest. Returns the folder.

    Two files of fixed names and nothing else: neither a path nor code of the registry is used.
    Raises DataError when a file is missing or isn't the one that was registered, and for a version that
    somebody registered by other means.
    """
    if not version.weights_sha256:
        raise DataError(
            f"{version.model} version {version.version}: not registered by 'gantry', so nothing vouches for "
            f"its files; use {version.model}@{LATEST}"
        )
    mlflow = load_mlflow()
    source = client.get_model_version_download_uri(version.model, str(version.version))
    for name in (CARD, WEIGHTS):
        try:
            mlflow.artifacts.download_artifacts(f"{source}/artifacts/{name}", dst_path=str(folder))
        except (mlflow.MlflowException, OSError) as error:
            raise DataError(
                f"{version.model} version {version.version}: {name} can't be read: {error}"
            ) from error
    card = read_card(folder)
    if card.weights_sha256 != version.weights_sha256:
        raise DataError(
            f"{version.model} version {version.version}: registered with weights {version.weights_sha256}, "
            f"its card says {card.weights_sha256}; don't use it"
        )
    read_weights(folder, card)
    return folder


def metrics_table(metrics: Mapping[str, float]) -> str:
    """Write metrics as an indented block, which Markdown shows in fixed columns: MLflow crowds its tables."""
    header = f"    {'':28}{'averaged':>10}{'raw':>10}{'floor':>10}{'ceiling':>10}"
    lines = []
    for name in plain_metrics(metrics):
        values = [metrics.get(f"{name}{suffix}") for suffix in ("", *SUFFIXES)]
        lines.append(f"    {name:28}" + "".join(f"{'' if v is None else f'{v:.4g}':>10}" for v in values))
    return "\n".join([header, *lines, ""])


def plain_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Scores of the averaged generator alone."""
    return {name: value for name, value in sorted(metrics.items()) if not name.endswith(SUFFIXES)}


# ---- inside


@contextmanager
def _one_registrar() -> Iterator[None]:
    """Let one process at a time search and add, where the database is a file; a server has no lock."""
    database = sqlite_path(tracking_uri())
    with waiting_lock(database.with_name(f"{database.name}.lock")) if database else nullcontext():
        yield


def _find_version(client: MlflowClient, name: str, weights_sha256: str) -> Any | None:
    wanted = f"name = '{name}' and tag.weights_sha256 = '{weights_sha256}'"
    found = client.search_model_versions(wanted)
    return min(found, key=lambda version: int(version.version), default=None)


def _find_logged_model(client: MlflowClient, cell: Cell, card: Card) -> str | None:
    """Find a model that was uploaded whole and, the process being killed, never registered."""
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
    """Upload a model's files to a logged model; what is there under the same names is replaced."""
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


def _model_id(version: Any) -> str:
    return str(version.source).removeprefix("models:/")


def _score_logged_model(client: MlflowClient, model_id: str, run_id: str) -> None:
    """Show the run's scores beside the model too. Being the run's own points, they add none to it."""
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
    # MLflow writes down where the code lay; a temporary name tells nothing about this machine.
    code = shutil.copy(SERVING, staging.parent)
    mlflow.pyfunc.save_model(
        path=staging,
        mlflow_model=Model(artifact_path=created.artifact_location, run_id=run_id, model_id=created.model_id),
        python_model=str(code),
        code_paths=[str(Path(gan.__file__).parent)],
        artifacts={"card": str(folder / CARD), "generator": str(folder / WEIGHTS)},
        signature=signature,
        input_example=({"n": [4]}, {"seed": 0}),
        pip_requirements=[f"{name}=={_public_version(name)}" for name in REQUIREMENTS],
    )


def _public_version(name: str) -> str:
    """Version without the local part, by which builds for other devices differ."""
    return importlib.metadata.version(name).split("+")[0]


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


def _describe(found: Any, aliases: Mapping[str, str]) -> Version:
    return Version(
        model=found.name,
        version=int(found.version),
        aliases=sorted(alias for alias, number in aliases.items() if str(number) == str(found.version)),
        key=found.tags.get("key", ""),
        weights_sha256=found.tags.get("weights_sha256", ""),
        metrics=_metrics_of(found.tags),
    )


def _metrics_of(tags: Mapping[str, str]) -> dict[str, float]:
    """Scores among a version's tags; one that somebody overwrote with text is left out."""
    metrics = {}
    for name, text in sorted(tags.items()):
        if METRIC_TAG.fullmatch(name):
            with suppress(ValueError):
                metrics[name] = float(text)
    return metrics


def _pages(search: Any) -> Iterator[Any]:
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page


def _what_there_is(client: MlflowClient) -> str:
    known = [
        f"{version.model}@{'|'.join([str(version.version), *version.aliases])}"
        for version in list_models(client)
    ]
    return f"there are {', '.join(known[:20])}" if known else "nothing is registered here; run 'make repro'"
