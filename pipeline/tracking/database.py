"""Owns MLflow's runs: where they are kept, what a run says about itself, and how an outage stays harmless.

MLflow is a projection of what DVC keeps: a run may be lost or incomplete and be written again by
`gantry sync`. So nothing here ever raises into training once a run is asked for, and a call never waits
for a server: points are shipped by a thread. Importing this module costs nothing; MLflow is imported
by `load_mlflow`, and only there.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import queue
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlencode

from gan.card import Card
from gan.errors import ConfigError
from gan.files import write_bytes
from pipeline.stage import Cell
from pipeline.tracking.lineage import Settings, describe_divergence, git_tags, run_params, run_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

    from gan.config import Params

Status = Literal["FINISHED", "FAILED", "KILLED"]

# MLflow reads its environment when it is imported. Its own defaults wait 247 s for a dead server.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what fails is raised too, and said once
}
UI = "http://127.0.0.1:5000"  # where `make ui` serves the checkout's database
PICTURES = "generated"  # sections are sorted by name: this one stands before loss, results after it
METRICS_PER_BATCH = 1000  # MLflow's limit
PARAMS_PER_BATCH = 100  # MLflow's limit
FLUSH_SECONDS = 5.0
CLOSE_SECONDS = 5.0  # the longest that the end of a run waits; `register` adds what it cuts off
DIGEST_LENGTH = 12  # of a data set, to fit a column; MLflow refuses more than 36


def load_mlflow() -> ModuleType:
    """Import MLflow with telemetry off, pickles refused and waits bounded. Takes about 3 s once."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


def connect() -> MlflowClient:
    """Open the tracking database and registry; the checkout's own is created on first use."""
    uri = tracking_uri()
    prepare_database(uri)
    mlflow = load_mlflow()
    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, and it would outlive this checkout
    client: MlflowClient = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    return client


@contextmanager
def mlflow_session(*, create: bool = True) -> Iterator[MlflowClient]:
    """Open MLflow for work that fails without it. Raises ConnectionError where MLflow fails.

    With `create=False` a database that isn't there is a ConfigError, for those who only read.
    """
    uri = tracking_uri()
    database = sqlite_path(uri)
    if not create and database is not None and not database.is_file():
        raise ConfigError(f"{database}: no MLflow database; run 'make repro', or set MLFLOW_TRACKING_URI")
    mlflow = load_mlflow()
    try:
        yield connect()
    except mlflow.MlflowException as error:
        reason = _without_password(_reason_of(error))
        raise ConnectionError(f"MLflow at {_without_password(uri)} failed: {reason}") from error


def _reason_of(error: Exception) -> str:
    """First line of an error that says something, after the headings above it; its type when none does."""
    said = []
    for line in filter(None, map(str.strip, str(error).splitlines())):
        said.append(line)
        if not line.endswith((":", "#")) and any(map(str.isalnum, line)):
            break
    return " ".join(said) or type(error).__name__


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


# ---- where the database lies


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the database of the checkout that we are in.

    Raises ConfigError outside a checkout when the variable isn't set.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    root = checkout_root(Path.cwd())
    if root is None:
        raise ConfigError(
            "no MLflow database is known here; set MLFLOW_TRACKING_URI (such as http://HOST:5000 or "
            "sqlite:////absolute/path/mlflow.db), or run this in a checkout of the project"
        )
    return _sqlite_uri(root / "mlflow.db")


def checkout_root(start: Path) -> Path | None:
    """Root of the main worktree that a folder belongs to; None when it belongs to no checkout.

    Git worktrees and the copies that `dvc exp run --temp` works in answer with the main worktree, since
    what is written into a copy is deleted with it.
    """
    parts = start.resolve().parts
    for index in range(len(parts) - 2):
        if parts[index : index + 3] == (".dvc", "tmp", "exps"):
            return checkout_root(Path(*parts[:index]))
    for folder in (Path(*parts), *Path(*parts).parents):
        if (folder / "dvc.yaml").is_file():
            main = _main_worktree(folder / ".git")
            return main if main and (main / "dvc.yaml").is_file() else folder
    return None


def _main_worktree(marker: Path) -> Path | None:
    """Follow the file `.git` of a linked worktree; None when it isn't one."""
    if not marker.is_file():
        return None
    private = (marker.parent / marker.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
    pointer = private / "commondir"
    if not pointer.is_file():
        return None  # a submodule, which is a checkout of its own
    common = (private / pointer.read_text(encoding="utf-8").strip()).resolve()
    return common.parent if common.name == ".git" else None


def _sqlite_uri(path: Path) -> str:
    """URI of a database file, quoted where SQLAlchemy would read another path otherwise."""
    plain = str(path)
    if "%" not in plain and "?" not in plain:
        return f"sqlite:///{plain}"
    from sqlalchemy.engine import make_url

    # Releases of SQLAlchemy differ in whether they unquote, so take the form that is read back as this path.
    quoted = plain.replace("%", "%25").replace("?", "%3F")
    text = next((form for form in (plain, quoted) if make_url(f"sqlite:///{form}").database == plain), None)
    if text is None:
        raise ConfigError(f"{path}: no SQLite URI names this path; set MLFLOW_TRACKING_URI")
    # Given the driver's name, MLflow doesn't create the folder that the quoted text would name.
    return f"sqlite+pysqlite:///{text}"


def sqlite_path(uri: str) -> Path | None:
    """Absolute path of an SQLite URI's file; None for any other database.

    The URI may be relative to the working directory, name a driver and carry options.
    Raises ConfigError when it can't be parsed.
    """
    if uri.partition(":")[0].partition("+")[0] != "sqlite":
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        database = make_url(uri).database
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            f"MLFLOW_TRACKING_URI={uri}: not a database URI; write sqlite:////absolute/path/mlflow.db"
        ) from error
    # What follows `file:` is parsed by SQLite itself; its database is left alone, like one in memory.
    if not database or database == ":memory:" or database.startswith("file:"):
        return None
    return Path(database).absolute()


def prepare_database(uri: str | None = None) -> None:
    """Create or migrate an SQLite database, once; other databases are their server's business.

    The first time takes about 8 s and two processes at once have crashed each other, hence the lock.
    Afterwards one query and one small file say that there is nothing to do, without importing MLflow.
    """
    uri = tracking_uri() if uri is None else uri
    database = sqlite_path(uri)
    if database is None:
        return
    stamp = database.with_name(f"{database.name}.schema")
    if _schema_stamp(database) == _read_text(stamp) != "":
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with waiting_lock(database.with_name(f"{database.name}.lock")):
        if _schema_stamp(database) == _read_text(stamp) != "":
            return
        _migrate(uri)
        write_bytes(stamp, _schema_stamp(database).encode())


def _migrate(uri: str) -> None:
    """Let MLflow create the tables of a new database, or bring an older one up to date."""
    mlflow = load_mlflow()
    try:
        mlflow.MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except mlflow.MlflowException as error:
        if "out-of-date database schema" not in str(error):
            raise
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
        subprocess.run(command, check=True, capture_output=True)


def _schema_stamp(database: Path) -> str:
    """MLflow's version and the revision of the database's schema; "" when there is no database."""
    if not database.is_file():
        return ""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
            revision = connection.execute("select version_num from alembic_version").fetchone()
    except sqlite3.DatabaseError:
        return ""
    return f"{importlib.metadata.version('mlflow')} {revision[0]}\n" if revision else ""


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a file's lock, waiting for whoever has it; it ends with the process, however that ends."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


# ---- experiments and runs


def experiment_name(cell: Cell) -> str:
    """Runs on one data set stand side by side: only their scores can be compared."""
    return f"gantry/{cell.dataset}"


def find_experiment(client: MlflowClient, cell: Cell) -> str:
    """Return the id of the data set's experiment, made when it isn't there."""
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
    location = (database.parent / "mlartifacts" / name).as_uri() if database else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    except load_mlflow().MlflowException:
        made = client.get_experiment_by_name(name)  # by another process, in between
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
    return f"{_without_password(host)}/#/experiments/{experiment_id}/{path}?{query}"


# ---- how a run ends


class Ending(NamedTuple):
    """How MLflow shows a run that has left a model."""

    status: Status
    tags: dict[str, str]


def ending_of(card: Card) -> Ending:
    """FINISHED, or FAILED for a run that diverged, with the tags by which either is found."""
    tags = {"status": card.status, "weights_sha256": card.weights_sha256}
    if card.diverged_at is None:
        return Ending("FINISHED", tags)
    note = {"mlflow.note.content": describe_divergence(card)}
    return Ending("FAILED", tags | note | {"diverged_at": str(card.diverged_at)})


# ---- an open run


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


def _reopen(client: MlflowClient, experiment_id: str, run_id: str) -> bool:
    found = find_run(client, run_id)
    if found is None or found.info.experiment_id != experiment_id:
        return False
    client.update_run(run_id, status="RUNNING")
    return True


def _close_stale(client: MlflowClient, experiment_id: str, cell: Cell) -> None:
    """Mark the runs that a killed process left open: a cell is trained by one process at a time."""
    if sqlite_path(tracking_uri()) is None:
        return  # somebody else may be training the same cell against this server
    stale = f"attributes.run_name = '{cell.key}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment_id], filter_string=stale):
        client.set_terminated(run.info.run_id, "KILLED")


class Run:
    """A run that takes points while training goes on. Its methods neither raise nor wait.

    A thread ships what is logged. The first failure is one line on stderr; from then on nothing is
    logged, and `gantry sync` completes the run from the files.
    """

    def __init__(self, experiment: str) -> None:
        self.experiment = experiment
        self.run_id: str | None = None
        self.url: str | None = None
        self._client: MlflowClient | None = None
        self._broken = False
        self._points: list[tuple[str, float, int, int]] = []
        self._flushed = time.monotonic()
        self._last_step = 0
        self._image_steps: set[int] = set()
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._ship, name="mlflow", daemon=True)

    @classmethod
    def open(
        cls,
        cell: Cell,
        params: Params,
        *,
        data_digest: str,
        code_digest: str,
        device: str = "cpu",
        run_id: str | None = None,
    ) -> Run:
        """Open the run of a training, or go on with the run of the checkpoint that it resumes.

        Raises ConfigError when nobody said where runs are kept. Any failure of MLflow is one line on
        stderr and a run that logs nothing.
        """
        tracking_uri()
        run = cls(experiment_name(cell))
        with run.guarded():
            client = connect()
            experiment_id = find_experiment(client, cell)
            if run_id is None or not _reopen(client, experiment_id, run_id):
                _close_stale(client, experiment_id, cell)
                settings = Settings.of_recipe(cell, params)  # there is no card before training ends
                tags = run_tags(cell, settings, data_digest=data_digest, code_digest=code_digest)
                tags |= git_tags() | {"device": device}
                run_id = create_run(client, cell, settings, experiment_id, tags)
            run._attach(client, experiment_id, run_id)
        return run

    @property
    def reference(self) -> dict[str, str | None]:
        """What build/runs keeps: where this run is found again."""
        return {"run_id": self.run_id, "experiment": self.experiment}

    def _attach(self, client: MlflowClient, experiment_id: str, run_id: str) -> None:
        """Begin to ship to this run, from the last step that it has."""
        keys = [key for key in client.get_run(run_id).data.metrics if not key.startswith("results/")]
        if keys:
            self._last_step = max(logged_steps(client, run_id, keys[0]))
            self._image_steps = logged_image_steps(client, run_id)
        self._client, self.run_id, self.url = client, run_id, runs_url(experiment_id, run_id)
        self._thread.start()

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log values at a generator step; a step that an earlier process logged is passed over."""
        if step <= self._last_step:
            return
        now = _milliseconds()
        self._points += [(point_name(name), value, now, step) for name, value in scalars.items()]
        full = len(self._points) + len(scalars) > METRICS_PER_BATCH
        if full or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def log_image(self, key: str, image: Image, step: int) -> None:
        """Log an image under a key; the run's page shows a slider over its steps."""
        if step not in self._image_steps:
            picture, name = enlarge(image), f"{PICTURES}/{key}"
            self._do(lambda client, run: client.log_image(run, picture, key=name, step=step))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a small file."""
        self._do(lambda client, run: client.log_artifact(run, str(path), folder))

    def finish(
        self,
        status: Status = "FINISHED",
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log final values under `results/`, ship what is left and close the run, within CLOSE_SECONDS."""
        self._flush()
        self._do(lambda client, run: log_final(client, run, metrics or {}))
        self._do(lambda client, run: set_tags(client, run, tags or {}))
        self._do(lambda client, run: client.set_terminated(run, status))
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                self._warn("it didn't answer in time")

    def complete(self, card: Card) -> None:
        """Close the run as the card of its model says: FINISHED, or FAILED with the tag status=diverged."""
        ending = ending_of(card)
        self.finish(ending.status, tags=ending.tags)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn any failure of MLflow into one warning, after which nothing more is logged."""
        try:
            yield
        except Exception as error:
            self._warn(_reason_of(error))

    def _flush(self) -> None:
        points, self._points, self._flushed = self._points, [], time.monotonic()
        self._do(lambda client, run: log_points(client, run, points))

    def _do(self, job: Callable[[MlflowClient, str], object]) -> None:
        client, run_id = self._client, self.run_id
        if client is not None and run_id is not None and not self._broken:
            self._jobs.put(lambda: job(client, run_id))

    def _ship(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not self._broken:
                with self.guarded():
                    job()

    def _warn(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            reason = _without_password(reason)[:200]
            message = f"warning: MLflow failed, training goes on: {reason}; `gantry sync` fills the gap"
            print(message, file=sys.stderr)


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
    now = _milliseconds()
    named = {f"results/{name}": float(value) for name, value in metrics.items()}
    log_points(client, run_id, [(k, v, now, 0) for k, v in named.items() if known.get(k) != v])


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
