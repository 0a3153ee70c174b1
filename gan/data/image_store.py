"""Owns the format in which images lie on disk, both directions: one LMDB file and its manifest.

Records lie under their number (8 bytes, big-endian, so that the order of keys is the order of
numbers): CRC-32, label, attributes where the set has them (one bit each), pixels. LMDB has no
checksum, and a truncated file kills its reader with SIGBUS, so `<name>.json` beside `<name>.lmdb`
holds size and hashes, is written last, and is compared with the file before LMDB maps it. Equal
records give equal bytes on machines of equal page size; `digest` is over the records themselves and
equal everywhere.
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
from typing import Annotated, Any, Literal, NamedTuple, Self

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
NO_LABEL = -1
BATCH = 4096  # records per write transaction, or fewer where they are large;
BATCH_BYTES = 2**25  # both are part of what makes the file's bytes equal
SPLITS = ("train", "validation", "test")
# Up to this size the whole file is hashed when a process first opens it (0.2 s). Above it, size and
# SAMPLED records are: truncation, the fault that would kill the reader, always shows in the size,
# and a changed pixel shows in its record's CRC whenever that record is read.
HASHED_BYTES = 256 * 2**20
SAMPLED = 256

Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Indices = Sequence[int] | NDArray[np.integer[Any]]


class Record(NamedTuple):
    """One image on its way into a store."""

    pixels: NDArray[np.uint8]  # (C, H, W)
    label: int = NO_LABEL
    attributes: Sequence[bool] = ()  # one for each name that the store has


class Skipped(StrictModel):
    """An image of the source that is not in the store."""

    name: str
    reason: str


class StoreManifest(StrictModel):
    """What a store promises about its file."""

    format: Literal[1]
    count: Count
    image: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)]
    splits: dict[str, Annotated[list[Count], Field(min_length=2, max_length=2)]]
    digest: Sha256  # of the shape, the splits and every label, attribute and image in order
    bytes: Count
    sha256: Sha256
    recipe: dict[str, Any]
    attributes: list[str] = []
    skipped: list[Skipped] = []
    seal: Sha256  # of all other fields: a changed digit in a split would pass every other check

    @property
    def shape(self) -> ImageShape:
        """Channels, height, width."""
        return ImageShape(*self.image)


def write_store(
    path: Path,
    records: Iterable[Record | tuple[NDArray[np.uint8], int] | None],
    *,
    image: ImageShape,
    splits: dict[str, tuple[int, int]],
    recipe: dict[str, Any],
    attributes: Sequence[str] = (),
    skipped: Sequence[Skipped] = (),
) -> None:
    """Write records, numbered from 0, to `path` and their manifest beside it. Both appear whole.

    records: uint8 arrays of shape `image` with their labels, as many as the splits cover; None stands
    for one that is left out, and the numbers of those after it close the gap.
    splits: name -> [begin, end), one after the other from 0 on, in the order train, validation, test.
    attributes: names of the yes-or-no attributes that each record has.
    skipped: what was left out and why; may grow while the records are read.
    Raises DataError when the records aren't what `image` and `splits` say, OSError when the disk is full.
    """
    count = _covered(splits)
    packer = _Packer(path, image, splits, attributes)
    with replaced_atomically(path) as temporary:
        try:
            _write_records(temporary, packer.pack(records), _map_size(count, packer.size), packer.size)
            digest = packer.digest.hexdigest() if not packer.left_out else _digest_again(temporary, packer)
        except lmdb.Error as error:
            # LMDB's error for a full disk is no OSError, by which a stage knows its exit code.
            raise OSError(errno.EIO, f"LMDB can't write ({error}); is the disk full?", str(path)) from error
        manifest = {
            "format": FORMAT,
            "count": count - packer.left_out,
            "image": list(image),
            "splits": {name: list(bounds) for name, bounds in packer.splits().items()},
            "digest": digest,
            "bytes": temporary.stat().st_size,
            "sha256": sha256_of(temporary),
            "recipe": recipe,
        }
    if attributes:
        manifest["attributes"] = list(attributes)
    if skipped:
        manifest["skipped"] = [entry.model_dump() for entry in skipped]
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


def _begin_digest(
    image: ImageShape, splits: dict[str, tuple[int, int]], attributes: Sequence[str]
) -> "hashlib._Hash":
    described = {"format": FORMAT, "image": image, "splits": splits}
    if attributes:
        described["attributes"] = list(attributes)
    return hashlib.sha256(_canonical(described))


class _Packer:
    """Checks records on their way into a file, numbers them, and takes each into the digest."""

    def __init__(
        self,
        path: Path,
        image: ImageShape,
        splits: dict[str, tuple[int, int]],
        attributes: Sequence[str],
    ) -> None:
        self.path = path
        self.image = image
        self.attributes = attributes
        self.size = _record_size(image, len(attributes))
        self.digest = _begin_digest(image, splits, attributes)
        self.left_out = 0
        self._promised = splits
        self._left_out_of = dict.fromkeys(splits, 0)

    def pack(
        self, records: Iterable[Record | tuple[NDArray[np.uint8], int] | None]
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values."""
        index = -1
        for index, record in enumerate(records):
            if record is None:
                self._leave_out(index)
                continue
            number = index - self.left_out
            key, body = KEY.pack(number), self._body(number, Record(*record))
            self.digest.update(body)
            yield key, zlib.crc32(key + body).to_bytes(4, "big") + body
        promised = max(end for _, end in self._promised.values())
        if index + 1 != promised:
            raise DataError(
                f"{self.path}: got {index + 1} records, the splits cover {promised}; check the raw files"
            )

    def splits(self) -> dict[str, tuple[int, int]]:
        """Bounds of the splits as written. Raises DataError when nothing is left of one."""
        found = {}
        begin = 0
        for name in (name for name in SPLITS if name in self._promised):
            promised_begin, promised_end = self._promised[name]
            end = begin + promised_end - promised_begin - self._left_out_of[name]
            if end == begin:
                raise DataError(f"{self.path}: every record of {name} was left out; check the raw files")
            found[name] = (begin, end)
            begin = end
        return found

    def _leave_out(self, index: int) -> None:
        self.left_out += 1
        for name, (begin, end) in self._promised.items():
            self._left_out_of[name] += begin <= index < end

    def _body(self, number: int, record: Record) -> bytes:
        pixels = record.pixels
        if pixels.dtype != np.uint8 or pixels.shape != tuple(self.image):
            raise DataError(
                f"{self.path}: record {number} is {pixels.dtype} {pixels.shape}, "
                f"the store is uint8 {tuple(self.image)}; check the raw files"
            )
        if len(record.attributes) != len(self.attributes):
            raise DataError(
                f"{self.path}: record {number} has {len(record.attributes)} attributes, "
                f"the store {len(self.attributes)}; check the raw files"
            )
        bits = np.packbits(np.asarray(record.attributes, np.bool_)).tobytes()
        return LABEL.pack(record.label) + bits + pixels.tobytes()


def _record_size(image: ImageShape, attributes: int) -> int:
    return HEADER.size + (attributes + 7) // 8 + math.prod(image)


def _write_records(path: Path, items: Iterator[tuple[bytes, bytes]], map_size: int, size: int) -> None:
    """Write items to a store that grows, and a compact copy of it, without its free pages, to `path`."""
    # The growing file loses its name as soon as it is open, so that a killed writer leaves none. It
    # needs no sync. Memory is zeroed before it is written (meminit), or uninitialised heap bytes
    # would lie in the file and differ every time.
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
        growing = f"{folder}/growing.lmdb"
        environment = lmdb.open(
            growing, subdir=False, map_size=map_size, sync=False, lock=False, meminit=True, writemap=False
        )
    per_transaction = max(1, min(BATCH, BATCH_BYTES // size))
    with environment:
        while batch := list(itertools.islice(items, per_transaction)):
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    if not transaction.put(key, value, append=True):
                        # LMDB says so only by this answer, and drops the record.
                        raise RuntimeError(f"record {KEY.unpack(key)[0]} came out of order")
        with path.open("wb") as stream:
            environment.copyfd(stream.fileno(), compact=True)


def _map_size(count: int, size: int) -> int:
    """Room for twice the records, each rounded up by a page. A function of the data alone: it is stored."""
    return 2 * count * (size + 4096) + 2**24


def _digest_again(path: Path, packer: _Packer) -> str:
    """Digest of a file whose splits were known only when its last record was written."""
    digest = _begin_digest(packer.image, packer.splits(), packer.attributes)
    with _open_readonly(path) as environment, environment.begin() as transaction:
        for value in transaction.cursor().iternext(keys=False):
            digest.update(value[4:])
    return digest.hexdigest()


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
        self._pixels_at = _record_size(self.image, len(self.attributes)) - math.prod(self.image)
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
                    raise DataError(f"{path}: record {number} is missing; {_remedy(path)}")
                if not checked[number]:
                    crc = int.from_bytes(value[:4], "big")
                    if len(value) != size or zlib.crc32(value[4:], zlib.crc32(key)) != crc:
                        raise DataError(
                            f"{path}: record {number} is changed, its CRC is wrong; {_remedy(path)}"
                        )
                    checked[number] = 1
                values.append(value)
            return bytearray().join(values)
    except lmdb.Error as error:
        raise DataError(f"{path}: LMDB can't read it ({error}); {_remedy(path)}") from error


_opened: dict[tuple[int, int], _Opened] = {}  # by device and inode: a file that was rebuilt is another one
_opening = threading.Lock()


def _renew_lock() -> None:
    """Give a forked child a lock of its own: one that another thread held then would stay held for ever."""
    global _opening
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def _open_checked(path: Path, manifest: StoreManifest) -> _Opened:
    """Compare a store with its manifest and open it, or return it when this process has done so."""
    with _opening:
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file; {_remedy(path)}") from error
        file = (status.st_dev, status.st_ino)
        known = _opened.get(file)
        if known is not None and known.pid == os.getpid() and known.sha256 == manifest.sha256:
            return known
        _check_file(path, manifest)
        if known is not None:
            # After a fork this is the parent's; closing it here leaves the parent's own untouched.
            known.environment.close()
        opened = _Opened.new(_open_readonly(path), manifest)
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


def _check_samples(path: Path, opened: _Opened, manifest: StoreManifest) -> None:
    """Check records spread evenly over a file that is too large to be hashed at every start."""
    if manifest.bytes <= HASHED_BYTES:
        return
    numbers = np.linspace(0, manifest.count - 1, SAMPLED, dtype=np.int64)
    _checked_values(path, opened, numbers, _record_size(manifest.shape, len(manifest.attributes)))
