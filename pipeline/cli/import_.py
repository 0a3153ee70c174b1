"""Owns `gantry import`, which makes a data set from your own pictures.

They are brought to data/own/NAME in one of the layouts that conversion knows, with an entry in
data/manifest.yaml and in params.yaml. From then on it is a data set like any other.
"""

import gzip
import itertools
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from gan.config import LEAST_SAMPLES, load_params, parse_params
from gan.contract import ImageShape
from gan.data.archive import is_hidden, open_zip
from gan.data.convert import CHUNK, Plan, Splits, convert
from gan.data.digits import IMAGES_MAGIC, read_idx
from gan.data.image_folders import SUFFIXES, count_others, format_others, is_picture
from gan.data.image_store import Record
from gan.data.manifest import read_manifest
from gan.data.pixels import CropName
from gan.data.sources import IMPORT_LIMITS, Layout
from gan.errors import ConfigError, DataError
from gan.faults import parse_mapping, read_text
from gan.files import sha256_of, write_bytes
from pipeline.stage import OWN
from pipeline.study.params_file import append_line

EARLIEST = (1980, 1, 1, 0, 0, 0)  # zip's first date, given to every member so that bytes are equal


class Imported(NamedTuple):
    """What became of the pictures."""

    plan: Plan
    counts: dict[str, int]  # by split
    classes: list[str]
    left_out: dict[str, int]  # files that are no pictures, by suffix


class Brought(NamedTuple):
    """What a path holds, and how to copy it into a folder."""

    layout: Layout
    bring: Callable[[Path], None]
    left_out: dict[str, int] = {}  # files that are no pictures, by suffix


def import_data(
    name: str,
    source: Path,
    *,
    manifest: Path,
    params: Path,
    size: int | None = None,
    grey: bool = False,
    crop: CropName = "short_side",
    licence: str = "not stated",
) -> Imported:
    """Make a data set `name` from pictures at `source`. If a step fails, nothing is left behind.

    source: a folder or zip of images, a folder or zip with LSUN's data.mdb, an IDX file of images
    beside that of its labels, or an npy of uint8.
    Raises ConfigError for a name that is taken, a source that is none of these, and a kind of image
    that no recipes are written for; DataError for broken pictures.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ConfigError(f"{name!r} is no name for a data set; take small letters, digits and _")
    if name in load_params(params).datasets or name in read_manifest(manifest):
        raise ConfigError(f"there is a data set {name!r} already; take another name")
    brought = recognise(source)
    folder = OWN / name
    with _kept_on_success(folder):
        brought.bring(folder)
        plan = _plan(brought.layout, folder, size, grey, crop)
        recipes = find_recipes(params, plan.image)
        with convert(folder, plan) as found:  # the first pictures show early faults
            _check_first(found.records)
            counts = {split: end - begin for split, (begin, end) in found.splits.items()}
            classes = found.recipe.get("source", {}).get("classes", [])
            samples = _samples(found.splits)
        text = params.read_text(encoding="utf-8")
        text = append_line(text, "datasets", _dataset_line(name, plan))
        text = append_line(text, "samples", f"  {name}: {samples}")
        text = append_line(text, "recipes", f"  {name}: [{', '.join(recipes)}]")
        entry = _entry(name, folder, sum(counts.values()), licence, source)
        _write_checked(params, text, manifest, entry)
    return Imported(plan, counts, classes, brought.left_out)


@contextmanager
def _kept_on_success(folder: Path) -> Iterator[None]:
    if folder.exists():
        raise ConfigError(f"{folder} is there already; move it away, or take another name")
    folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder)
        raise


def recognise(source: Path) -> Brought:
    """Detect what a path holds. Raises ConfigError if it can't be imported."""
    holds = ""
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    if source.is_dir():
        if (source / "data.mdb").is_file():
            return Brought("lsun", lambda folder: _take(source / "data.mdb", folder / "data.mdb"))
        digits = sorted(path for path in source.iterdir() if "images-idx3" in path.name)
        if len(digits) == 1:
            return Brought("idx", lambda folder: _take_digits(digits[0], folder))
        files = _find_files(source)
        left_out = count_others(files)
        pictures = {name: path for name, path in files.items() if is_picture(name)}
        if pictures:
            return Brought("images", lambda folder: _pack(pictures, folder / "images.zip"), left_out)
        holds = f"; it holds {format_others(left_out)}" if left_out else ""
    elif source.name == "data.mdb":
        return Brought("lsun", lambda folder: _take(source, folder / "data.mdb"))
    elif source.suffix == ".npy":
        return Brought("array", lambda folder: _take(source, folder / "images.npy"))
    elif "images-idx3" in source.name:
        return Brought("idx", lambda folder: _take_digits(source, folder))
    elif zipfile.is_zipfile(source):
        # LSUN's three members are the only ones of that size that anyone has.
        limits = IMPORT_LIMITS._replace(member=IMPORT_LIMITS.total)
        with open_zip(source, limits) as members:
            names = members.names
        if any(name.rpartition("/")[2] == "data.mdb" for name in names):
            return Brought("lsun", lambda folder: _take(source, folder / "own_train_lmdb.zip"))
        return Brought("images", lambda folder: _take(source, folder / "images.zip"), count_others(names))
    raise ConfigError(
        f"{source}: neither a folder or zip of {', '.join(SUFFIXES)}, an LMDB of LSUN, an images-idx3 file "
        f"nor an npy{holds}"
    )


def _take(source: Path, target: Path) -> None:
    """Give a file a second name where the file system can, or copy it."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _take_digits(images: Path, folder: Path) -> None:
    labels = images.with_name(images.name.replace("images-idx3", "labels-idx1"))
    if not labels.is_file():
        raise ConfigError(f"{labels}: no such file; the labels belong beside the images")
    for source, name in ((images, "images-idx3-ubyte.gz"), (labels, "labels-idx1-ubyte.gz")):
        if source.suffix == ".gz":
            _take(source, folder / name)
        else:
            (folder / name).write_bytes(gzip.compress(source.read_bytes(), mtime=0))


def _find_files(folder: Path, above: tuple[Path, ...] = ()) -> dict[str, Path]:
    """Find the files in a folder that aren't hidden, by their names in it. Links are followed."""
    real = folder.resolve()
    if real in above:  # a link to a folder that it is in, which holds nothing new
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_hidden(path.name):
            continue
        name = _as_unicode(path.name)
        if path.is_dir():
            inner = _find_files(path, (*above, real))
            new = {f"{name}/{rest}": file for rest, file in inner.items()}
        elif path.is_file():
            new = {name: path}
        else:
            raise DataError(f"{path}: no file but a broken link, a pipe or the like; remove it")
        if equal := found.keys() & new.keys():
            raise DataError(f"{folder}: two files are called {min(equal)} in Unicode; rename one")
        found |= new
    return found


def _as_unicode(name: str) -> str:
    """Read a file's name as Latin-1 if it isn't UTF-8, as names from old disks and archives are."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return name


def _pack(pictures: dict[str, Path], target: Path) -> None:
    """Pack pictures, sorted by name: equal folders give equal bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted(pictures.items()):
            archive.writestr(zipfile.ZipInfo(name, EARLIEST), path.read_bytes())


def parse_crop(name: str) -> CropName:
    """Read a crop's name. Raises ConfigError naming those there are."""
    crops: tuple[CropName, ...] = get_args(CropName)
    for crop in crops:
        if crop == name:
            return crop
    raise ConfigError(f"no crop {name!r}; there are {', '.join(crops)}")


def _plan(layout: Layout, folder: Path, size: int | None, grey: bool, crop: CropName) -> Plan:
    """Decide on the shape of the images: that of an array or of digits, else a square of `size`."""
    if layout == "idx":
        images, _ = read_idx(folder / "images-idx3-ubyte.gz", IMAGES_MAGIC)
        return Plan(ImageShape(1, *images.shape[1:]), "idx", "every_fifth_is_test")
    if layout == "array" and size is None:
        return Plan(_array_shape(folder / "images.npy"), "array")
    side = size or 64
    return Plan(ImageShape(1 if grey else 3, side, side), layout, crop=crop)


def _array_shape(path: Path) -> ImageShape:
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: can't be read as an array ({' '.join(str(error).split())})") from error
    if len(shape) == 4 and shape[3] in (1, 3):
        return ImageShape(shape[3], shape[1], shape[2])
    if len(shape) not in (3, 4):
        raise DataError(f"{path}: is {shape}, expected (N, H, W[, C]) or (N, C, H, W)")
    return ImageShape(1, *shape[1:]) if len(shape) == 3 else ImageShape(*shape[1:])


def _samples(splits: Splits) -> int:
    """How many samples can be scored against the test split, between params.yaml's least and 1,000."""
    begin, end = splits.get("test", (0, 0))
    return max(LEAST_SAMPLES, min(1000, end - begin))


def _check_first(records: Iterator[Record | None]) -> None:
    for _ in itertools.islice(records, CHUNK):
        pass


def find_recipes(params: Path, image: ImageShape) -> list[str]:
    """Find the files of recipes for images of a shape: the fewest that a data set of this shape names.

    Raises ConfigError where no data set has this shape.
    """
    shapes = {name: dataset.shape for name, dataset in load_params(params).datasets.items()}
    named = parse_mapping(read_text(params), params)["recipes"]
    files = [list(named[name]) for name, shape in shapes.items() if shape == image and named[name]]
    if not files:
        known = dict.fromkeys("x".join(map(str, shape)) for shape in shapes.values())
        raise ConfigError(
            f"params.yaml has no recipes for {'x'.join(map(str, image))} images; it has some for "
            f"{', '.join(known)}: choose --size and --grey to fit"
        )
    return min(files, key=len)


def _dataset_line(name: str, plan: Plan) -> str:
    values = {"image": str(list(plan.image))}
    if plan.layout == "idx":
        values["split"] = plan.split
    else:
        values |= {"layout": plan.layout, "crop": plan.crop}
    return f"  {name}: {{{', '.join(f'{key}: {value}' for key, value in values.items())}}}"


def _entry(name: str, folder: Path, count: int, licence: str, source: Path) -> str:
    """Write the data set's entry of the manifest."""
    lines = [
        f"\n{name}:",
        f"  licence: {_quoted(licence)}",
        f"  citation: {_quoted(f'imported from {_as_unicode(source.name)}')}",
        "  files:",
    ]
    for path in sorted(folder.iterdir()):
        lines += [
            f"    - name: {path.name}",
            f"      urls: [{path.as_posix()}]",
            f"      bytes: {path.stat().st_size}",
            f"      sha256: {sha256_of(path)}",
            f"      count: {count}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + " ".join(text.split()).replace("'", "''") + "'"


def _write_checked(params: Path, text: str, manifest: Path, entry: str) -> None:
    """Write both files, after reading what they would hold."""
    whole = manifest.read_text(encoding="utf-8").rstrip("\n") + "\n" + entry
    parse_params(text, params)
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / manifest.name
        candidate.write_text(whole, encoding="utf-8")
        try:
            read_manifest(candidate)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(candidate), str(manifest))) from error
    write_bytes(manifest, whole.encode())
    write_bytes(params, text.encode())
