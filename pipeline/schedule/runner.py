"""Owns the choice of where cells run: a runner runs a cell's stages and returns their exit code."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from gan.errors import ConfigError
from pipeline import environment

# A name for GANTRY_RUNNER, and the module with a function `run`. Loaded when it is chosen.
RUNNERS = {
    "local": "pipeline.schedule.local",
}


class Runner(Protocol):
    """Where the stages of cells run. Data sets and build/ must be the same files there as here."""

    def run(self, stages: Sequence[str], log: Path, variables: Mapping[str, str]) -> int:
        """Run stages of one cell in this order, and nothing that they depend on.

        stages: as DVC names them, such as train@mnist_tiny-gan-quick-0. log: what they print is added to it.
        variables: what the stages find in their environment beside what this process has; it names a GPU of
        this machine, so a runner that goes elsewhere leaves it out and chooses a device itself.
        Returns 0 when all are up to date afterwards, else the exit code of what failed. Called from several
        threads at once, one for each cell.
        """


def find_runner(name: str) -> Runner:
    """Look up a runner. Raises ConfigError naming those there are."""
    if name not in RUNNERS:
        raise ConfigError(f"{environment.RUNNER} is {name!r}; there are {', '.join(RUNNERS)}")
    return cast(Runner, importlib.import_module(RUNNERS[name]))
