"""Owns resuming a run after an interruption: the checkpoints' folder, content and loading.

Checkpoints lie outside of DVC's outs, which DVC deletes before a stage runs.
"""

import logging
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from gan import distributed
from gan.checkpoint import fingerprint, load_latest, save_checkpoint
from gan.training import TrainState
from pipeline import environment
from pipeline.tracking.database import checkout_root


@dataclass
class TrainingRecord:
    """A run's results besides weights, kept in its checkpoints so that resuming loses no row."""

    history: list[dict[str, float]] = field(default_factory=list)
    previews: dict[int, Tensor] = field(default_factory=dict)
    finite: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # last finite ones, if kept
    diverged_at: int | None = None
    seconds: float = 0.0
    snapshot_seconds: dict[int, float] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    run_id: str | None = None


def checkpoint_root() -> Path:
    """GANTRY_CHECKPOINT_DIR, or .ckpt in the main checkout.

    The main checkout outlives the copies that DVC experiments run in.
    """
    root = checkout_root(Path.cwd()) or Path.cwd()
    return environment.checkpoint_dir() or root / ".ckpt"


def folder_of(root: Path, device: str, **identity: Any) -> Path:
    """Folder of the checkpoints of a run on this type of device, "cpu" or "cuda"; the first process logs.

    The two draw other noise, so that neither goes on with a run of the other: a line says where one that is
    the same but for the device has left checkpoints.
    """
    other = "cpu" if device == "cuda" else "cuda"
    theirs = root / fingerprint(device=other, **identity)
    if distributed.rank() == 0 and any(theirs.glob("step-*.pt")):
        logging.info(
            "%s has checkpoints of this run on %s; they are left alone, since noise on %s is other noise",
            theirs,
            other,
            device,
        )
    return root / fingerprint(device=device, **identity)


def save(folder: Path, state: TrainState, record: TrainingRecord) -> None:
    """Write a checkpoint of the state and the record, in place of the last but one."""
    save_checkpoint(folder, {"state": state.state_dict(), "record": asdict(record)}, state.step)


def resume(folder: Path, state: TrainState) -> TrainingRecord:
    """Load the newest checkpoint of this run, if there is one, on any number of processes."""
    saved = load_latest(folder)
    if saved is None:
        return TrainingRecord()
    state.load_state_dict(saved["state"])
    if distributed.rank() == 0:
        logging.info("resuming at step %s of %s", state.step, state.steps)
    return TrainingRecord(**saved["record"])
