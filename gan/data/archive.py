"""Owns reading untrusted archives: members are streamed, hostile ones refused, nothing is extracted.

Names are only looked up and never become paths. Hostile names are refused all the same: they show early
that the archive isn't what it should be.
"""

import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from gan.errors import DataError

CHUNK = 2**20
RATIO = 200  # most of a member's size to its compressed size; pictures and digits stay far below
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")  # that macOS, a Synology and Windows add
END = struct.Struct("<4s4H2LH")  # end of central directory: PKWARE's APPNOTE, 4.3.16
END64 = struct.Struct("<4sQ2H2L4Q")  # its zip64 form, 4.3.14
LOCATOR64 = struct.Struct("<4sLQL")
LOCAL = struct.Struct("<4s5H3L2H")  # local file header, 4.3.7
ENCRYPTED = 0x1
UTF8 = 0x800


class Limits(NamedTuple):
    """What an archive may hold at most."""

    entries: int
    member: int  # bytes of one member, uncompressed
    total: int  # bytes of all, uncompressed


class ZipMembers:
    """The members of a checked zip archive, by name."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
        self.path = path
        self._archive = archive
        self._members = members

    @property
    def names(self) -> list[str]:
        """Names of all files, sorted, without folders and hidden files."""
        return sorted(self._members)

    def crc(self, name: str) -> int:
        """CRC-32 of a member, as recorded in the archive's directory."""
        return self._members[name].CRC

    def size(self, name: str) -> int:
        """Bytes of a member, uncompressed."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """Read a whole member. Raises DataError if it doesn't match the archive's directory."""
        with self.stream(name) as stream:
            return stream.read()

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a member for reading. zipfile reads no byte beyond its size, and checks its CRC."""
        try:
            with self._archive.open(self._members[name]) as stream:
                yield stream
        except _BROKEN as error:
            raise DataError(f"{self.path}: member {name!r} is broken ({_reason(error)})") from error

    def stored_at(self, name: str) -> int | None:
        """Offset in the file at which an uncompressed member begins; None for a compressed one."""
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with self.path.open("rb") as stream:
            stream.seek(member.header_offset)
            _, *_, name_length, extra_length = LOCAL.unpack(stream.read(LOCAL.size))
        return member.header_offset + LOCAL.size + int(name_length) + int(extra_length)


_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def open_zip(path: Path, limits: Limits) -> Iterator[ZipMembers]:
    """Yield the members of a zip archive.

    Raises DataError for a file that isn't a complete zip archive, and for one with a member that is
    encrypted, a link or a device, has a name that leads out of the archive or equals another one but for
    case, is larger than `limits` allow, overlaps another member, or has 200 times its compressed size.
    """
    _check_directory(path, limits)
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (*_BROKEN, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a complete zip archive ({_reason(error)})") from error
    with archive:
        yield ZipMembers(path, archive, _checked_members(path, archive.infolist(), limits))


def _check_directory(path: Path, limits: Limits) -> None:
    """Check the announced number of entries before zipfile reads them all into memory."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - END.size - LOCATOR64.size - 2**16))
            tail = stream.read()
            at = tail.rfind(b"PK\x05\x06")
            if at < 0 or at + END.size > len(tail):
                raise DataError(f"{path}: not a complete zip archive (its directory is missing)")
            _, _, _, _, entries, directory, _, _ = END.unpack_from(tail, at)
            if entries == 0xFFFF or directory == 0xFFFFFFFF:
                _, _, where, _ = LOCATOR64.unpack_from(tail, at - LOCATOR64.size)
                stream.seek(where)
                *_, entries, directory, _ = END64.unpack(stream.read(END64.size))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except struct.error as error:
        raise DataError(f"{path}: not a complete zip archive ({error})") from error
    # An entry has 46 bytes, a name and extra fields; zipfile reads as many bytes as the directory announces.
    if entries > limits.entries or directory > 1024 * limits.entries:
        raise DataError(f"{path}: announces {entries:,} entries, more than {limits.entries:,}")


def _checked_members(
    path: Path, entries: list[zipfile.ZipInfo], limits: Limits
) -> dict[str, zipfile.ZipInfo]:
    if len(entries) > limits.entries:
        raise DataError(f"{path}: has {len(entries):,} entries, more than {limits.entries:,}")
    folded: set[str] = set()
    for entry in entries:
        refuse_name(path, entry.orig_filename)
        _refuse_kind(path, entry)
        _refuse_size(path, entry.filename, entry.file_size, limits)
        if entry.file_size > max(CHUNK, RATIO * entry.compress_size):
            raise DataError(f"{path}: member {entry.filename!r} would inflate more than {RATIO} times")
        if entry.filename.casefold() in folded:
            raise DataError(f"{path}: member {entry.filename!r} occurs twice, or in another case")
        folded.add(entry.filename.casefold())
    if sum(entry.file_size for entry in entries) > limits.total:
        raise DataError(f"{path}: holds more than {limits.total:,} bytes")
    _refuse_overlap(path, entries)
    return {
        entry.filename: entry for entry in entries if not entry.is_dir() and not is_hidden(entry.filename)
    }


def is_hidden(name: str) -> bool:
    """Tell whether a file is hidden, or a folder on the way to it, or is one that a system adds."""
    return any(part.startswith(".") or part in SYSTEM_FOLDERS for part in name.split("/"))


def refuse_name(path: Path, name: str) -> None:
    """Raise DataError for a name that would lead out of a folder, or that not every system allows."""
    parts = name.replace("\\", "/").split("/")
    leads_out = name.startswith(("/", "\\")) or ".." in parts or name[1:2] == ":" or "\\" in name
    if leads_out or not name:
        raise DataError(f"{path}: member {name!r} leads out of the archive")
    if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in name):
        raise DataError(f"{path}: member {name!r} has a control character in its name")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: member {name!r} has a name that isn't Unicode") from error


def _refuse_kind(path: Path, entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & ENCRYPTED:
        raise DataError(f"{path}: member {entry.filename!r} is encrypted")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"{path}: member {entry.filename!r} is not a regular file")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}: member {entry.filename!r} is compressed by method {entry.compress_type}")


def _refuse_size(path: Path, name: str, size: int, limits: Limits) -> None:
    if size > limits.member:
        raise DataError(f"{path}: member {name!r} has {size:,} bytes, more than {limits.member:,}")


def _refuse_overlap(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise DataError for members that overlap, by which 40 kB can expand to terabytes."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise DataError(f"{path}: member {entry.filename!r} overlaps another one")
        end = entry.header_offset + LOCAL.size + entry.compress_size


def tar_members(path: Path, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in a tar archive, gzipped or not, in the archive's order.

    Raises DataError for a broken archive, and for one with a link, a device, a name that leads out of the
    archive, or more than `limits` allow.
    """
    total = count = 0
    try:
        with tarfile.open(path, "r|*", errors="strict") as archive:
            for member in archive:
                count, total = count + 1, total + member.size
                refuse_name(path, member.name)
                _refuse_size(path, member.name, member.size, limits)
                if count > limits.entries or total > limits.total:
                    raise DataError(f"{path}: more than {limits.entries} entries or {limits.total:,} bytes")
                if member.isdir():
                    continue
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None:
                    raise DataError(f"{path}: member {member.name!r} is not a regular file")
                content = stream.read()
                if len(content) != member.size:
                    raise DataError(f"{path}: member {member.name!r} ends early")
                yield member.name, content
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{path}: not a complete tar archive ({_reason(error)})") from error
