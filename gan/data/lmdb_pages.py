"""Owns reading untrusted LMDB files, such as LSUN's, page by page and without memory-mapping them.

LMDB's own library trusts every page: a truncated file kills the process that maps it, and a malicious one
can do worse. This reader checks each offset. It takes any seekable stream, so that a database can be read
from inside an archive.

The format is that of LMDB 0.9, data version 1 (lmdb.h, mdb.c: MDB_meta, MDB_db, MDB_page, MDB_node),
64 bits, little-endian: the files that LSUN was published in. Databases with duplicates or with named
sub-databases are refused.
"""

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from gan.errors import DataError

MAGIC = 0xBEEFC0DE
VERSION = 1
PAGE_HEADER = struct.Struct("<QHHHH")  # number, padding, flags, lower, upper
PAGES = struct.Struct("<I")  # number of overflow pages, where other pages have lower and upper
META = struct.Struct("<IIQQ")  # magic, version, address, size of the map
DATABASE = struct.Struct("<IHHQQQQQ")  # padding, flags, depth, branches, leaves, overflows, entries, root
LAST = struct.Struct("<QQ")  # last page, transaction
NODE = struct.Struct("<HHHH")  # low and high half of the size, flags, length of the key
BRANCH, LEAF, OVERFLOW = 0x01, 0x02, 0x04
BIG, SUB, DUPLICATES = 0x01, 0x02, 0x04
NO_PAGE = 2**64 - 1
DEEPEST = 32
PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
LARGEST_KEY = 511


class _Meta(NamedTuple):
    page_size: int
    entries: int
    root: int
    last_page: int
    transaction: int


class LmdbPages:
    """The main database of an LMDB file, in the order of its keys.

    stream: seekable, holding the file from its first byte on; it is not closed. name: for messages.
    largest: most bytes of a value. Raises DataError, here or while records are read, for a file that is not
    LMDB or is damaged.
    """

    def __init__(self, stream: IO[bytes], name: str, *, largest: int = 2**26) -> None:
        self._stream = stream
        self._name = name
        self._largest = largest
        self._size = stream.seek(0, os.SEEK_END)
        self._meta = self._read_meta()
        if self._size < (self._meta.last_page + 1) * self._meta.page_size:
            raise self._fault(f"has {self._size} bytes, its {self._meta.last_page + 1} pages need more")

    def __len__(self) -> int:
        return self._meta.entries

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in the order of the keys."""
        count = 0
        previous: bytes | None = None
        for key, value in self._walk(self._meta.root, DEEPEST) if self._meta.root != NO_PAGE else ():
            if previous is not None and key <= previous:
                raise self._fault(f"key {key!r} comes after {previous!r}")
            count, previous = count + 1, key
            if count > len(self):
                break
            yield key, value
        if count != len(self):
            raise self._fault(
                f"announces {len(self)} records and holds {'more' if count > len(self) else count}"
            )

    def _fault(self, what: str) -> DataError:
        return DataError(f"{self._name}: not a sound LMDB file: {what}")

    def _read(self, position: int, size: int) -> bytes:
        self._stream.seek(position)
        content = self._stream.read(size)
        if len(content) != size:
            raise self._fault(f"ends before byte {position + size}")
        return content

    def _read_meta(self) -> _Meta:
        """Take the newer of the two meta pages that are whole."""
        first = self._parse_meta(0)
        size = first.page_size if first else 4096
        metas = [meta for meta in (first, self._parse_meta(size)) if meta]
        if not metas:
            raise self._fault("its first pages lack LMDB's magic number")
        return max(metas, key=lambda meta: meta.transaction)

    def _parse_meta(self, position: int) -> _Meta | None:
        size = META.size + 2 * DATABASE.size + LAST.size
        if self._size < position + PAGE_HEADER.size + size:
            return None
        content = self._read(position + PAGE_HEADER.size, size)
        magic, version, _, _ = META.unpack_from(content)
        page_size, *_ = DATABASE.unpack_from(content, META.size)  # the free list's padding holds it
        _, flags, _, _, _, _, entries, root = DATABASE.unpack_from(content, META.size + DATABASE.size)
        last_page, transaction = LAST.unpack_from(content, META.size + 2 * DATABASE.size)
        if (magic, version) != (MAGIC, VERSION) or page_size not in PAGE_SIZES:
            return None
        if flags & ~0x8:  # integer keys are fine
            raise self._fault(f"its database has flags 0x{flags:x}")
        return _Meta(page_size, entries, root, last_page, transaction)

    def _walk(self, number: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
        if depth == 0:
            raise self._fault("its tree is too deep")
        page, flags = self._page(number)
        if flags & BRANCH:
            for low, high, top, _, _ in self._nodes(page):
                yield from self._walk(low | high << 16 | top << 32, depth - 1)
        elif flags & LEAF:
            for low, high, kind, length, at in self._nodes(page):
                if kind & (SUB | DUPLICATES):
                    raise self._fault("it has sub-databases or duplicates")
                key = page[at : at + length]
                yield key, self._value(page, at + length, low | high << 16, bool(kind & BIG))
        else:
            raise self._fault(f"page {number} is neither branch nor leaf")

    def _page(self, number: int) -> tuple[bytes, int]:
        if not 2 <= number <= self._meta.last_page:
            raise self._fault(f"a page {number} of {self._meta.last_page + 1}")
        page = self._read(number * self._meta.page_size, self._meta.page_size)
        actual, _, flags, _, _ = PAGE_HEADER.unpack_from(page)
        if actual != number:
            raise self._fault(f"page {number} calls itself {actual}")
        return page, flags

    def _nodes(self, page: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield the header of each node of a page, and where its key begins."""
        *_, lower, upper = PAGE_HEADER.unpack_from(page)
        if not PAGE_HEADER.size <= lower <= upper <= len(page) or lower % 2:
            raise self._fault("a page has wrong bounds")
        for position in range(PAGE_HEADER.size, lower, 2):
            at = int.from_bytes(page[position : position + 2], "little")
            if not upper <= at <= len(page) - NODE.size:
                raise self._fault("a record lies outside its page")
            low, high, flags, length = NODE.unpack_from(page, at)
            if length > LARGEST_KEY or at + NODE.size + length > len(page):
                raise self._fault("a key lies outside its page")
            yield low, high, flags, length, at + NODE.size

    def _value(self, page: bytes, at: int, size: int, is_big: bool) -> bytes:
        if size > self._largest:
            raise self._fault(f"a value of {size} bytes, more than {self._largest}")
        if not is_big:
            if at + size > len(page):
                raise self._fault("a value outside of its page")
            return page[at : at + size]
        if at + 8 > len(page):
            raise self._fault("a value outside of its page")
        number = int.from_bytes(page[at : at + 8], "little")
        if not 2 <= number <= self._meta.last_page:
            raise self._fault(f"a page {number} of {self._meta.last_page + 1}")
        content = self._read(number * self._meta.page_size, PAGE_HEADER.size + size)
        actual, _, flags, _, _ = PAGE_HEADER.unpack_from(content)
        (pages,) = PAGES.unpack_from(content, PAGE_HEADER.size - PAGES.size)
        if actual != number or not flags & OVERFLOW or pages * self._meta.page_size < len(content):
            raise self._fault(f"page {number} holds no value of {size} bytes")
        return content[PAGE_HEADER.size :]


class Window(io.RawIOBase):
    """A part of a file as a file of its own, such as an uncompressed member of an archive."""

    def __init__(self, path: Path, begin: int, size: int) -> None:
        self._stream = path.open("rb")
        self._begin, self._size, self._position = begin, size, 0

    def readable(self) -> bool:  # noqa: D102, this and what follows is io.RawIOBase's
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:  # noqa: D102
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = min(max(0, base + offset), self._size)
        return self._position

    def read(self, size: int = -1) -> bytes:  # noqa: D102
        left = self._size - self._position
        self._stream.seek(self._begin + self._position)
        content = self._stream.read(left if size < 0 else min(size, left))
        self._position += len(content)
        return content

    def close(self) -> None:  # noqa: D102
        self._stream.close()
        super().close()
