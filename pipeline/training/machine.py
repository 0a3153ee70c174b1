"""Owns how fast a training went on this machine."""

import os
import platform
from typing import Any

import torch

from gan import __version__, distributed
from gan.training import TrainState
from pipeline.training.checkpoints import TrainingRecord


def timings(state: TrainState, record: TrainingRecord) -> dict[str, Any]:
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
