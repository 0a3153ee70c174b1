"""Owns work in several processes: results in the order of the work, and never much of it in memory."""

import collections
import ctypes
import itertools
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from gan.errors import DataError

Work = TypeVar("Work")
Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1


def ordered_map(function: Callable[[Work], Result], work: Iterable[Work], processes: int) -> Iterator[Result]:
    """Yield function(item) for each item of `work`, in its order, computed by `processes` processes.

    One process means this one. At most three items a process are under way, so that memory doesn't
    grow with the work. Processes are spawned: a fork would inherit torch's threads half alive.
    Raises DataError when a process dies, as decoders do on bytes that were made to kill them.
    """
    if processes == 1:
        yield from map(function, work)
        return
    items = iter(work)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)
    try:
        under_way: collections.deque[Future[Result]] = collections.deque(
            pool.submit(function, item) for item in itertools.islice(items, 3 * processes)
        )
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
            yield result
    except BrokenProcessPool as error:
        raise DataError("a worker process died; is memory short, or an image made to crash?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Prepare a worker: one thread, deaf to the terminal's Ctrl-C, gone when its parent is."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
