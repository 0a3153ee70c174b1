"""A contender that does nothing but arithmetic, or copies: the limits of the machine.

`python -m benchmarks.limit` answers requests of `benchmarks.turns`. A training step is made of
convolutions and matrix products, so that the rate of one large one is what it can be held against.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from benchmarks.turns import Answer, serve

KINDS = ("matrix product", "convolution", "copy")
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices; a large GPU isn't filled by less
IMAGES = {"cpu": 32, "cuda": 1024}  # of the convolution, 3x3
CHANNELS, MAP = 256, 16
BYTES = {"cpu": 2**28, "cuda": 2**30}  # copied, far beyond any cache


def work_of(kind: str, precision: str, device: torch.device) -> tuple[Callable[[], object], float]:
    """Return a piece of work and its size, in GFLOP, or in GB read and written."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if kind == "matrix product":
        side = SIDE[device.type]
        left, right = torch.rand(2, side, side, device=device).to(dtype)
        return lambda: left @ right, 2 * side**3 / 1e9
    if kind == "convolution":
        images = IMAGES[device.type]
        maps = torch.rand(images, CHANNELS, MAP, MAP, device=device).to(dtype)
        kernel = torch.rand(CHANNELS, CHANNELS, 3, 3, device=device).to(dtype)
        maps, kernel = (part.to(memory_format=torch.channels_last) for part in (maps, kernel))
        size = 2 * images * CHANNELS * CHANNELS * 9 * MAP * MAP / 1e9
        return lambda: functional.conv2d(maps, kernel, padding=1), size
    size = BYTES[device.type]
    source = torch.ones(size // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2 * size / 1e9


@torch.no_grad()
def measure(kind: str, precision: str, threads: int, seconds: float, cuda: bool = False) -> Answer:
    """Repeat the work for this long, after one warm-up; return the size done and the seconds taken."""
    torch.set_num_threads(threads)
    work, size = work_of(kind, precision, torch.device("cuda" if cuda else "cpu"))
    work()
    wait = torch.cuda.synchronize if cuda else lambda: None
    wait()
    count, begin = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - begin < seconds:
        work()
        wait()
        count += 1
    return {"size": size * count, "seconds": time.perf_counter() - begin}


def answer(request: dict[str, Any]) -> Answer:
    """Answer {"kind", "precision", "threads", "seconds"}."""
    return measure(**request)


if __name__ == "__main__":
    serve(answer)
