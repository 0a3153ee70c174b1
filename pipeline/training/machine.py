"""Owns the machine's part in training: settings, device, speed."""

import logging
import os
import platform
from typing import Any

import torch

from gan import __version__, distributed
from gan.contract import TrainParams
from gan.training import TrainState, pick_device
from pipeline.training.checkpoints import TrainingRecord


def prepare_torch(params: TrainParams) -> torch.device:
    """Set what would otherwise make two runs on one machine differ, and choose the device."""
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
