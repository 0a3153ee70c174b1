"""Owns the format of images on disk, and reading them: records in one LMDB file.

Records lie under their number (8 bytes, big-endian, so that the order of keys is the order of
numbers): CRC-32, label, attributes where the set has them (one bit each), pixels.
"""

import math
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import lmdb
import numpy as np
from numpy.typing import NDArray

from gan.contract import ImageShape
from gan.data.store_manifest import StoreManifest, read_manifest, remedy
from gan.errors import ConfigError, DataError
from gan.files import sha256_of

HEADER = struct.Struct(">Ii")  # CRC-32 of key, label and pixels; label
KEY = struct.Struct(">Q")
LABEL = struct.Struct(">i")
NO_LABEL = -1
# Up to this size the whole file is hashed when a process first opens it (0.2 s). Above it, size and
# SAMPLED records are: truncation, the fault that would kill the reader, always shows in the size,
# and a changed pixel shows in its record's CRC whenever that record is read.
HASHED_BYTES = 256 * 2**20
SAMPLED = 256

Indices = Sequence[int] | NDArray[np.integer[Any]]


class Record(NamedTuple):
    """One image on its way into a store."""

    pixels: NDArray[np.uint8]  # (C, H, W)
    label: int = NO_LABEL
    attributes: Sequence[bool] = ()  # one for each name that the store has


def record_size(image: ImageShape, attributes: int) -> int:
    """Bytes of a record: header, attributes, pixels."""
    return HEADER.size + (attributes + 7) // 8 + math.prod(image)


class ImageStore:
    """One split of a store: images and labels by their position in the split.

    The file is checked and opened when a record is first read, once in each process; stores of one
    file share it, since LMDB refuses to open a file twice. A pickled or forked store opens anew. Several
    threads may read at once: each reading is a transaction of its own, bound to no thread (LMDB's MDB_NOTLS).
    Raises ConfigError for a split that isn't there, DataError for a file that isn't what its
    manifest says, for a changed record, and for anything that LMDB objects to.
    """

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        self._manifest = read_manifest(path)
        if split not in self._manifest.splits:
            raise ConfigError(f"{path} has no split {split!r}; it has {', '.join(self._manifest.splits)}")
        self._begin, self._end = self._manifest.splits[split]
        self._pixels_at = record_size(self.image, len(self.attributes)) - math.prod(self.image)
        self._opened: _Opened | None = None

    def __len__(self) -> int:
        return self._end - self._begin

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    @property
    def image(self) -> ImageShape:
        """Shape of every image."""
        return self._manifest.shape

    @property
    def digest(self) -> str:
        """SHA-256 over the shape, the splits and all records: equal for equal data."""
        return self._manifest.digest

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes that each image has; empty for most sets."""
        return self._manifest.attributes

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Images at these positions, in this order: uint8 (N, C, H, W)."""
        return self._read(indices)[:, self._pixels_at :].reshape(-1, *self.image)

    def read_labels(self, indices: Indices) -> NDArray[np.int64]:
        """Labels at these positions, in this order: int64 (N,)."""
        labels = self._read(indices)[:, 4 : HEADER.size].copy().view(">i4")
        return labels.reshape(-1).astype(np.int64)

    def read_attributes(self, indices: Indices) -> NDArray[np.bool_]:
        """Attributes at these positions, in this order: bool (N, len(attributes))."""
        bits = self._read(indices)[:, HEADER.size : self._pixels_at]
        return np.unpackbits(bits, axis=1, count=len(self.attributes)).astype(np.bool_)

    def _read(self, indices: Indices) -> NDArray[np.uint8]:
        """Values of records, one a row, each checked against its CRC when it is first read."""
        positions = np.asarray(indices, np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"{self.path}: positions {positions.min()} to {positions.max()} of {len(self)}")
        if self._opened is None or self._opened.pid != os.getpid():
            self._opened = _open_checked(self.path, self._manifest)
        size = self._pixels_at + math.prod(self.image)
        values = _checked_values(self.path, self._opened, positions + self._begin, size)
        return np.frombuffer(values, np.uint8).reshape(len(positions), size)


class _Opened(NamedTuple):
    pid: int
    sha256: str  # what the manifest promised when the file was checked
    environment: lmdb.Environment
    checked: bytearray  # by number: 1 when this process has compared the record with its CRC

    @classmethod
    def new(cls, environment: lmdb.Environment, manifest: StoreManifest) -> Self:
        return cls(os.getpid(), manifest.sha256, environment, bytearray(manifest.count))


def _checked_values(path: Path, opened: _Opened, numbers: NDArray[np.int64], size: int) -> bytearray:
    """Values of records, one after the other, read in one transaction.

    Each is compared with its CRC when it is first read: later epochs would spend a third of their
    reading on a file that this process has seen whole.
    """
    checked = opened.checked
    try:
        # Buffers lie in the file's map, so that each byte is copied once. They end with the transaction.
        with opened.environment.begin(buffers=True) as transaction:
            values = []
            for number in numbers.tolist():
                key = KEY.pack(number)
                value = transaction.get(key)
                if value is None:
                    raise DataError(f"{path}: record {number} is missing; {remedy(path)}")
                if not checked[number]:
                    crc = int.from_bytes(value[:4], "big")
                    if len(value) != size or zlib.crc32(value[4:], zlib.crc32(key)) != crc:
                        raise DataError(
                            f"{path}: record {number} is changed, its CRC is wrong; {remedy(path)}"
                        )
                    checked[number] = 1
                values.append(value)
            return bytearray().join(values)
    except lmdb.Error as error:
        raise DataError(f"{path}: LMDB can't read it ({error}); {remedy(path)}") from error


_opened: dict[tuple[int, int], _Opened] = {}  # by device and inode: a rebuilt file is another one
_opening = threading.Lock()


def _renew_lock() -> None:
    """Give a forked child its own lock: one that another thread held at the fork would never be released."""
    global _opening
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def _open_checked(path: Path, manifest: StoreManifest) -> _Opened:
    """Check a store against its manifest and open it, or return it if this process has opened it already."""
    with _opening:
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file; {remedy(path)}") from error
        file = (status.st_dev, status.st_ino)
        known = _opened.get(file)
        if known is not None and known.pid == os.getpid() and known.sha256 == manifest.sha256:
            return known
        _check_file(path, manifest)
        if known is not None:
            # After a fork this belongs to the parent; closing it here doesn't affect the parent's.
            known.environment.close()
        opened = _Opened.new(open_readonly(path), manifest)
        try:
            _check_samples(path, opened, manifest)
        except DataError:
            opened.environment.close()
            raise
        _opened[file] = opened
        return opened


def _check_file(path: Path, manifest: StoreManifest) -> None:
    size = path.stat().st_size
    if size != manifest.bytes:
        raise DataError(f"{path}: has {size} bytes, its manifest says {manifest.bytes}; {remedy(path)}")
    if size <= HASHED_BYTES and sha256_of(path) != manifest.sha256:
        raise DataError(f"{path}: its SHA-256 is not the manifest's; {remedy(path)}")


def open_readonly(path: Path) -> lmdb.Environment:
    """Open an LMDB file to read. Raises DataError."""
    try:
        # Without a lock file: readers need none, and DVC would see it as a changed output. Without
        # read-ahead: training reads records in random order.
        return lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise DataError(f"{path}: LMDB can't open it ({error}); {remedy(path)}") from error


def _check_samples(path: Path, opened: _Opened, manifest: StoreManifest) -> None:
    """Check records spread evenly over a file that is too large to be hashed at every start."""
    if manifest.bytes <= HASHED_BYTES:
        return
    numbers = np.linspace(0, manifest.count - 1, SAMPLED, dtype=np.int64)
    _checked_values(path, opened, numbers, record_size(manifest.shape, len(manifest.attributes)))
