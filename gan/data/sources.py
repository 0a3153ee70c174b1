"""Owns the layouts that pictures are published in: files, splits, order.

A source is a stream: one picture is read at a time, and archives are never unpacked. Pictures come in
the order train, validation, test, and within a split in the order of their names or keys, so that the
order in a file or a folder changes nothing.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.data.archive import CHUNK, Limits, ZipMembers, open_zip, tar_members
from gan.data.image_folders import SUFFIXES, TENTH, arrange, count_others, format_others, is_picture
from gan.data.image_store import NO_LABEL
from gan.data.lmdb_pages import LmdbPages, Window
from gan.data.store_manifest import SPLITS
from gan.errors import DataError

Layout = Literal["idx", "celeba", "lsun", "cifar10", "images", "array"]
PICTURE = 2**26  # bytes of one encoded picture
CELEBA_LIMITS = Limits(entries=300_000, member=PICTURE, total=2**33)
LSUN_LIMITS = Limits(entries=10, member=2**38, total=2**38)
IMPORT_LIMITS = Limits(entries=5_000_000, member=PICTURE, total=2**40)
CIFAR_LIMITS = Limits(entries=100, member=2**26, total=2**28)
CIFAR_RECORD = 1 + 3 * 32 * 32
CIFAR_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
CELEBA_SPLITS = {"0": "train", "1": "validation", "2": "test"}


class Picture(NamedTuple):
    """One picture of a source."""

    name: str
    content: bytes | NDArray[np.uint8]  # encoded, or pixels (C, H, W)
    label: int = NO_LABEL
    attributes: Sequence[bool] = ()


class Source(NamedTuple):
    """A raw data set: how many pictures each split has, and the pictures, split after split."""

    counts: dict[str, int]
    pictures: Iterator[Picture]
    attributes: list[str]
    origin: dict[str, Any]  # identifies the source in the store's recipe


def open_source(layout: Layout, folder: Path, stack: ExitStack) -> Source:
    """Open a folder of raw files; pictures are read later, while `stack` is open.

    Raises DataError for files that are missing, broken or hostile.
    """
    return READERS[layout](folder, stack)


def _remedy(folder: Path) -> str:
    return f"run 'dvc repro -f download@{folder.name}'"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def read_celeba(folder: Path, stack: ExitStack) -> Source:
    """Read CelebA as published: `img_align_celeba.zip`, the list of splits and that of attributes."""
    members = stack.enter_context(open_zip(folder / "img_align_celeba.zip", CELEBA_LIMITS))
    names = {name.rpartition("/")[2]: name for name in members.names}
    splits = _read_partition(folder / "list_eval_partition.txt")
    attributes, values = _read_attributes(folder / "list_attr_celeba.txt")
    for found, path in ((splits, "list_eval_partition.txt"), (values, "list_attr_celeba.txt")):
        if differing := sorted(found.keys() ^ names.keys()):
            raise DataError(
                f"{folder / path}: {len(differing)} names are only here or only in {members.path.name}, "
                f"such as {differing[0]}; {_remedy(folder)}"
            )
    ordered = {split: sorted(name for name in splits if splits[name] == split) for split in SPLITS}
    ordered = {split: of_split for split, of_split in ordered.items() if of_split}

    def pictures() -> Iterator[Picture]:
        for of_split in ordered.values():
            for name in of_split:
                yield Picture(name, members.read(names[name]), NO_LABEL, values[name])

    counts = {split: len(of_split) for split, of_split in ordered.items()}
    digest = _digest(f"{name} {members.crc(names[name]):08x} {splits[name]}" for name in sorted(names))
    return Source(counts, pictures(), attributes, {"names, CRCs and splits": digest})


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {_remedy(path.parent)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not ASCII text; {_remedy(path.parent)}") from error


def _read_partition(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, words in enumerate(_lines(path), 1):
        if len(words) != 2 or words[1] not in CELEBA_SPLITS or words[0] in found:
            raise DataError(f"{path}:{number}: {' '.join(words)!r} isn't a new name followed by 0, 1 or 2")
        found[words[0]] = CELEBA_SPLITS[words[1]]
    return found


def _read_attributes(path: Path) -> tuple[list[str], dict[str, list[bool]]]:
    lines = _lines(path)
    names = lines[1] if len(lines) > 1 else []
    found: dict[str, list[bool]] = {}
    for number, (name, *values) in enumerate(lines[2:], 3):
        if len(values) != len(names) or not set(values) <= {"1", "-1"} or name in found:
            raise DataError(
                f"{path}:{number}: {name} doesn't have {len(names)} values of 1 or -1, or occurs twice"
            )
        found[name] = [value == "1" for value in values]
    if not names or lines[0] != [str(len(found))]:
        raise DataError(
            f"{path}: announces {' '.join(lines[0]) if lines else 'nothing'}, has {len(found)} names"
        )
    return names, found


def read_lsun(folder: Path, stack: ExitStack) -> Source:
    """Read an LSUN category: CATEGORY_train_lmdb.zip is train, CATEGORY_val_lmdb.zip validation.

    In a bare `data.mdb`, as an import leaves it, every tenth record is test.
    """
    if (folder / "data.mdb").exists():
        stream = stack.enter_context((folder / "data.mdb").open("rb"))
        pages = LmdbPages(stream, str(folder / "data.mdb"), largest=PICTURE)
        counts = _tenths(len(pages))
        return Source(counts, _train_then_test(pages), [], {"records": len(pages)})
    found: dict[str, LmdbPages] = {}
    for split, part in (("train", "train"), ("validation", "val")):
        for path in sorted(folder.glob(f"*_{part}_lmdb.zip")):
            found[split] = _open_zipped(path, stack)
    if "train" not in found:
        raise DataError(f"{folder}: no file ends with _train_lmdb.zip; {_remedy(folder)}")

    def pictures() -> Iterator[Picture]:
        for pages in found.values():
            for key, value in pages.items():
                yield Picture(key.decode("ascii", "backslashreplace"), value)

    counts = {split: len(pages) for split, pages in found.items()}
    return Source(counts, pictures(), [], {"records": counts})


def _open_zipped(path: Path, stack: ExitStack) -> LmdbPages:
    members = stack.enter_context(open_zip(path, LSUN_LIMITS))
    data = [name for name in members.names if name.rpartition("/")[2] == "data.mdb"]
    if len(data) != 1:
        raise DataError(f"{path}: holds {len(data)} files data.mdb, expected one; {_remedy(path.parent)}")
    stream = stack.enter_context(_seekable(members, data[0]))
    return LmdbPages(stream, f"{path}: {data[0]}", largest=PICTURE)


def _seekable(members: ZipMembers, name: str) -> IO[bytes]:
    """Open a member for random access: in place if it is stored uncompressed.

    A compressed stream can only be read in order, so a compressed member is first unpacked to an anonymous
    temporary file beside the archive.
    """
    begin = members.stored_at(name)
    if begin is not None:
        return Window(members.path, begin, members.size(name))  # type: ignore[return-value]
    copy = tempfile.TemporaryFile(dir=members.path.parent)  # noqa: SIM115, the caller closes it
    with members.stream(name) as stream:
        shutil.copyfileobj(stream, copy, CHUNK)
    return copy


def _tenths(count: int) -> dict[str, int]:
    test = count // TENTH
    return {"train": count - test, "test": test} if test else {"train": count}


def _train_then_test(pages: LmdbPages) -> Iterator[Picture]:
    """Yield nine of ten records, then every tenth: two passes, so that none is kept in memory."""
    for wanted in (False, True):
        for number, (key, value) in enumerate(pages.items()):
            if (number % TENTH == TENTH - 1) == wanted:
                yield Picture(key.decode("ascii", "backslashreplace"), value)


def read_cifar10(folder: Path, _: ExitStack) -> Source:
    """Read CIFAR-10's binary version, 184 MB: a class byte, then red, green and blue, row by row.

    cs.toronto.edu/~kriz/cifar.html. 50,000 are train, 10,000 test.
    """
    path = folder / "cifar-10-binary.tar.gz"
    wanted = [name for names in CIFAR_FILES.values() for name in names]
    found: dict[str, NDArray[np.uint8]] = {}
    for name, content in tar_members(path, CIFAR_LIMITS):
        short = name.rpartition("/")[2]
        if short in wanted:
            if len(content) % CIFAR_RECORD or short in found:
                raise DataError(f"{path}: {name} isn't a whole number of records, or occurs twice")
            found[short] = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    if missing := [name for name in wanted if name not in found]:
        raise DataError(f"{path}: lacks {missing[0]}; {_remedy(folder)}")

    def pictures() -> Iterator[Picture]:
        for name in wanted:
            for number, row in enumerate(found[name]):
                if row[0] > 9:
                    raise DataError(f"{path}: {name}: record {number} has class {row[0]}, expected 0 to 9")
                yield Picture(f"{name}:{number}", row[1:].reshape(3, 32, 32), int(row[0]))

    counts = {split: sum(len(found[name]) for name in names) for split, names in CIFAR_FILES.items()}
    digest = hashlib.sha256(b"".join(found[name].tobytes() for name in wanted)).hexdigest()
    return Source(counts, pictures(), [], {"records": digest})


def read_images(folder: Path, stack: ExitStack) -> Source:
    """Read `images.zip`, whose folders are splits and classes."""
    members = stack.enter_context(open_zip(folder / "images.zip", IMPORT_LIMITS))
    names = [name for name in members.names if is_picture(name)]
    if not names:
        others = format_others(count_others(members.names))
        raise DataError(
            f"{members.path}: no file in it ends with {', '.join(SUFFIXES)}; it holds {others or 'none'}"
        )
    splits, labels, classes = arrange(names, members.path)

    def pictures() -> Iterator[Picture]:
        for of_split in splits.values():
            for name in of_split:
                yield Picture(name, members.read(name), labels[name])

    counts = {split: len(of_split) for split, of_split in splits.items() if of_split}
    digest = _digest(f"{name} {members.crc(name):08x}" for name in names)
    return Source(counts, pictures(), [], {"names and CRCs": digest, "classes": classes})


def read_array(folder: Path, _: ExitStack) -> Source:
    """Read `images.npy`: uint8 (N, H, W), (N, H, W, C) or (N, C, H, W). Every tenth image is test."""
    path = folder / "images.npy"
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {_remedy(folder)}") from error
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: can't be read as an array ({' '.join(str(error).split())})") from error
    if values.dtype != np.uint8 or values.ndim not in (3, 4) or not len(values):
        raise DataError(
            f"{path}: is {values.dtype} {values.shape}, expected uint8 (N, H, W[, C]) or (N, C, H, W)"
        )
    is_last = values.ndim == 4 and values.shape[-1] in (1, 3)
    counts = _tenths(len(values))

    def pictures() -> Iterator[Picture]:
        for wanted in (False, True):
            for number, value in enumerate(values):
                if (number % TENTH == TENTH - 1) == wanted:
                    pixels = value.transpose(2, 0, 1) if is_last else value
                    yield Picture(str(number), np.array(pixels if values.ndim == 4 else pixels[None]))

    return Source(counts, pictures(), [], {"shape": list(values.shape)})


READERS: dict[str, Callable[[Path, ExitStack], Source]] = {
    "celeba": read_celeba,
    "lsun": read_lsun,
    "cifar10": read_cifar10,
    "images": read_images,
    "array": read_array,
}
