"""Owns the places where cells run: how many at a time, and which GPU each of them sees.

GPUs are counted without torch, which would take seconds and leave a CUDA context on each of them.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import takewhile
from threading import Lock

from pipeline import environment

VISIBLE = "CUDA_VISIBLE_DEVICES"  # CUDA's own variable: the GPUs that a process sees
UUID = re.compile(r"UUID: ([\w-]+)\)")


def visible_gpus() -> list[str]:
    """GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them: by index, UUID or MIG name.

    Those of the variable where it is set, up to the first that is none, as CUDA reads it; otherwise those
    that nvidia-smi lists. None where it fails, and with a build of torch for the CPU.
    """
    if version("torch").endswith("+cpu"):
        return []
    given = os.environ.get(VISIBLE)
    if given is not None:
        names = (name.strip() for name in given.split(","))
        return list(dict.fromkeys(takewhile(lambda name: name not in ("", "-1"), names)))
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return _listed(answer.stdout)


def _listed(text: str) -> list[str]:
    """UUIDs of GPUs in the output of `nvidia-smi -L`; the instances of a GPU that MIG has divided.

    GPU 0: NVIDIA H100 (UUID: GPU-...)
      MIG 1g.10gb     Device  0: (UUID: MIG-...)
    """
    gpus: list[list[str]] = []
    for line in text.splitlines():
        found = UUID.search(line)
        if found and line.startswith("GPU "):
            gpus.append([found[1]])
        elif found and gpus:
            gpus[-1].append(found[1])
    return [name for whole, *instances in gpus for name in instances or [whole]]


class Slots:
    """Places for `jobs` cells at a time, spread evenly over the GPUs, if there are any."""

    def __init__(self, jobs: int, gpus: Sequence[str] = ()) -> None:
        self.jobs = jobs
        self.gpus = tuple(gpus)
        self._cells = dict.fromkeys(self.gpus, 0)  # how many each GPU has
        self._lock = Lock()

    @classmethod
    def of_machine(cls) -> "Slots":
        """JOBS cells at a time; by default one for each GPU, without any, one for each core.

        Raises ConfigError when JOBS is no number of cells.
        """
        gpus = visible_gpus()
        return cls(environment.jobs(len(gpus) or None), gpus)

    @contextmanager
    def take(self) -> Iterator[dict[str, str]]:
        """Occupy a place on the GPU with fewest cells; yield the variables by which a process sees it alone.

        May be called from several threads; never more than `jobs` places are to be taken at once.
        """
        if not self.gpus:
            yield {}
            return
        with self._lock:
            gpu = min(self._cells, key=lambda name: self._cells[name])
            self._cells[gpu] += 1
        try:
            yield {VISIBLE: gpu}
        finally:
            with self._lock:
                self._cells[gpu] -= 1

    @property
    def most_on_a_gpu(self) -> int:
        """Most cells that share a GPU at any time; 0 without GPUs."""
        return -(-self.jobs // len(self.gpus)) if self.gpus else 0

    def __str__(self) -> str:
        """Say how many cells run at a time, and where, such as "4 at a time, 2 on each of 2 GPUs"."""
        most, gpus = self.most_on_a_gpu, min(self.jobs, len(self.gpus))
        if not gpus:
            return f"{self.jobs} at a time"
        if gpus == 1:
            return f"{self.jobs} at a time, on one GPU"
        at_most = "up to " if self.jobs % gpus else ""
        return f"{self.jobs} at a time, {at_most}{most} on each of {gpus} GPUs"
