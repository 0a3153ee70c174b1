"""Owns stopping a long stage: by a signal, or by the death of the process that started it."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """The signal that asked the stage to stop; 0 for none."""

    signal: int = 0


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Record SIGTERM and SIGINT for the loop to act on; a second signal ends the process at once.

    DVC takes an exit with 0 for a finished stage, so the caller exits with 128 + signal. On Linux the death
    of the parent process counts as a signal too, so that a killed `dvc repro` leaves no trainer behind.
    """
    stop = Stop()

    def note(number: int, _: FrameType | None) -> None:
        if stop.signal:
            os._exit(128 + number)
        stop.signal = number

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
