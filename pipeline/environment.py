"""Owns Gantry's environment variables: their names, defaults and checks.

All begin with GANTRY_ except JOBS, which is also a variable of the Makefile. They are read when a command
starts rather than when a module is imported, so that a bad value gives one line and exit code 78. The
variables of MLflow, DVC and torchrun are read where these are used.
"""

import math
import os
from pathlib import Path

from gan.errors import ConfigError

CHECKPOINT_DIR = "GANTRY_CHECKPOINT_DIR"
CHECKPOINT_SECONDS = "GANTRY_CHECKPOINT_SECONDS"
MIRROR = "GANTRY_MIRROR"
PROCESSES = "GANTRY_PROCESSES"
RUNNER = "GANTRY_RUNNER"
JOBS = "JOBS"
# Without this an old name would be ignored silently.
RENAMED = {"GAN_CKPT_DIR": CHECKPOINT_DIR}
DEFAULT_CHECKPOINT_SECONDS = 15.0


def check() -> None:
    """Read every variable, for a command that starts others: a bad value ends it before any work."""
    checkpoint_dir()
    checkpoint_seconds()
    mirror()
    processes()
    jobs()


def checkpoint_dir() -> Path | None:
    """Folder for checkpoints; None for the default, which depends on the checkout."""
    for old, new in RENAMED.items():
        if os.environ.get(old):
            raise ConfigError(f"{old} is no longer read; unset it and set {new} instead")
    given = os.environ.get(CHECKPOINT_DIR)
    return _expanded(CHECKPOINT_DIR, given) if given else None


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints, the most work that a kill can cost; changes no result."""
    given = os.environ.get(CHECKPOINT_SECONDS)
    if given is None:
        return DEFAULT_CHECKPOINT_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"{CHECKPOINT_SECONDS} is {given!r}; give a number of seconds, such as 60")
    return seconds


def mirror() -> str:
    """Folder or address where files are looked for first; "" for none."""
    given = os.environ.get(MIRROR, "")
    return str(_expanded(MIRROR, given)) if given.startswith("~") else given


def processes() -> int:
    """Processes that decode pictures; default: the cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _count(PROCESSES, usable or 1)


def runner() -> str:
    """Name of where `make repro` runs cells; pipeline.schedule.runner knows which there are."""
    return os.environ.get(RUNNER) or "local"


def jobs(default: int | None = None) -> int:
    """Number of cells to train at a time; without a default, the cores of the machine."""
    return _count(JOBS, default or os.cpu_count() or 1)


def _count(name: str, default: int) -> int:
    given = os.environ.get(name)
    if given is None:
        return default
    try:
        count = int(given)
    except ValueError:
        count = 0
    if count < 1:
        raise ConfigError(f"{name} is {given!r}; give a whole number of at least 1, such as {default}")
    return count


def _expanded(name: str, given: str) -> Path:
    """Expand `~`, which shells don't expand inside quotes, nor readers of .env files at all."""
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{name} is {given!r}, and that user has no home; give the whole path") from error
