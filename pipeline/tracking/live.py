"""Owns showing a run while it trains: in MLflow, and as a bar or lines on the terminal."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from gan.card import Card
from pipeline.stage import Cell
from pipeline.tracking import run as runs
from pipeline.tracking.database import connect, reason_of, sqlite_path, tracking_uri, without_password
from pipeline.tracking.lineage import Settings, git_tags, run_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

    from gan.config import Params

FLUSH_SECONDS = 5.0
CLOSE_SECONDS = 5.0  # the longest that the end of a run waits; `register` adds what it cuts off


class Run:
    """A run that receives points during training. Its methods neither raise nor block.

    A thread ships what is logged. The first failure is one line on stderr; from then on nothing is
    logged, and `gantry sync` completes the run from the files.
    """

    def __init__(self, experiment: str) -> None:
        self.experiment = experiment
        self.run_id: str | None = None
        self.url: str | None = None
        self.tick: Callable[[int], object] = lambda step: None  # told the step of each row
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
        run = cls(runs.experiment_name(cell))
        with run.guarded():
            client = connect()
            experiment_id = runs.find_experiment(client, cell)
            if run_id is None or not _reopen(client, experiment_id, run_id):
                _close_stale(client, experiment_id, cell)
                settings = Settings.of_recipe(cell, params)  # there is no card before training ends
                tags = run_tags(cell, settings, data_digest=data_digest, code_digest=code_digest)
                tags |= git_tags() | {"device": device}
                run_id = runs.create_run(client, cell, settings, experiment_id, tags)
            run._attach(client, experiment_id, run_id)
        return run

    @property
    def reference(self) -> dict[str, str | None]:
        """Content of build/runs: the ids by which this run is found again."""
        return {"run_id": self.run_id, "experiment": self.experiment}

    def _attach(self, client: MlflowClient, experiment_id: str, run_id: str) -> None:
        """Start shipping to this run, from its last step on."""
        keys = [key for key in client.get_run(run_id).data.metrics if not key.startswith("results/")]
        if keys:
            self._last_step = max(runs.logged_steps(client, run_id, keys[0]))
            self._image_steps = runs.logged_image_steps(client, run_id)
        self._client, self.run_id, self.url = client, run_id, runs.runs_url(experiment_id, run_id)
        self._thread.start()

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log values at a generator step, unless an earlier process has logged it."""
        self.tick(step)
        if step <= self._last_step:
            return
        now = runs.milliseconds()
        self._points += [(runs.point_name(name), value, now, step) for name, value in scalars.items()]
        full = len(self._points) + len(scalars) > runs.METRICS_PER_BATCH
        if full or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def log_image(self, key: str, image: Image, step: int) -> None:
        """Log an image under a key; the run's page shows a slider over its steps."""
        if step not in self._image_steps:
            picture, name = runs.enlarge(image), f"{runs.PICTURES}/{key}"
            self._do(lambda client, run: client.log_image(run, picture, key=name, step=step))

    def finish(
        self,
        status: runs.Status = "FINISHED",
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log final values under `results/`, ship what is left and close the run, within CLOSE_SECONDS."""
        self._flush()
        self._do(lambda client, run: runs.log_final(client, run, metrics or {}))
        self._do(lambda client, run: runs.set_tags(client, run, tags or {}))
        self._do(lambda client, run: client.set_terminated(run, status))
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                self._warn("it didn't answer in time")

    def complete(self, card: Card) -> None:
        """Close the run as the card of its model says: FINISHED, or FAILED with the tag status=diverged."""
        ending = runs.ending_of(card)
        self.finish(ending.status, tags=ending.tags)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn any failure of MLflow into one warning, after which nothing more is logged."""
        try:
            yield
        except Exception as error:
            self._warn(reason_of(error))

    def _flush(self) -> None:
        points, self._points, self._flushed = self._points, [], time.monotonic()
        self._do(lambda client, run: runs.log_points(client, run, points))

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
            reason = without_password(reason)[:200]
            message = f"warning: MLflow failed, training goes on: {reason}; `gantry sync` fills the gap"
            print(message, file=sys.stderr)


@contextmanager
def watched(run: Run, key: str, step: int, steps: int) -> Iterator[Run]:
    """Show a bar on a terminal, and lines elsewhere, such as in the log that `make repro` follows."""
    if run.url:
        logging.info("MLflow: %s", run.url)
    if not sys.stderr.isatty():
        run.tick = lambda step: print(f"step {step}/{steps}", file=sys.stderr, flush=True)
        yield run
        return
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(key, total=steps, completed=step)
        run.tick = lambda step: progress.update(task, completed=step)
        yield run


def _reopen(client: MlflowClient, experiment_id: str, run_id: str) -> bool:
    found = runs.find_run(client, run_id)
    if found is None or found.info.experiment_id != experiment_id:
        return False
    client.update_run(run_id, status="RUNNING")
    return True


def _close_stale(client: MlflowClient, experiment_id: str, cell: Cell) -> None:
    """Close runs that a killed process left open: only one process trains a cell at a time."""
    if sqlite_path(tracking_uri()) is None:
        return  # somebody else may be training the same cell against this server
    stale = f"attributes.run_name = '{cell.key}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment_id], filter_string=stale):
        client.set_terminated(run.info.run_id, "KILLED")
