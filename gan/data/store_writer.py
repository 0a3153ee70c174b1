"""Owns how a store is written: records in order into one LMDB file, its manifest last.

Equal records give equal bytes on machines of equal page size.
"""

import errno
import hashlib
import itertools
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray

from gan.contract import ImageShape
from gan.data.image_store import KEY, LABEL, Record, open_readonly, record_size
from gan.data.store_manifest import FORMAT, SPLITS, Skipped, canonical, manifest_path, seal_of
from gan.errors import DataError
from gan.files import replaced_atomically, sha256_of, write_json

BATCH = 4096  # records per write transaction, or fewer where they are large;
BATCH_BYTES = 2**25  # both are part of what makes the file's bytes equal


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
            # LMDB's error for a full disk isn't an OSError, which the exit code depends on.
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
    write_json(manifest_path(path), manifest | {"seal": seal_of(manifest)})


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
    return hashlib.sha256(canonical(described))


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
        self.size = record_size(image, len(attributes))
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
                        # LMDB reports a failed write only by this return value.
                        raise RuntimeError(f"record {KEY.unpack(key)[0]} came out of order")
        with path.open("wb") as stream:
            environment.copyfd(stream.fileno(), compact=True)


def _map_size(count: int, size: int) -> int:
    """Room for twice the records, each rounded up by a page. A function of the data alone: it is stored."""
    return 2 * count * (size + 4096) + 2**24


def _digest_again(path: Path, packer: _Packer) -> str:
    """Digest of a file whose splits were known only when its last record was written."""
    digest = _begin_digest(packer.image, packer.splits(), packer.attributes)
    with open_readonly(path) as environment, environment.begin() as transaction:
        for value in transaction.cursor().iternext(keys=False):
            digest.update(value[4:])
    return digest.hexdigest()
