"""Owns how a trained model is written: its weights, card, history and previews."""

import io
import shutil
from pathlib import Path

from gan.card import Card, write_card
from gan.contract import Profile
from gan.data.image_store import ImageStore
from gan.files import write_bytes
from gan.generator import SNAPSHOTS, save_generator
from gan.sampling import image_grid
from gan.training import TrainState, finish_average, has_finite_weights
from gan.versions import installed_versions
from pipeline.scores.history import write_history
from pipeline.stage import Cell
from pipeline.training.checkpoints import TrainingRecord


def write_model(
    cell: Cell,
    state: TrainState,
    record: TrainingRecord,
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
        format=3,
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
        device=state.device.type,  # type: ignore[arg-type]
        **state.params.model_dump(),
        data_digest=store.digest,
        code_digest=code,
        versions=installed_versions(),
        status="finished" if record.diverged_at is None else "diverged",
        diverged_at=record.diverged_at,
        weights_sha256=save_generator(cell.model, state.averaged.state_dict(), "generator"),
        raw_weights_sha256=save_generator(cell.model, state.gan.generator.state_dict(), "generator_raw"),
    )
    write_history(cell, record.history)
    for step, images in record.previews.items():
        png = io.BytesIO()
        image_grid(images).save(png, format="PNG")
        write_bytes(cell.model / "previews" / f"{step:06d}.png", png.getvalue())
    shutil.copytree(snapshots, cell.model / SNAPSHOTS)
    write_card(cell.model, card)
    return card
