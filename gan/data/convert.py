"""Owns the way from raw files to records of a store: MNIST's IDX format, and which record is in which split.

Loads no torch. Records come in the order train, validation, test.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.contract import ImageShape
from gan.errors import ConfigError, DataError

IMAGES_MAGIC = 0x0803  # unsigned bytes, 3 axes
LABELS_MAGIC = 0x0801  # unsigned bytes, 1 axis
CLASSES = 10
VALIDATION = 5000
LARGEST = 2**31  # bytes of content that a header may announce

Record = tuple[NDArray[np.uint8], int]
Splits = dict[str, tuple[int, int]]


class Digits(NamedTuple):
    """Images and labels of one file, or of a part of it."""

    images: NDArray[np.uint8]  # (N, 1, H, W)
    labels: NDArray[np.uint8]  # (N,)
    sources: dict[str, str]  # file name -> SHA-256 of its uncompressed content


class Conversion(NamedTuple):
    """What a store is written from."""

    image: ImageShape
    splits: Splits
    recipe: dict[str, Any]
    records: Iterator[Record]


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
            found, *shape = struct.unpack(f">{1 + axes}I", header)
            if found != magic:
                raise DataError(
                    f"{path}: magic number 0x{found:08x}, expected 0x{magic:08x}; {_remedy(path)}"
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


def read_digits(folder: Path, prefix: str) -> Digits:
    """Read `<prefix>images-idx3-ubyte.gz` and its labels. Raises DataError when one doesn't fit the other."""
    image_path, label_path = (folder / f"{prefix}{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    images, image_digest = read_idx(image_path, IMAGES_MAGIC)
    labels, label_digest = read_idx(label_path, LABELS_MAGIC)
    if len(images) != len(labels):
        raise DataError(
            f"{label_path}: {len(labels)} labels for the {len(images)} images of {image_path.name}; "
            f"{_remedy(label_path)}"
        )
    wrong = np.flatnonzero(labels >= CLASSES)
    if len(wrong):
        raise DataError(
            f"{label_path}: label {wrong[0]} is {labels[wrong[0]]}, digits are 0 to 9; {_remedy(label_path)}"
        )
    sources = {image_path.stem: image_digest, label_path.stem: label_digest}
    return Digits(images[:, None], labels, sources)  # (N, H, W) -> (N, 1, H, W)


def every_fifth_is_test(folder: Path) -> dict[str, Digits]:
    """Record i is test when i % 5 == 4, else train: a file sorted by class keeps its proportions."""
    digits = read_digits(folder, "")
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


SPLIT_RULES: dict[str, Callable[[Path], dict[str, Digits]]] = {
    "every_fifth_is_test": every_fifth_is_test,
    "last_5000_are_validation": last_5000_are_validation,
}


def convert(folder: Path, split_rule: str, image: ImageShape) -> Conversion:
    """Read the raw files of a data set and lay out its records.

    Raises DataError for files that are broken, ConfigError when their images don't have the shape `image`.
    """
    parts = SPLIT_RULES[split_rule](folder)
    splits: Splits = {}
    end = 0
    for name, digits in parts.items():
        found = ImageShape(*digits.images.shape[1:])
        if found != image:
            raise ConfigError(
                f"datasets.{folder.name}.image is {list(image)}, the files in {folder} hold {list(found)}; "
                "correct params.yaml"
            )
        splits[name] = (end, end + len(digits.labels))
        end = splits[name][1]
    sources = {name: digest for digits in parts.values() for name, digest in digits.sources.items()}
    return Conversion(image, splits, {"split": split_rule, "sources": sources}, _records(parts))


def _records(parts: dict[str, Digits]) -> Iterator[Record]:
    for digits in parts.values():
        for pixels, label in zip(digits.images, digits.labels, strict=True):
            yield pixels, int(label)
