"""Raw data sets in the layouts of their publishers, with pictures that look like photographs."""

import hashlib
import io
import zipfile

import lmdb
import numpy as np
import pytest
from PIL import Image

ATTRIBUTES = [f"Attribute_{i}" for i in range(40)]
COUNT = 2000


def photograph(seed, width, height):
    """Soft shapes, an edge and some grain: what JPEG was made for."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8)).resize((width, height), 3)
    pixels = np.asarray(shapes, np.int16) + rng.integers(-6, 7, (height, width, 3))
    pixels[height // 3 :, : width // 2] //= 2
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image, format="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 85} if format == "JPEG" else {}) | options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_photograph():
    return photograph


@pytest.fixture(scope="session")
def encode():
    return encoded


def celeba_partition(number, count):
    """As published, where the splits are runs of numbers: 80 %, 10 %, 10 %."""
    return 0 if number < count * 8 // 10 else 1 if number < count * 9 // 10 else 2


def celeba_attributes(number):
    """Attribute j of picture i is bit j % 11 of i."""
    return [number >> j % 11 & 1 for j in range(40)]


def write_celeba(folder, count, *, shuffled=False, compression=zipfile.ZIP_STORED, replaced=None):
    """Write the zip, the list of splits and that of attributes. Picture i is photograph i, 178 x 218."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i + 1:06d}.jpg" for i in range(count)]
    order = np.random.default_rng(1).permutation(count) if shuffled else np.arange(count)
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w", compression) as archive:
        archive.writestr("img_align_celeba/", b"")
        for i in order:
            content = (replaced or {}).get(int(i))
            archive.writestr(
                f"img_align_celeba/{names[i]}",
                encoded(photograph(i, 178, 218)) if content is None else content,
            )
    lines = [f"{name} {celeba_partition(i, count)}" for i, name in enumerate(names)]
    (folder / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    rows = [
        f"{name}  {'  '.join('1' if value else '-1' for value in celeba_attributes(i))}"
        for i, name in enumerate(names)
    ]
    text = "\n".join([str(count), " ".join(ATTRIBUTES) + " ", *rows])
    (folder / "list_attr_celeba.txt").write_text(text + "\n")
    return folder


@pytest.fixture(scope="session")
def make_celeba():
    return write_celeba


@pytest.fixture(scope="session")
def celeba_folder(tmp_path_factory):
    return write_celeba(tmp_path_factory.mktemp("raw") / "celeba", COUNT)


def lsun_key(number):
    return hashlib.sha1(str(number).encode()).hexdigest().encode()  # noqa: S324, the names that LSUN has


def lsun_size(number):
    """Short side 256, as published; the long one varies."""
    long = 256 + number % 7 * 31
    return (long, 256) if number % 3 else (256, long)


def write_lmdb(folder, values):
    """Write an LMDB environment of these values, put in an order that isn't that of their keys."""
    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=2**30) as environment:
        items = list(values.items())
        for begin in range(0, len(items), 100):
            with environment.begin(write=True) as transaction:
                for key, value in items[begin : begin + 100]:
                    assert transaction.put(key, value)
    return folder


def zip_lmdb(folder, target, compression):
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", compression, compresslevel=1) as archive:
        for name in ("data.mdb", "lock.mdb"):
            archive.write(folder / name, f"{target.stem}/{name}")
    return target


@pytest.fixture(scope="session")
def make_lmdb():
    return write_lmdb


@pytest.fixture(scope="session")
def pack_lmdb():
    return zip_lmdb


@pytest.fixture(scope="session")
def lsun_values():
    """2,000 values by key: JPEG, every fifth WebP; 210 pictures, over and over."""
    pictures = [
        encoded(photograph(i, *lsun_size(i)), "JPEG" if i % 5 else "WEBP", quality=75) for i in range(210)
    ]
    return {lsun_key(i): pictures[i % 210] for i in range(COUNT)}


@pytest.fixture(scope="session")
def lsun_environment(tmp_path_factory, lsun_values):
    """A folder of LSUN as it is after unzipping: bedroom_train_lmdb and bedroom_val_lmdb."""
    root = tmp_path_factory.mktemp("lsun")
    items = list(lsun_values.items())
    write_lmdb(root / "bedroom_train_lmdb", dict(items[:1700]))
    write_lmdb(root / "bedroom_val_lmdb", dict(items[1700:]))
    return root
