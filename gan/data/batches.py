"""Owns the order of images in training: endless, seekable, sharded, normalised to [-1, 1]."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.data.image_store import ImageStore
from gan.errors import ConfigError


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
) -> Iterator[Tensor]:
    """Yield batches `start`, `start` + 1, ...: float32 (batch_size / world_size, C, H, W) in [-1, 1].

    batch_size: images per batch over all ranks, so that a recipe means the same on any number of processes;
    rank r takes the r-th of world_size equal slices.
    flip: mirror each image left to right with probability 1/2, as a function of seed, epoch and index
    alone.
    device: of the batches; images are copied there as bytes and normalised there.
    Each epoch goes through the images once, without its last partial batch.
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
    share = batch_size // world_size
    return _batches(store, batch_size, seed, start, rank, share, flip, torch.device(device))


def _batches(
    store: ImageStore,
    batch_size: int,
    seed: int,
    start: int,
    rank: int,
    share: int,
    flip: bool,
    device: torch.device,
) -> Iterator[Tensor]:
    epoch, position = divmod(start, len(store) // batch_size)
    while True:
        order = epoch_order(len(store), seed, epoch)
        flips = epoch_flips(len(store), seed, epoch) if flip else None
        for batch in range(position, len(store) // batch_size):
            begin = batch * batch_size + rank * share
            chosen = order[begin : begin + share]
            images = store.read(chosen)
            if flips is not None:
                mirrored = flips[chosen]
                images[mirrored] = images[mirrored, ..., ::-1]
            yield _normalise(_move(torch.from_numpy(images), device))
        epoch, position = epoch + 1, 0


def _move(images: Tensor, device: torch.device) -> Tensor:
    """Copy bytes to the device; to a GPU from pinned memory, so that the copy doesn't block."""
    if device.type != "cuda":
        return images.to(device)
    return images.pin_memory().to(device, non_blocking=True)


def _normalise(images: Tensor) -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in [-1, 1]: 0 becomes -1, 255 becomes 1."""
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)
