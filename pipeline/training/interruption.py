"""Owns how a long stage is asked to end, and that it isn't left behind by whoever started it."""

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
    """The signal that asked for an end, 0 for none."""

    signal: int = 0


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Note SIGTERM and SIGINT, for the loop to act on; a second one ends the process at once.

    Under DVC an exit with 0 would pass for a finished stage, so the caller exits with 128 + signal.
    The death of the process above is such a signal too, where the kernel can tell (Linux): a killed
    `dvc repro` leaves no trainer behind.
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
