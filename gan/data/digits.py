"""Owns the IDX format of MNIST and its relatives: files of images and labels, and rules for the splits.

Doesn't import torch. Splits are ordered train, validation, test.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.contract import ImageShape
from gan.data.image_store import Record
from gan.data.mixture import SIDE
from gan.errors import DataError

IMAGES_MAGIC = 0x0803  # unsigned bytes, 3 axes
LABELS_MAGIC = 0x0801  # unsigned bytes, 1 axis
CLASSES = 10
VALIDATION = 5000
LARGEST = 2**31  # bytes of content that a header may announce
STACKS_PER_DIGIT = 2  # where a small set is stacked
STACKED = {"train": 128_000, "test": 26_000}  # VEEGAN's and PacGAN's numbers


class Digits(NamedTuple):
    """Images and labels of one file, or of a part of it."""

    images: NDArray[np.uint8]  # (N, 1, H, W)
    labels: NDArray[np.integer[Any]]  # (N,)
    sources: dict[str, str]  # file name -> SHA-256 of its uncompressed content
    stacks: NDArray[np.int64] | None = None  # (M, 3): which three images each record is made of

    def records(self) -> Iterator[Record]:
        """Yield images with their labels, one after the other."""
        for number, label in enumerate(self.labels):
            pixels = self.images[number] if self.stacks is None else self.images[self.stacks[number], 0]
            yield Record(pixels, int(label))

    @property
    def shape(self) -> ImageShape:
        """Channels, height, width of a record."""
        _, channels, height, width = self.images.shape
        return ImageShape(channels if self.stacks is None else 3, height, width)


def read_idx(path: Path, magic: int) -> tuple[NDArray[np.uint8], str]:
    """Read a gzipped IDX file of unsigned bytes: the array and the SHA-256 of the uncompressed content.

    yann.lecun.com/exdb/mnist, "the IDX file format": a magic number whose last byte counts the axes,
    the length of each axis (all big-endian), then the bytes.
    Raises DataError for another format, and for one byte too few or too many.
    """
    axes = magic & 0xFF
    header_size = 4 * (1 + axes)
    try:
        with gzip.open(path) as stream:
            header = stream.read(header_size)
            if len(header) < header_size:
                raise DataError(f"{path}: ends within the IDX header; {_remedy(path)}")
            actual, *shape = struct.unpack(f">{1 + axes}I", header)
            if actual != magic:
                raise DataError(
                    f"{path}: magic number 0x{actual:08x}, expected 0x{magic:08x}; {_remedy(path)}"
                )
            size = math.prod(shape)
            if size > LARGEST:
                raise DataError(f"{path}: announces {size} bytes, more than {LARGEST}; {_remedy(path)}")
            content = stream.read(size + 1)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {_remedy(path)}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); {_remedy(path)}") from error
    if len(content) != size:
        relation = "more" if len(content) > size else f"{len(content)}"
        raise DataError(f"{path}: announces {size} bytes of {shape}, holds {relation}; {_remedy(path)}")
    return np.frombuffer(content, np.uint8).reshape(shape), hashlib.sha256(header + content).hexdigest()


def _remedy(path: Path) -> str:
    return f"run 'dvc repro -f download@{path.parent.name}'"


def read_digits(folder: Path, prefix: str, classes: int = CLASSES) -> Digits:
    """Read `<prefix>images-idx3-ubyte.gz` and its labels. Raises DataError when one doesn't fit the other."""
    image_path, label_path = (folder / f"{prefix}{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    images, image_digest = read_idx(image_path, IMAGES_MAGIC)
    labels, label_digest = read_idx(label_path, LABELS_MAGIC)
    if len(images) != len(labels):
        raise DataError(
            f"{label_path}: {len(labels)} labels for the {len(images)} images of {image_path.name}; "
            f"{_remedy(label_path)}"
        )
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise DataError(
            f"{label_path}: label {wrong[0]} is {labels[wrong[0]]}, expected 0 to {classes - 1}; "
            f"{_remedy(label_path)}"
        )
    sources = {image_path.stem: image_digest, label_path.stem: label_digest}
    return Digits(images[:, None], labels, sources)  # (N, H, W) -> (N, 1, H, W)


def every_fifth_is_test(folder: Path, classes: int = CLASSES) -> dict[str, Digits]:
    """Record i is test if i % 5 == 4, else train, so that classes keep their proportions in a sorted file."""
    digits = read_digits(folder, "", classes)
    test = np.arange(len(digits.labels)) % 5 == 4
    return {"train": _select(digits, ~test), "test": _select(digits, test)}


def last_5000_are_validation(folder: Path) -> dict[str, Digits]:
    """MNIST's files: the last 5,000 of `train-` are validation, `t10k-` is test."""
    digits = read_digits(folder, "train-")
    if len(digits.labels) <= VALIDATION:
        raise DataError(
            f"{folder}: {len(digits.labels)} train images, more than {VALIDATION} are needed; "
            f"{_remedy(folder / 'train')}"
        )
    validation = np.arange(len(digits.labels)) >= len(digits.labels) - VALIDATION
    return {
        "train": _select(digits, ~validation),
        "validation": _select(digits, validation),
        "test": read_digits(folder, "t10k-"),
    }


def _select(digits: Digits, chosen: NDArray[np.bool_]) -> Digits:
    return digits._replace(images=digits.images[chosen], labels=digits.labels[chosen])


def stack_digits(folder: Path) -> dict[str, Digits]:
    """Make stacked MNIST: three digits drawn at random, one per channel; the label is 100 r + 10 g + b.

    Srivastava et al., 2017, arXiv:1705.07761, section 4.1; the numbers of images are theirs. Train
    stacks are drawn from the 60,000 digits of `train-`, test stacks from `t10k-`. They are drawn with raw
    Philox output, a stream that will never change.
    """
    digits = {"train": read_digits(folder, "train-"), "test": read_digits(folder, "t10k-")}
    return _stack(digits, STACKED)


def stack_every_fifth(folder: Path) -> dict[str, Digits]:
    """Stack digits as `stack_digits` does, from the splits of `every_fifth_is_test`, two for each digit."""
    digits = every_fifth_is_test(folder)
    return _stack(digits, {split: STACKS_PER_DIGIT * len(found.labels) for split, found in digits.items()})


def _stack(splits: dict[str, Digits], counts: Mapping[str, int]) -> dict[str, Digits]:
    """Draw the stacks of each split from that split's digits alone."""
    stacks = {}
    for seed, (split, digits) in enumerate(splits.items()):
        raw = np.random.Philox(np.random.SeedSequence([0, seed])).random_raw(3 * counts[split])
        # Of 2^64 equally likely numbers, the remainder favours no digit by more than 1 in 10^14.
        chosen = (raw % np.uint64(len(digits.labels))).astype(np.int64).reshape(-1, 3)
        labels = digits.labels[chosen].astype(np.int64) @ np.array([100, 10, 1])
        stacks[split] = digits._replace(labels=labels, stacks=chosen)
    return stacks


SPLIT_RULES: dict[str, Callable[[Path], dict[str, Digits]]] = {
    "every_fifth_is_test": every_fifth_is_test,
    "last_5000_are_validation": last_5000_are_validation,
    "stacked": stack_digits,
    "stacked_every_fifth": stack_every_fifth,
    "mixture": partial(every_fifth_is_test, classes=SIDE**2),
}
