"""Stage `train`: trains one cell, and resumes by itself after any interruption.

All but build/training (how long it took) and build/runs is a function of parameters, data, code and seed.
"""

import logging
import shutil
from contextlib import nullcontext

from gan import distributed
from gan.config import Params
from gan.data.image_store import ImageStore
from gan.device import prepare_torch
from gan.errors import TrainingDiverged
from gan.files import exclusive_lock, read_json, write_json
from gan.generator import SNAPSHOTS
from gan.training import new_train_state
from pipeline import environment
from pipeline.stage import Cell, find_recipe, parse_cell, run_stage
from pipeline.tracking.live import Run, watched
from pipeline.training.checkpoints import checkpoint_root, folder_of, resume
from pipeline.training.interruption import stopped_by_signals
from pipeline.training.loop import train
from pipeline.training.machine import timings
from pipeline.training.model import write_model


def main(params: Params, key: str) -> None:
    """Write models/KEY, build/training/KEY.json and build/runs/KEY.json.

    Under `torchrun` every process trains on its share of each batch; the first alone logs and saves.
    """
    with distributed.process_group():
        train_cell(params, parse_cell(key, params))


def train_cell(params: Params, cell: Cell) -> None:
    """Train a cell from its last checkpoint on, and write its results."""
    recipe = find_recipe(cell, params)
    checkpoints, checkpoint_seconds = checkpoint_root(), environment.checkpoint_seconds()
    store, code = ImageStore(cell.store, "train"), read_json(cell.code)["digest"]
    steps = recipe.steps[cell.budget]  # type: ignore[index]
    method, settings = (part.model_dump(mode="json", by_alias=True) for part in (recipe.method, params.train))
    device, leads = prepare_torch(params.train), distributed.rank() == 0
    identity = {"method": method, "train": settings, "data": store.digest, "code": code}
    folder = folder_of(checkpoints, device.type, **identity, steps=steps, seed=cell.seed)
    lock = exclusive_lock(folder.with_suffix(".lock")) if leads else nullcontext()
    with lock, stopped_by_signals() as stop:
        state = new_train_state(
            recipe.method, store.image, params.train, steps=steps, seed=cell.seed, device=device
        )
        record = resume(folder, state)
        if not leads:
            train(state, record, cell, store, folder, stop, checkpoint_seconds, log=None)
            return
        run = Run.open(
            cell, params, data_digest=store.digest, code_digest=code, device=device.type, run_id=record.run_id
        )
        record.run_id = run.run_id
        try:
            with watched(run, cell.key, state.step, steps) as log:
                train(state, record, cell, store, folder, stop, checkpoint_seconds, log)
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


if __name__ == "__main__":
    run_stage(main)
