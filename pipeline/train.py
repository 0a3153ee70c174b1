"""Stage `train`: one cell from noise to weights, resumed by itself after any interruption.

Checkpoints lie outside of DVC's outs, which DVC deletes before a stage runs, in a folder named after
all that decides the weights. Everything written here is a function of parameters, data, code and seed,
but for build/training (how long it took) and build/runs (the MLflow run).
"""

import csv
import io
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn
from torch import Tensor

from gan import __version__
from gan.card import Card, write_card
from gan.checkpoint import fingerprint, load_latest, save_checkpoint
from gan.config import Params
from gan.contract import TrainParams
from gan.data.batches import endless_batches
from gan.data.image_store import ImageStore
from gan.errors import TrainingDiverged
from gan.files import exclusive_lock, read_json, write_bytes, write_json
from gan.generator import save_generator
from gan.sampling import image_grid
from gan.training import (
    TrainState,
    finish_average,
    new_train_state,
    pick_device,
    preview,
    read_scalars,
    spread,
    training_steps,
)
from pipeline import tracking
from pipeline.interruption import Stop, stopped_by_signals
from pipeline.stage import Cell, find_recipe, parse_cell, run_stage

# How much work a kill may cost; it changes no result.
CHECKPOINT_SECONDS = float(os.environ.get("GANTRY_CHECKPOINT_SECONDS", "15"))


@dataclass
class Record:
    """What a run leaves besides weights; it lives in the checkpoint, so that no resume loses a row."""

    history: list[dict[str, float]] = field(default_factory=list)
    previews: dict[int, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    run_id: str | None = None


def main(params: Params, key: str) -> None:
    """Write models/KEY, build/training/KEY.json and build/runs/KEY.json."""
    cell = parse_cell(key, params)
    recipe = find_recipe(cell, params)
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
    folder = checkpoint_root() / identity
    with exclusive_lock(folder.with_suffix(".lock")), stopped_by_signals() as stop:
        state = new_train_state(
            recipe.method, store.image, params.train, steps=steps, seed=cell.seed, device=device
        )
        record = resume(folder, state)
        run = tracking.Run.open(
            cell, params, data_digest=store.digest, code_digest=code, device=str(device), run_id=record.run_id
        )
        record.run_id = run.run_id
        if run.url:
            logging.info("MLflow: %s", run.url)
        try:
            train(state, store, record, run, folder, stop, key)
        except TrainingDiverged:
            run.finish("FAILED")
            raise
        if stop.signal:
            run.finish("KILLED")
            raise SystemExit(128 + stop.signal)
        card = write_model(cell, state, record, store, code)
        write_json(cell.training, timings(state, record))
        write_json(cell.run, run.reference)
        run.finish("FINISHED")
        shutil.rmtree(folder, ignore_errors=True)
    logging.info("%s: %s steps in %.0f s, weights %s", key, steps, record.seconds, card.weights_sha256[:12])


def train(
    state: TrainState,
    store: ImageStore,
    record: Record,
    run: tracking.Run,
    folder: Path,
    stop: Stop,
    key: str,
) -> None:
    """Run the loop, and at its marks read scalars, draw previews and save; a signal ends it after a save."""
    rows = spread(state.params.log_points, state.steps)
    pictures = spread(state.params.previews, state.steps)
    batches = endless_batches(store, state.variant.batch_size, seed=state.seed, start=state.batches_seen)
    began = saved = time.monotonic()
    before = record.seconds

    def draw() -> None:
        record.previews[state.step] = preview(state)
        run.log_image("samples", image_grid(record.previews[state.step], scale=2), state.step)

    with progress_of(state, key) as tick:
        if state.step == 0:
            draw()
        for scalars in training_steps(state, batches):
            if state.step in rows:
                values = {"images_seen": state.images_seen, **read_scalars(scalars, state.step)}
                record.history.append({"step": state.step, **values})
                run.log_scalars(state.step, values)
                tick(state.step)
            if state.step in pictures:
                draw()
            record.seconds = before + time.monotonic() - began
            if stop.signal or time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(folder, {"state": state.state_dict(), "record": asdict(record)}, state.step)
                saved = time.monotonic()
            if stop.signal:
                logging.info(
                    "%s: stopped and saved at step %s; the same command goes on from there", key, state.step
                )
                return


def resume(folder: Path, state: TrainState) -> Record:
    """Take over the newest checkpoint of this very run, if there is one."""
    saved = load_latest(folder)
    if saved is None:
        return Record()
    state.load_state_dict(saved["state"])
    logging.info("resuming at step %s of %s", state.step, state.steps)
    return Record(**saved["record"])


def write_model(cell: Cell, state: TrainState, record: Record, store: ImageStore, code: str) -> Card:
    """Write the folder of a trained model: weights, card, history, previews."""
    shutil.rmtree(cell.model, ignore_errors=True)
    finish_average(state)
    card = Card(
        format=1,
        key=cell.key,
        dataset=cell.dataset,
        variant=cell.variant,
        kind=state.variant.kind,
        image=list(store.image),
        method=state.variant,  # type: ignore[arg-type]
        steps=state.steps,
        images_seen=state.images_seen,
        seed=cell.seed,
        precision=state.params.precision,
        num_threads=state.params.num_threads,
        channels_last=state.params.channels_last,
        ema_exponent=state.params.ema_exponent,
        data_digest=store.digest,
        code_digest=code,
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
        "started": record.started,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpu": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "gantry": __version__},
    }


def prepare_torch(params: TrainParams) -> torch.device:
    """Fix what would make two runs on one machine differ, and choose the device."""
    torch.set_num_threads(params.num_threads)
    device = pick_device()
    if device.type == "cuda":  # deterministic convolutions, no TF32; written without a GPU at hand
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False  # matrix products have none unless asked for
    logging.info("training on %s", device)
    return device


def checkpoint_root() -> Path:
    """GAN_CKPT_DIR, or .ckpt in the main checkout, which outlives the copies that DVC experiments run in."""
    given = os.environ.get("GAN_CKPT_DIR")
    root = tracking.checkout_root(Path.cwd()) or Path.cwd()
    return Path(given) if given else root / ".ckpt"


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
