"""Owns the format in which images lie on disk, both directions: one LMDB file and its manifest.

Records lie under their number (8 bytes, big-endian, so that the order of keys is the order of
numbers): CRC-32, label, pixels. LMDB has no checksum, and a truncated file kills its reader with
SIGBUS, so `<name>.json` beside `<name>.lmdb` holds size and hashes, is written last, and is compared
with the file before LMDB maps it. Equal records give equal bytes on machines of equal page size;
`digest` is over the records themselves and equal everywhere.
"""

import errno
import hashlib
import itertools
import json
import math
import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import lmdb
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from gan.contract import ImageShape, StrictModel
from gan.errors import ConfigError, DataError
from gan.files import read_json, replaced_atomically, sha256_of, write_json

FORMAT = 1
HEADER = struct.Struct(">Ii")  # CRC-32 of key, label and pixels; label
KEY = struct.Struct(">Q")
LABEL = struct.Struct(">i")
BATCH = 4096  # records per write transaction; part of what makes the file's bytes equal
SPLITS = ("train", "validation", "test")
# Up to this size the whole file is hashed when a process first opens it (0.2 s). Above it, size and
# SAMPLED records are: truncation, the fault that would kill the reader, always shows in the size,
# and a changed pixel shows in its record's CRC whenever that record is read.
HASHED_BYTES = 256 * 2**20
SAMPLED = 256

Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Indices = Sequence[int] | NDArray[np.integer[Any]]


class StoreManifest(StrictModel):
    """What a store promises about its file."""

    format: Literal[1]
    count: Count
    image: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)]
    splits: dict[str, Annotated[list[Count], Field(min_length=2, max_length=2)]]
    digest: Sha256  # of the shape, the splits and every label and image in order
    bytes: Count
    sha256: Sha256
    recipe: dict[str, Any]
    seal: Sha256  # of all other fields: a changed digit in a split would pass every other check

    @property
    def shape(self) -> ImageShape:
        """Channels, height, width."""
        return ImageShape(*self.image)


def write_store(
    path: Path,
    records: Iterable[tuple[NDArray[np.uint8], int]],
    *,
    image: ImageShape,
    splits: dict[str, tuple[int, int]],
    recipe: dict[str, Any],
) -> None:
    """Write records, numbered from 0, to `path` and their manifest beside it. Both appear whole.

    records: uint8 arrays of shape `image` with their labels, as many as the splits cover.
    splits: name -> [begin, end), one after the other from 0 on, in the order train, validation, test.
    Raises DataError when the records aren't what `image` and `splits` say, OSError when the disk is full.
    """
    count = _covered(splits)
    digest = hashlib.sha256(_canonical({"format": FORMAT, "image": image, "splits": splits}))
    with replaced_atomically(path) as temporary:
        items = _packed(records, image, count, digest, path)
        try:
            _write_records(temporary, items, _map_size(count, image))
        except lmdb.Error as error:
            # LMDB's error for a full disk is no OSError, by which a stage knows its exit code.
            raise OSError(errno.EIO, f"LMDB can't write ({error}); is the disk full?", str(path)) from error
        manifest = {
            "format": FORMAT,
            "count": count,
            "image": list(image),
            "splits": {name: list(bounds) for name, bounds in splits.items()},
            "digest": digest.hexdigest(),
            "bytes": temporary.stat().st_size,
            "sha256": sha256_of(temporary),
            "recipe": recipe,
        }
    write_json(manifest_path(path), manifest | {"seal": _seal(manifest)})


def manifest_path(path: Path) -> Path:
    """Where the manifest of a store lies."""
    return path.with_suffix(".json")


def _covered(splits: dict[str, tuple[int, int]]) -> int:
    """Count the records that the splits cover. Raises ValueError when they overlap or leave a gap."""
    end = 0
    for name in (name for name in SPLITS if name in splits):
        begin, stop = splits[name]
        if begin != end or stop <= begin:
            raise ValueError(f"split {name} is [{begin}, {stop}), expected it to begin at {end}")
        end = stop
    if not splits or not set(splits) <= set(SPLITS):
        raise ValueError(f"splits are {sorted(splits)}, expected some of {SPLITS}")
    return end


def _packed(
    records: Iterable[tuple[NDArray[np.uint8], int]],
    image: ImageShape,
    count: int,
    digest: "hashlib._Hash",
    path: Path,
) -> Iterator[tuple[bytes, bytes]]:
    """Check records and yield their keys and values; the digest takes in each of them."""
    number = -1
    for number, (pixels, label) in enumerate(records):
        if pixels.dtype != np.uint8 or pixels.shape != tuple(image):
            raise DataError(
                f"{path}: record {number} is {pixels.dtype} {pixels.shape}, "
                f"the store is uint8 {tuple(image)}; check the raw files"
            )
        key = KEY.pack(number)
        body = LABEL.pack(label) + pixels.tobytes()
        digest.update(body)
        yield key, zlib.crc32(key + body).to_bytes(4, "big") + body
    if number + 1 != count:
        raise DataError(f"{path}: got {number + 1} records, the splits cover {count}; check the raw files")


def _write_records(path: Path, items: Iterator[tuple[bytes, bytes]], map_size: int) -> None:
    """Write items to a store that grows, and a compact copy of it, without its free pages, to `path`."""
    # The growing file loses its name as soon as it is open, so that a killed writer leaves none. It
    # needs no sync. Memory is zeroed before it is written (meminit), or uninitialised heap bytes
    # would lie in the file and differ every time.
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
        growing = f"{folder}/growing.lmdb"
        environment = lmdb.open(
            growing, subdir=False, map_size=map_size, sync=False, lock=False, meminit=True, writemap=False
        )
    with environment:
        while batch := list(itertools.islice(items, BATCH)):
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    if not transaction.put(key, value, append=True):
                        # LMDB says so only by this answer, and drops the record.
                        raise RuntimeError(f"record {KEY.unpack(key)[0]} came out of order")
        with path.open("wb") as stream:
            environment.copyfd(stream.fileno(), compact=True)


def _map_size(count: int, image: ImageShape) -> int:
    """Room for twice the records, each rounded up by a page. A function of the data alone: it is stored."""
    return 2 * count * (HEADER.size + math.prod(image) + 4096) + 2**24


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(manifest)).hexdigest()


def _remedy(path: Path) -> str:
    return f"run 'dvc repro -f convert@{path.stem}'"


def read_manifest(path: Path) -> StoreManifest:
    """Read the manifest of the store at `path`. Raises DataError when there is none or it was changed."""
    source = manifest_path(path)
    try:
        raw = read_json(source)
        manifest = StoreManifest.model_validate(raw)
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file, {path.name} is incomplete; {_remedy(path)}") from error
    except (ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{source}: not the manifest of a store ({reason}); {_remedy(path)}") from error
    if manifest.seal != _seal({key: value for key, value in raw.items() if key != "seal"}):
        raise DataError(f"{source}: was changed after it was written; {_remedy(path)}")
    return manifest


class ImageStore:
    """One split of a store: images and labels by their position in the split.

    The file is checked and opened when a record is first read, once in each process; stores of one
    file share it, since LMDB refuses to open a file twice. A pickled or forked store opens anew.
    Raises ConfigError for a split that isn't there, DataError for a file that isn't what its
    manifest says, for a changed record, and for anything that LMDB objects to.
    """

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        self._manifest = read_manifest(path)
        if split not in self._manifest.splits:
            raise ConfigError(f"{path} has no split {split!r}; it has {', '.join(self._manifest.splits)}")
        self._begin, self._end = self._manifest.splits[split]
        self._size = HEADER.size + math.prod(self.image)
        self._opened: tuple[int, lmdb.Environment] | None = None

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

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Images at these positions, in this order: uint8 (N, C, H, W)."""
        return self._read(indices)[:, HEADER.size :].reshape(-1, *self.image)

    def read_labels(self, indices: Indices) -> NDArray[np.int64]:
        """Labels at these positions, in this order: int64 (N,)."""
        labels = self._read(indices)[:, 4 : HEADER.size].copy().view(">i4")
        return labels.reshape(-1).astype(np.int64)

    def _read(self, indices: Indices) -> NDArray[np.uint8]:
        """Values of records, one a row, each checked against its CRC."""
        positions = np.asarray(indices, np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"{self.path}: positions {positions.min()} to {positions.max()} of {len(self)}")
        values = _checked_values(self.path, self._environment(), positions + self._begin, self._size)
        return np.frombuffer(bytearray().join(values), np.uint8).reshape(len(values), self._size)

    def _environment(self) -> lmdb.Environment:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _open_checked(self.path, self._manifest))
        return self._opened[1]


def _checked_values(
    path: Path, environment: lmdb.Environment, numbers: NDArray[np.int64], size: int
) -> list[bytes]:
    """Values of records in one transaction, each compared with its CRC."""
    keys = [KEY.pack(number) for number in numbers.tolist()]
    try:
        with environment.begin() as transaction:
            values = [transaction.get(key) or b"" for key in keys]
    except lmdb.Error as error:
        raise DataError(f"{path}: LMDB can't read it ({error}); {_remedy(path)}") from error
    for key, value in zip(keys, values, strict=True):
        if len(value) != size or zlib.crc32(key + value[4:]) != int.from_bytes(value[:4], "big"):
            found = "changed, its CRC is wrong" if value else "missing"
            raise DataError(f"{path}: record {KEY.unpack(key)[0]} is {found}; {_remedy(path)}")
    return values


class _Opened(NamedTuple):
    pid: int
    sha256: str  # what the manifest promised when the file was checked
    environment: lmdb.Environment


_opened: dict[tuple[int, int], _Opened] = {}  # by device and inode: a file that was rebuilt is another one
_opening = threading.Lock()


def _open_checked(path: Path, manifest: StoreManifest) -> lmdb.Environment:
    """Compare a store with its manifest and open it, or return it when this process has done so."""
    with _opening:
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file; {_remedy(path)}") from error
        file = (status.st_dev, status.st_ino)
        known = _opened.get(file)
        if known is not None and known.pid == os.getpid() and known.sha256 == manifest.sha256:
            return known.environment
        _check_file(path, manifest)
        if known is not None:
            # After a fork this is the parent's; closing it here leaves the parent's own untouched.
            known.environment.close()
        environment = _open_readonly(path)
        try:
            _check_samples(path, environment, manifest)
        except DataError:
            environment.close()
            raise
        _opened[file] = _Opened(os.getpid(), manifest.sha256, environment)
        return environment


def _check_file(path: Path, manifest: StoreManifest) -> None:
    size = path.stat().st_size
    if size != manifest.bytes:
        raise DataError(f"{path}: has {size} bytes, its manifest says {manifest.bytes}; {_remedy(path)}")
    if size <= HASHED_BYTES and sha256_of(path) != manifest.sha256:
        raise DataError(f"{path}: its SHA-256 is not the manifest's; {_remedy(path)}")


def _open_readonly(path: Path) -> lmdb.Environment:
    try:
        # Without a lock file: readers need none, and DVC would see it as a changed output. Without
        # read-ahead: training reads records in random order.
        return lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise DataError(f"{path}: LMDB can't open it ({error}); {_remedy(path)}") from error


def _check_samples(path: Path, environment: lmdb.Environment, manifest: StoreManifest) -> None:
    """Check records spread evenly over a file that is too large to be hashed at every start."""
    if manifest.bytes <= HASHED_BYTES:
        return
    numbers = np.linspace(0, manifest.count - 1, SAMPLED, dtype=np.int64)
    _checked_values(path, environment, numbers, HEADER.size + math.prod(manifest.image))
