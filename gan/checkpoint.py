"""Owns checkpoints: written atomically, checked against a hash before they are loaded, the last two kept.

What a checkpoint contains is up to the caller. A folder holds the checkpoints of one run; its name is
the run's fingerprint, so that a run with other parameters, code or data starts fresh.
"""

import hashlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import torch

from gan.errors import CheckpointError
from gan.files import write_bytes

KEPT = 2


def fingerprint(**identity: Any) -> str:
    """Digest of all that decides a run's weights, 16 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_checkpoint(folder: Path, payload: dict[str, Any], step: int) -> Path:
    """Write a checkpoint atomically and remove all but the last two.

    payload: tensors, numbers, strings, and lists and dictionaries of them.
    """
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:09d}-{hashlib.sha256(content).hexdigest()[:32]}.pt"
    write_bytes(path, content)
    for old in _checkpoints(folder)[KEPT:]:
        old.unlink()
    return path


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Read the newest checkpoint whose bytes agree with the hash in its name; None if there is none at all.

    A damaged one is skipped with a warning. Raises CheckpointError when all are damaged, since a silent
    start from zero would lose a run.
    """
    paths = _checkpoints(folder)
    for path in paths:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:32] != path.stem.rsplit("-", 1)[1]:
            logging.warning(
                "%s: damaged, its bytes don't match the hash in its name; trying the one before", path
            )
            continue
        payload: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return payload
    if paths:
        raise CheckpointError(
            f"{folder}: all {len(paths)} checkpoints are damaged; remove the folder to start over"
        )
    return None


def _checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a folder, newest first."""
    return sorted(folder.glob("step-*.pt"), reverse=True)
