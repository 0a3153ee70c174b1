"""Owns mapping a function over work in several processes: results in order, and little in memory."""

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

    One process means the calling one. At most three items per process are in flight, so that memory doesn't
    grow with the work. Processes are spawned, since torch's threads don't survive a fork. Raises DataError
    when a process dies, as a malicious image may make a decoder do.
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
        raise DataError("a worker process died; memory ran out, or an image crashed it") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Prepare a worker: use one thread, ignore the terminal's Ctrl-C, and die with the parent."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
