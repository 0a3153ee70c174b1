"""Owns the device that training and scoring run on: which one it is, and torch's settings for it."""

import logging
import os
import re
from pathlib import Path
from typing import Literal

import torch

from gan import distributed
from gan.contract import TrainParams
from gan.errors import DeviceError

NODE, DRIVER = Path("/dev/nvidia0"), Path("/proc/driver/nvidia/version")  # where Linux has an NVIDIA GPU


def pick_device() -> torch.device:
    """Choose the CUDA device that this process sees first, under torchrun its own; without any, the CPU.

    Which GPU comes first is for CUDA_VISIBLE_DEVICES to say: `make repro` sets it for each cell.
    Raises DeviceError where torch says that there is a GPU, and the GPU doesn't answer.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        device = torch.device("cuda", torch.cuda.current_device())
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(
            f"the GPU doesn't answer: {reason}; see nvidia-smi, or set CUDA_VISIBLE_DEVICES= to use the CPU"
        ) from error
    return device


def unused_gpu() -> str | None:
    """Say why torch doesn't use a GPU that this machine has, and what to do; None where it has none.

    None, too, where torch uses it or CUDA_VISIBLE_DEVICES hides it.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    if hidden or torch.cuda.is_available() or not (NODE.exists() or DRIVER.exists()):
        return None
    build = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        return f"there is an NVIDIA GPU, and {build} is for the CPU; see TORCH_SPEC in docs/reference.md"
    driver = DRIVER.read_text("utf-8", "replace") if DRIVER.exists() else ""
    version = re.search(r"\s(\d+\.\d+(\.\d+)?)\s", driver)
    loaded = version[1] if version else "not loaded"
    return (
        f"there is an NVIDIA GPU that torch can't use: its driver is {loaded}, {build} is built "
        f"for CUDA {torch.version.cuda}; update the driver, or install a build for an older CUDA, see "
        "TORCH_SPEC in docs/reference.md"
    )


def prepare_torch(params: TrainParams) -> torch.device:
    """Set what would otherwise make two runs on one machine differ, and choose the device."""
    torch.set_flush_denormal(True)  # numbers below 1e-38 take a CPU a hundred times as long
    device = _prepare(params.num_threads, "ieee" if params.precision == "fp32" else "tf32")
    # Otherwise every torch.empty is filled with NaN, by a kernel of its own.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if distributed.rank() == 0:
        if reason := unused_gpu():
            logging.warning("warning: %s", reason)
        logging.info("training on %s", device)
    return device


def prepare_scoring(num_threads: int) -> torch.device:
    """Choose the device that images are generated and scored on, and hold a GPU to equal, full float32.

    num_threads: of the CPU, where what one makes is to be equal on every machine. Raises DeviceError as
    `pick_device`.
    """
    return _prepare(num_threads, "ieee")


def _prepare(num_threads: int, products: Literal["ieee", "tf32"]) -> torch.device:
    """Choose the device; make a GPU's sums equal each time, and its products as precise as asked."""
    torch.set_num_threads(num_threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; equal sums each time
    device = pick_device()
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.fp32_precision = products
        torch.backends.cudnn.conv.fp32_precision = products  # type: ignore[attr-defined]
    return device
