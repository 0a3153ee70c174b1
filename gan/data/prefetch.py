"""Owns reading ahead: batches are read, and copied to the device, by a thread while training computes."""

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Semaphore, Thread, current_thread

import torch
from torch import Tensor

AHEAD = 2  # batches that are ready, or being made, before they are asked for


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """Copy to the device; to a GPU from pinned memory, so that the copy doesn't block."""
    if device.type != "cuda":
        return images.to(device)
    return images.pin_memory().to(device, non_blocking=True)


def prefetch(batches: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield endless batches on the device, in their order; a thread makes the next two meanwhile.

    The thread starts with the first batch, and ends when the iterator is closed or collected. What it raises
    is raised here, after the batches before it. To a GPU it copies on a stream of its own, beside the
    computation of other batches.
    """
    ready: SimpleQueue[tuple[Tensor, torch.cuda.Event | None] | Exception] = SimpleQueue()
    free, closed = Semaphore(AHEAD), Event()
    # It must hold nothing of this generator, or that would never be collected.
    thread = Thread(target=_work, args=(batches, device, ready, free, closed), daemon=True)
    thread.start()
    try:
        while True:
            found = ready.get()
            if isinstance(found, Exception):
                raise found
            images, copied = found
            if copied is not None:
                stream = torch.cuda.current_stream(device)
                stream.wait_event(copied)
                images.record_stream(stream)  # or the thread's stream could have the memory too early
            free.release()
            yield images
    finally:
        closed.set()
        free.release()
        if thread is not current_thread():  # which may happen to collect this
            thread.join()


def _work(
    batches: Iterator[Tensor],
    device: torch.device,
    ready: SimpleQueue[tuple[Tensor, torch.cuda.Event | None] | Exception],
    free: Semaphore,
    closed: Event,
) -> None:
    try:
        stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        while True:
            free.acquire()
            if closed.is_set():
                return
            with torch.cuda.stream(stream):  # of None: where it is
                images = to_device(next(batches), device)
            ready.put((images, stream.record_event() if stream else None))
    except Exception as error:
        ready.put(error)
