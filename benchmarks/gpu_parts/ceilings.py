"""What the machine is, and what its device can do at best: products, a convolution, a copy."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

import torch
from torch.nn import functional

from benchmarks.gpu_parts.runs import Check, Options, Row, Setting, prepare, synchronize
from benchmarks.turns import machine
from gan.contract import Precision

PART = "environment"
CHANNELS, SIDE = 256, 32  # of the convolution, 3x3
REPEATS = 10
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")


def checks(_: Setting) -> Iterator[Check]:
    """The machine, then the ceiling of each kind of work."""
    yield Check(PART, "machine", describe)
    for precision in PRECISIONS:
        yield Check(PART, f"product {precision}", lambda setting, p=precision: measure_product(setting, p))
    for precision in PRECISIONS:
        yield Check(
            PART, f"convolution {precision}", lambda setting, p=precision: measure_convolution(setting, p)
        )
    yield Check(PART, "copy", measure_copy)


def describe(setting: Setting) -> Iterator[Row]:
    """Processor, driver, device and versions, a row each."""
    device = prepare(Options())
    yield {"what": "processor", "note": f"{machine()}, load {os.getloadavg()[0]:.2f}"}
    packages = ("torch", "torchvision", "numpy", "pydantic", "lmdb", "safetensors")
    yield {"what": "packages", "note": ", ".join(f"{name} {_version(name)}" for name in packages)}
    if device.type != "cuda":
        yield {"what": "device", "note": f"the CPU, {platform.machine()}; nothing here is measured on a GPU"}
        return
    properties = torch.cuda.get_device_properties(device)
    memory = properties.total_memory / 2**30
    text = f"{properties.name}, {memory:.0f} GiB, {properties.multi_processor_count} multiprocessors"
    yield {"what": "device", "note": f"{text}, of {torch.cuda.device_count()}"}
    yield {"what": "CUDA", "note": f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"}
    if shutil.which("nvidia-smi"):
        query = [
            "nvidia-smi",
            "--query-gpu=driver_version,clocks.max.sm,power.limit",
            "--format=csv,noheader",
        ]
        said = subprocess.run(query, check=False, capture_output=True, text=True, timeout=20)
        yield {"what": "driver, clock, power", "note": (said.stdout or said.stderr).strip()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def measure_product(setting: Setting, precision: Precision) -> Iterator[Row]:
    """A square matrix product, with torch prepared as for training in this precision."""
    device = prepare(Options(precision=precision))
    side = setting.sizes.product
    left, right = torch.randn(2, side, side, device=device).to(_dtype(precision))
    yield _row(device, lambda: left @ right, 2 * side**3 / 1e12, "TFLOP/s", f"of side {side}")


def measure_convolution(setting: Setting, precision: Precision) -> Iterator[Row]:
    """A 3x3 convolution of 256 channels, in the memory format of training."""
    device = prepare(Options(precision=precision))
    images = setting.sizes.convolution_images
    maps = torch.randn(images, CHANNELS, SIDE, SIDE, device=device).to(_dtype(precision))
    kernel = torch.randn(CHANNELS, CHANNELS, 3, 3, device=device).to(_dtype(precision))
    maps, kernel = (part.to(memory_format=torch.channels_last) for part in (maps, kernel))
    work = 2 * images * CHANNELS * CHANNELS * 9 * SIDE * SIDE / 1e12
    yield _row(device, lambda: functional.conv2d(maps, kernel, padding=1), work, "TFLOP/s", f"{images} maps")


def measure_copy(setting: Setting) -> Iterator[Row]:
    """A copy within the device's memory, bytes read and written."""
    device = prepare(Options())
    source = torch.ones(setting.sizes.copied // 4, device=device)
    target = torch.empty_like(source)
    size = f"of {setting.sizes.copied / 2**20:.0f} MiB"
    yield _row(device, lambda: target.copy_(source), 2 * setting.sizes.copied / 1e9, "GB/s", size)


def _dtype(precision: Precision) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16" else torch.float32


@torch.no_grad()
def _row(device: torch.device, work: Callable[[], object], size: float, unit: str, note: str) -> Row:
    for _ in range(3):
        work()
    synchronize(device)
    begin = time.perf_counter()
    for _ in range(REPEATS):
        work()
    synchronize(device)
    return {"value": size * REPEATS / (time.perf_counter() - begin), "unit": unit, "note": note}
