"""Owns the loop around the steps of a run: its images, logging, previews and checkpoints."""

import logging
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from gan import distributed
from gan.contract import Scalars
from gan.data.batches import endless_batches
from gan.data.image_store import ImageStore
from gan.errors import ConfigError, TrainingDiverged
from gan.generator import SNAPSHOTS, save_snapshot
from gan.sampling import image_grid
from gan.training import (
    TrainState,
    evenly_spaced_steps,
    has_finite_weights,
    held_out_scalars,
    preview,
    read_scalars,
    training_steps,
)
from pipeline.stage import Cell
from pipeline.tracking.live import Run
from pipeline.training.checkpoints import TrainingRecord, save
from pipeline.training.interruption import Stop

STOPPED = "%s: stopped and saved at step %s; the same command goes on from there"


def train(
    state: TrainState,
    record: TrainingRecord,
    cell: Cell,
    store: ImageStore,
    folder: Path,
    stop: Stop,
    checkpoint_seconds: float,
    log: Run | None,
) -> None:
    """Train to the end, and on the way read scalars, draw previews and save; a signal ends it after a save.

    folder: of the checkpoints. log: of the first process; None in the others, which do nothing but train.
    Raises TrainingDiverged unless the recipe has it recorded.
    """
    rows = evenly_spaced_steps(state.params.log_points, state.steps)
    pictures = evenly_spaced_steps(state.params.previews, state.steps)
    held = state.params.resident_data and state.device.type == "cuda"
    batches = batches_of(store, state, state.batches_seen, resident=held)
    held_out = held_out_batches(cell, state, start=len(record.history))
    began = saved = time.monotonic()
    before = record.seconds

    def draw() -> None:
        images = preview(state)
        if state.variant.on_divergence == "record" and not has_finite_weights(state):
            return
        record.previews[state.step] = images
        # Beside the checkpoints and not in them, which are written every few seconds.
        save_snapshot(folder / SNAPSHOTS, state.averaged.state_dict(), state.step)
        record.snapshot_seconds[state.step] = round(record.seconds, 2)
        if log:
            log.log_image("samples", image_grid(record.previews[state.step], scale=2), state.step)

    if state.step == 0:
        keep_finite(state, record)
        if log:
            draw()
    for scalars in training_steps(state, batches):
        if state.step in rows:
            if held_out:
                scalars |= held_out_scalars(state, next(held_out))
            values = take_row(state, record, scalars)
            if log:
                log.log_scalars(state.step, values)
        record.seconds = before + time.monotonic() - began
        if log and state.step in pictures and record.diverged_at is None:
            draw()
        # All processes must stop at the same step, or some would wait for the others.
        stopping = distributed.any_process(stop.signal != 0)
        if log and (stopping or time.monotonic() - saved > checkpoint_seconds):
            save(folder, state, record)
            saved = time.monotonic()
        if stopping:
            stop.signal = stop.signal or signal.SIGTERM
            if log:
                logging.info(STOPPED, cell.key, state.step)
            return
        if record.diverged_at is not None:
            return


def take_row(state: TrainState, record: TrainingRecord, scalars: Scalars) -> dict[str, float]:
    """Read a step's scalars into the history and return those that are finite.

    Where they, or the weights, no longer are and the recipe has that recorded, the run is marked as
    diverged and its generators are those of the last row again. Raises TrainingDiverged elsewhere.
    """
    seen = {"images_seen": float(state.images_seen)}
    try:
        values = read_scalars(scalars, state.step)
        if state.variant.on_divergence == "record" and not has_finite_weights(state):
            raise TrainingDiverged(f"weights aren't finite at step {state.step}", values)
    except TrainingDiverged as error:
        if state.variant.on_divergence == "stop":
            raise
        values = error.values
        record.diverged_at = state.step
        state.gan.generator.load_state_dict(record.finite["generator"])
        state.averaged.load_state_dict(record.finite["averaged"])
    else:
        keep_finite(state, record)
    record.history.append({"step": state.step, "images_seen": state.images_seen, **values})
    return {name: value for name, value in (seen | values).items() if math.isfinite(value)}


def keep_finite(state: TrainState, record: TrainingRecord) -> None:
    """Keep the generators' weights if divergence is to be recorded."""
    if state.variant.on_divergence == "record":
        record.finite = {
            "generator": {n: t.clone() for n, t in state.gan.generator.state_dict().items()},
            "averaged": {n: t.clone() for n, t in state.averaged.state_dict().items()},
        }


def batches_of(
    store: ImageStore, state: TrainState, start: int, *, resident: bool = False
) -> Iterator[Tensor]:
    """This process's share of each of a split's batches, from batch `start` on; see `endless_batches`."""
    return endless_batches(
        store,
        state.variant.batch_size,
        seed=state.seed,
        start=start,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        device=state.device,
        resident=resident,
    )


def held_out_batches(cell: Cell, state: TrainState, start: int) -> Iterator[Tensor] | None:
    """Batches of held-out images; None if there aren't enough for one.

    They are those of the validation split. A data set without one has nothing selected on it, so that its
    test images may be looked at: no recipe, step or checkpoint is chosen by these curves.
    """
    for split in ("validation", "test"):
        try:
            return batches_of(ImageStore(cell.store, split), state, start)
        except ConfigError:
            continue
    return None
