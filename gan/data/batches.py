"""Owns the order of images in training: endless, seekable, sharded, normalised to [-1, 1]."""

import logging
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.data.image_store import ImageStore
from gan.data.prefetch import prefetch, to_device
from gan.errors import ConfigError

CHUNK = 4096  # images read at a time into a device's memory


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Permutation of `count` positions, a function of seed and epoch alone.

    Sorts raw Philox output, a stream that will never change; what the shuffles of numpy and torch make of a
    seed may change with their version.
    """
    keys = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(count)
    return np.argsort(keys, kind="stable")


def epoch_flips(count: int, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Whether each of `count` images is mirrored in this epoch, by index: half of them are, on average."""
    # The third word makes the stream another one than the shuffle's.
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch, 1])).random_raw(count)
    return (bits >> 63).astype(np.bool_)


def endless_batches(
    store: ImageStore,
    batch_size: int,
    *,
    seed: int,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
    flip: bool = False,
    device: torch.device | str = "cpu",
    resident: bool = False,
    ahead: bool | None = None,
) -> Iterator[Tensor]:
    """Yield batches `start`, `start` + 1, ...: float32 (batch_size / world_size, C, H, W) in [-1, 1].

    batch_size: images per batch over all ranks, so that a recipe means the same on any number of processes;
    rank r takes the r-th of world_size equal slices.
    flip: mirror each image left to right with probability 1/2, as a function of seed, epoch and index
    alone.
    device: of the batches; images are copied there as bytes and normalised there.
    resident: hold the whole split on the device as bytes, if a quarter of a GPU's free memory takes it.
    ahead: where it isn't held, have a thread read the next batches; by default for a GPU only.
    Neither changes a bit of a batch. Each epoch goes through the images once, without its last partial
    batch.
    Raises ConfigError, at the call, for a split smaller than one batch and for a batch that the ranks
    can't share equally.
    """
    if len(store) < batch_size:
        raise ConfigError(
            f"{store.path}: the split holds {len(store)} images, one batch is {batch_size}; lower batch_size"
        )
    if batch_size % world_size:
        raise ConfigError(
            f"batch_size {batch_size} can't be shared by {world_size} processes; "
            f"take a multiple of {world_size}"
        )
    device = torch.device(device)
    order = _Order(len(store), batch_size, seed, start, rank, batch_size // world_size, flip)
    if resident and _fits(store, device, rank):
        return _resident(store, order, device)
    streamed = _streamed(store, order)
    if ahead is None:
        ahead = device.type == "cuda"
    moved = prefetch(streamed, device) if ahead else (to_device(images, device) for images in streamed)
    return (_normalise(images) for images in moved)


class _Order(NamedTuple):
    """What decides which images a process's batches hold."""

    images: int  # of the split
    batch_size: int
    seed: int
    start: int
    rank: int
    share: int  # images per batch of this process
    flip: bool

    def epochs(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_] | None, Iterator[slice]]]:
        """Yield the order of each epoch, its flips by index, and the places in the order of each batch."""
        epoch, position = divmod(self.start, self.images // self.batch_size)
        while True:
            flips = epoch_flips(self.images, self.seed, epoch) if self.flip else None
            begins = range(position * self.batch_size, self.images - self.batch_size + 1, self.batch_size)
            own = (begin + self.rank * self.share for begin in begins)
            yield (
                epoch_order(self.images, self.seed, epoch),
                flips,
                (slice(begin, begin + self.share) for begin in own),
            )
            epoch, position = epoch + 1, 0


def _streamed(store: ImageStore, order: _Order) -> Iterator[Tensor]:
    """Read the bytes of each batch from the store."""
    for numbers, flips, places in order.epochs():
        for place in places:
            chosen = numbers[place]
            images = store.read(chosen)
            if flips is not None:
                mirrored = flips[chosen]
                images[mirrored] = images[mirrored, ..., ::-1]
            yield torch.from_numpy(images)


def _resident(store: ImageStore, order: _Order, device: torch.device) -> Iterator[Tensor]:
    """Copy the split to the device once, and an order once an epoch; gather batches there."""
    held = torch.empty((len(store), *store.image), dtype=torch.uint8, device=device)
    for begin in range(0, len(store), CHUNK):
        numbers = range(begin, min(begin + CHUNK, len(store)))
        held[numbers.start : numbers.stop] = to_device(torch.from_numpy(store.read(numbers)), device)
    for numbers_of_epoch, flips, places in order.epochs():
        moved = to_device(torch.from_numpy(numbers_of_epoch), device)
        mirrored = None if flips is None else to_device(torch.from_numpy(flips), device)
        for place in places:
            chosen = moved[place]
            images = held.index_select(0, chosen)
            if mirrored is not None:
                turned = mirrored.index_select(0, chosen).view(-1, 1, 1, 1)
                images = torch.where(turned, images.flip(3), images)
            yield _normalise(images)


def _fits(store: ImageStore, device: torch.device, rank: int) -> bool:
    """Tell whether a GPU has room for a split, and log where it hasn't; other devices always have."""
    if device.type != "cuda":
        return True
    size, room = len(store) * math.prod(store.image), torch.cuda.mem_get_info(device)[0] // 4
    if size > room and rank == 0:
        logging.info(
            "%s: %.1f GB of images are more than a quarter of the GPU's free memory (%.1f GB): streamed",
            store.path,
            size / 1e9,
            room / 1e9,
        )
    return size <= room


def _normalise(images: Tensor) -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in [-1, 1]: 0 becomes -1, 255 becomes 1."""
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)
