"""What the machine is, and what its device can do at best: products, a convolution, a copy."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.gpu_parts.runs import Check, Options, Row, Setting, prepare, synchronize
from benchmarks.limit import KINDS, work_of
from benchmarks.turns import machine
from gan.contract import Precision

PART = "environment"
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")


def checks(_: Setting) -> Iterator[Check]:
    """The machine, then the ceiling of each kind of work."""
    yield Check(PART, "machine", describe)
    for kind in KINDS:
        for precision in ("fp32",) if kind == "copy" else PRECISIONS:
            yield Check(
                PART, f"{kind} {precision}", lambda setting, k=kind, p=precision: measure(setting, k, p)
            )


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


@torch.no_grad()
def measure(setting: Setting, kind: str, precision: Precision) -> Iterator[Row]:
    """Repeat a piece of work of `benchmarks.limit`, with torch prepared as for training in this precision."""
    device = prepare(Options(precision=precision))
    work, size = work_of(kind, precision, device)
    repeats = 10 if setting.on_gpu else 2
    for _ in range(3 if setting.on_gpu else 1):
        work()
    synchronize(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    synchronize(device)
    speed = size * repeats / (time.perf_counter() - begin)
    if kind == "copy":
        yield {"value": speed, "unit": "GB/s", "note": "read and written"}
    else:
        yield {"value": speed / 1000, "unit": "TFLOP/s"}
