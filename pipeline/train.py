"""Stage `train`: one cell from noise to weights, resumed by itself after any interruption.

Checkpoints lie outside of DVC's outs, which DVC deletes before a stage runs, in a folder named after
all that decides the weights. Everything written here is a function of parameters, data, code and seed,
but for build/training (how long it took) and build/runs (the MLflow run).
"""

import csv
import io
import logging
import math
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn
from torch import Tensor

from gan import __version__, distributed
from gan.card import Card, write_card
from gan.checkpoint import fingerprint, load_latest, save_checkpoint
from gan.config import Params
from gan.contract import Profile, Scalars, TrainParams
from gan.data.batches import endless_batches
from gan.data.image_store import ImageStore
from gan.errors import ConfigError, TrainingDiverged
from gan.files import exclusive_lock, read_json, write_bytes, write_json
from gan.generator import SNAPSHOTS, save_generator, save_snapshot
from gan.sampling import image_grid
from gan.training import (
    TrainState,
    finish_average,
    has_finite_weights,
    held_out_scalars,
    new_train_state,
    pick_device,
    preview,
    read_scalars,
    spread,
    training_steps,
)
from pipeline import environment
from pipeline.interruption import Stop, stopped_by_signals
from pipeline.stage import Cell, find_recipe, parse_cell, run_stage
from pipeline.tracking import database as tracking

STOPPED = "%s: stopped and saved at step %s; the same command goes on from there"


@dataclass
class Record:
    """What a run leaves besides weights; it lives in the checkpoint, so that no resume loses a row."""

    history: list[dict[str, float]] = field(default_factory=list)
    previews: dict[int, Tensor] = field(default_factory=dict)
    finite: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # last finite weights, if to be kept
    diverged_at: int | None = None
    seconds: float = 0.0
    snapshot_seconds: dict[int, float] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    run_id: str | None = None


def main(params: Params, key: str) -> None:
    """Write models/KEY, build/training/KEY.json and build/runs/KEY.json.

    Under `torchrun` every process trains on its share of each batch; the first alone logs and saves.
    """
    with distributed.process_group():
        train_cell(params, parse_cell(key, params))


def train_cell(params: Params, cell: Cell) -> None:
    """Train a cell from where its last checkpoint is, and write what it leaves."""
    recipe = find_recipe(cell, params)
    checkpoints, checkpoint_seconds = checkpoint_root(), environment.checkpoint_seconds()
    store = ImageStore(cell.store, "train")
    code = read_json(cell.code)["digest"]
    device = prepare_torch(params.train)
    steps = recipe.steps[cell.budget]  # type: ignore[index]
    method = recipe.method.model_dump(mode="json", by_alias=True)
    identity = fingerprint(
        method=method,
        steps=steps,
        train=params.train.model_dump(mode="json"),
        data=store.digest,
        code=code,
        seed=cell.seed,
    )
    folder = checkpoints / identity
    leads = distributed.rank() == 0
    lock = exclusive_lock(folder.with_suffix(".lock")) if leads else nullcontext()
    with lock, stopped_by_signals() as stop:
        state = new_train_state(
            recipe.method, store.image, params.train, steps=steps, seed=cell.seed, device=device
        )
        record = resume(folder, state)
        if not leads:
            train(state, store, record, None, folder, stop, cell, checkpoint_seconds)
            return
        run = tracking.Run.open(
            cell, params, data_digest=store.digest, code_digest=code, device=str(device), run_id=record.run_id
        )
        record.run_id = run.run_id
        if run.url:
            logging.info("MLflow: %s", run.url)
        try:
            train(state, store, record, run, folder, stop, cell, checkpoint_seconds)
        except TrainingDiverged:
            run.finish("FAILED")
            raise
        if stop.signal:
            run.finish("KILLED")
            raise SystemExit(128 + stop.signal)
        card = write_model(cell, state, record, store, code, folder / SNAPSHOTS, recipe.profile)
        write_json(cell.training, timings(state, record))
        write_json(cell.run, run.reference)
        run.complete(card)
        shutil.rmtree(folder, ignore_errors=True)
    end = f"diverged at step {card.diverged_at} of {steps}" if card.diverged_at else f"{steps} steps"
    logging.info("%s: %s in %.0f s, weights %s", cell.key, end, record.seconds, card.weights_sha256[:12])


def train(
    state: TrainState,
    store: ImageStore,
    record: Record,
    run: tracking.Run | None,
    folder: Path,
    stop: Stop,
    cell: Cell,
    checkpoint_seconds: float,
) -> None:
    """Run the loop, and at its marks read scalars, draw previews and save; a signal ends it after a save.

    run: where the first process logs; none in the others, which do nothing but train.
    Raises TrainingDiverged where the recipe doesn't have it recorded.
    """
    rows = spread(state.params.log_points, state.steps)
    pictures = spread(state.params.previews, state.steps)
    batches = batches_of(store, state, state.batches_seen)
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
        if run:
            run.log_image("samples", image_grid(record.previews[state.step], scale=2), state.step)

    with progress_of(state, cell.key) if run else nullcontext(lambda step: None) as tick:
        if state.step == 0:
            keep_finite(state, record)
            if run:
                draw()
        for scalars in training_steps(state, batches):
            if state.step in rows:
                if held_out:
                    scalars |= held_out_scalars(state, next(held_out))
                values = take_row(state, record, scalars)
                if run:
                    run.log_scalars(state.step, values)
                tick(state.step)
            record.seconds = before + time.monotonic() - began
            if run and state.step in pictures and record.diverged_at is None:
                draw()
            # A stop must come to all processes at the same step, or some would wait for the others.
            stopping = distributed.agree(stop.signal != 0)
            if run and (stopping or time.monotonic() - saved > checkpoint_seconds):
                save_checkpoint(folder, {"state": state.state_dict(), "record": asdict(record)}, state.step)
                saved = time.monotonic()
            if stopping:
                stop.signal = stop.signal or signal.SIGTERM
                if run:
                    logging.info(STOPPED, cell.key, state.step)
                return
            if record.diverged_at is not None:
                return


def take_row(state: TrainState, record: Record, scalars: Scalars) -> dict[str, float]:
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


def keep_finite(state: TrainState, record: Record) -> None:
    """Keep the generators' weights, where a divergence is to be recorded."""
    if state.variant.on_divergence == "record":
        record.finite = {
            "generator": {n: t.clone() for n, t in state.gan.generator.state_dict().items()},
            "averaged": {n: t.clone() for n, t in state.averaged.state_dict().items()},
        }


def batches_of(store: ImageStore, state: TrainState, start: int) -> Iterator[Tensor]:
    """This process's shares of a split's batches, from number `start` on."""
    return endless_batches(
        store,
        state.variant.batch_size,
        seed=state.seed,
        start=start,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        device=state.device,
    )


def held_out_batches(cell: Cell, state: TrainState, start: int) -> Iterator[Tensor] | None:
    """Batches of images that the critic never learns from; none where there are less than one.

    They are those of the validation split. A data set without one has nothing selected on it, so that its
    test images may be looked at: no recipe, step or checkpoint is chosen by these curves.
    """
    for split in ("validation", "test"):
        try:
            return batches_of(ImageStore(cell.store, split), state, start)
        except ConfigError:
            continue
    return None


def resume(folder: Path, state: TrainState) -> Record:
    """Take over the newest checkpoint of this very run, if there is one; on any number of processes."""
    saved = load_latest(folder)
    if saved is None:
        return Record()
    state.load_state_dict(saved["state"])
    if distributed.rank() == 0:
        logging.info("resuming at step %s of %s", state.step, state.steps)
    return Record(**saved["record"])


def write_model(
    cell: Cell,
    state: TrainState,
    record: Record,
    store: ImageStore,
    code: str,
    snapshots: Path,
    profile: Profile,
) -> Card:
    """Write the folder of a trained model: weights, card, history, previews, snapshots along the run."""
    shutil.rmtree(cell.model, ignore_errors=True)
    finish_average(state)
    if record.finite and not has_finite_weights(state):  # the statistics of finite weights may overflow
        state.averaged.load_state_dict(record.finite["averaged"])
    card = Card(
        format=2,
        key=cell.key,
        dataset=cell.dataset,
        variant=cell.variant,
        kind=state.variant.kind,
        image=list(store.image),
        method=state.variant,  # type: ignore[arg-type]
        steps=state.steps,
        images_seen=state.images_seen,
        seed=cell.seed,
        profile=profile,
        precision=state.params.precision,
        num_threads=state.params.num_threads,
        channels_last=state.params.channels_last,
        ema_exponent=state.params.ema_exponent,
        log_points=state.params.log_points,
        previews=state.params.previews,
        data_digest=store.digest,
        code_digest=code,
        status="finished" if record.diverged_at is None else "diverged",
        diverged_at=record.diverged_at,
        weights_sha256=save_generator(cell.model, state.averaged.state_dict(), "generator"),
        raw_weights_sha256=save_generator(cell.model, state.gan.generator.state_dict(), "generator_raw"),
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(record.history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.history)
    write_bytes(cell.model / "history.csv", text.getvalue().encode())
    for step, images in record.previews.items():
        png = io.BytesIO()
        image_grid(images).save(png, format="PNG")
        write_bytes(cell.model / "previews" / f"{step:06d}.png", png.getvalue())
    shutil.copytree(snapshots, cell.model / SNAPSHOTS)
    write_card(cell.model, card)
    return card


def timings(state: TrainState, record: Record) -> dict[str, Any]:
    """How the training went on this machine: the only result that differs from run to run."""
    device = state.device
    return {
        "seconds": round(record.seconds, 2),
        "images_per_second": round(state.images_seen / record.seconds, 1),
        "steps": state.steps,
        "images_seen": state.images_seen,
        "snapshot_seconds": record.snapshot_seconds,
        "started": record.started,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processes": distributed.world_size(),
        "cpu": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "gantry": __version__},
    }


def prepare_torch(params: TrainParams) -> torch.device:
    """Fix what would make two runs on one machine differ, and choose the device."""
    torch.set_num_threads(params.num_threads)
    torch.set_flush_denormal(True)  # numbers below 1e-38 take a CPU a hundred times as long
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; equal sums each time
    device = pick_device()
    if device.type == "cuda":  # deterministic convolutions, no TF32; written without a GPU at hand
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False  # matrix products have none unless asked for
    if distributed.rank() == 0:
        logging.info("training on %s", device)
    return device


def checkpoint_root() -> Path:
    """GANTRY_CHECKPOINT_DIR, or .ckpt in the main checkout.

    The main checkout outlives the copies that DVC experiments run in.
    """
    root = tracking.checkout_root(Path.cwd()) or Path.cwd()
    return environment.checkpoint_dir() or root / ".ckpt"


@contextmanager
def progress_of(state: TrainState, key: str) -> Iterator[Any]:
    """Show a bar on a terminal, and lines elsewhere, such as in the log that `make repro` follows."""
    if not sys.stderr.isatty():
        yield lambda step: print(f"step {step}/{state.steps}", file=sys.stderr, flush=True)
        return
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(key, total=state.steps, completed=state.step)
        yield lambda step: progress.update(task, completed=step)


if __name__ == "__main__":
    run_stage(main)
