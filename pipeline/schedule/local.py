"""Runs stages on this machine, by DVC."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

BUSY = re.compile(r"is busy|Unable to acquire lock")
BEGUN = re.compile(r"Running stage '")
WAITS = (1, 2, 4, 8)  # seconds before each further try


def dvc(*arguments: str) -> list[str]:
    """Command line of DVC in the running environment."""
    return [sys.executable, "-m", "dvc", *arguments]


def run(stages: Sequence[str], log: Path, variables: Mapping[str, str]) -> int:
    """Run stages without their dependencies, with these variables, and append their output to a log.

    One DVC does them all: it reads params.yaml and dvc.lock for seconds before its first. Where another one
    holds their files, it is tried again, but only before any stage has begun: what such a try had run and
    not recorded would run twice.
    """
    # Without --wait-for-lock a stage that has run is lost when other DVCs hold the lock for 3 s after it.
    command = dvc("--wait-for-lock", "repro", "--single-item", *stages)
    for wait in (*WAITS, 0):
        with log.open("ab") as stream:
            start = stream.tell()
            code = subprocess.run(
                command, stdout=stream, stderr=subprocess.STDOUT, env=os.environ | variables, check=False
            ).returncode
        said = log.read_bytes()[start:].decode(errors="replace")
        if code == 0 or BEGUN.search(said) or not BUSY.search(said):
            break
        time.sleep(wait)
    return code
