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

    The ranks of raw Philox output: that stream is fixed for good, what numpy's and torch's own
    shuffles make of a seed may change with their version.
    """
    keys = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(count)
    return np.argsort(keys, kind="stable")


def endless_batches(
    store: ImageStore,
    batch_size: int,
    *,
    seed: int,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Tensor]:
    """Batches number `start`, `start` + 1, ...: float32 (batch_size / world_size, C, H, W) in [-1, 1].

    batch_size: images of one batch over all ranks, so that a recipe means the same on any number of
    processes; rank r takes the r-th of world_size equal slices.
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
    return _batches(store, batch_size, seed, start, rank, batch_size // world_size)


def _batches(
    store: ImageStore, batch_size: int, seed: int, start: int, rank: int, share: int
) -> Iterator[Tensor]:
    epoch, position = divmod(start, len(store) // batch_size)
    while True:
        order = epoch_order(len(store), seed, epoch)
        for batch in range(position, len(store) // batch_size):
            begin = batch * batch_size + rank * share
            yield _normalised(store.read(order[begin : begin + share]))
        epoch, position = epoch + 1, 0


def _normalised(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, C, H, W) -> float32 in [-1, 1]: 0 becomes -1, 255 becomes 1."""
    return torch.from_numpy(images).to(torch.float32).div_(127.5).sub_(1.0)
