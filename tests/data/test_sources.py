"""CIFAR-10 and what users bring: archives of images, arrays, bare LMDB files."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

from gan.contract import ImageShape
from gan.data.convert import Plan, convert
from gan.errors import DataError

SMALL = ImageShape(3, 32, 32)


def records(folder, plan):
    with convert(folder, plan) as found:
        return found.splits, list(found.records), found


def write_cifar(folder, *, label=None, leave_out=None):
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = {}
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz", compresslevel=1) as archive:
        for name in ("test_batch", *(f"data_batch_{i}" for i in (3, 1, 2, 5, 4)), "readme"):
            rows = rng.integers(0, 256, (20, 3073), np.uint8)
            rows[:, 0] = np.arange(20) % 10 if label is None else label
            files[name] = rows
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            entry.size = rows.size
            if name != leave_out:
                archive.addfile(entry, io.BytesIO(rows.tobytes()))
    return files


def test_cifar10_has_its_batches_in_order_with_planes_of_colour_and_classes(tmp_path):
    files = write_cifar(tmp_path / "cifar10")
    splits, found, _ = records(tmp_path / "cifar10", Plan(SMALL, "cifar10"))

    assert splits == {"train": (0, 100), "test": (100, 120)}
    rows = np.concatenate([files[f"data_batch_{i}"] for i in range(1, 6)] + [files["test_batch"]])
    np.testing.assert_array_equal(
        np.stack([record.pixels for record in found]), rows[:, 1:].reshape(-1, 3, 32, 32)
    )
    assert [record.label for record in found] == rows[:, 0].tolist()


def test_a_broken_cifar10_is_a_data_error(tmp_path):
    write_cifar(tmp_path / "a", leave_out="data_batch_4")
    write_cifar(tmp_path / "b", label=10)

    with pytest.raises(DataError, match="lacks data_batch_4.bin"):
        records(tmp_path / "a", Plan(SMALL, "cifar10"))
    with pytest.raises(DataError, match="record 0 has class 10"):
        records(tmp_path / "b", Plan(SMALL, "cifar10"))


def write_images(folder, names, make_photograph, encode):
    folder.mkdir()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, encode(make_photograph(number, 40, 36)))


def labels(found):
    return [record.label for record in found]


PLAN = Plan(SMALL, "images", crop="short_side")


def test_folders_of_images_are_classes_and_every_tenth_is_test(tmp_path, make_photograph, encode):
    names = [f"{kind}/{i:02d}.jpg" for i in range(10) for kind in ("dog", "cat")] + ["notes.txt"]
    write_images(tmp_path / "pets", names, make_photograph, encode)
    splits, found, conversion = records(tmp_path / "pets", PLAN)

    assert splits == {"train": (0, 18), "test": (18, 20)}
    assert labels(found) == [0] * 9 + [1] * 9 + [0, 1]
    assert conversion.recipe["source"]["classes"] == ["cat", "dog"]


def test_top_folders_named_like_splits_are_splits(tmp_path, make_photograph, encode):
    names = [
        f"{split}/{kind}/{i}.png" for split in ("train", "val", "test") for kind in "ab" for i in range(2)
    ]
    write_images(tmp_path / "own", names, make_photograph, encode)
    splits, found, _ = records(tmp_path / "own", PLAN)

    assert splits == {"train": (0, 4), "validation": (4, 8), "test": (8, 12)}
    assert labels(found) == [0, 0, 1, 1] * 3


def test_images_in_one_folder_have_no_class(tmp_path, make_photograph, encode):
    write_images(tmp_path / "own", [f"all/{i}.jpeg" for i in range(5)], make_photograph, encode)
    splits, found, _ = records(tmp_path / "own", PLAN)

    assert splits == {"train": (0, 5)}
    assert labels(found) == [-1] * 5


def test_an_archive_without_images_is_a_data_error(tmp_path, make_photograph, encode):
    write_images(tmp_path / "own", ["a.txt", "b.BMP", "c.bmp"], make_photograph, encode)
    with pytest.raises(DataError, match=r"no file in it ends with .jpg, .*; it holds 2 .bmp, 1 .txt$"):
        records(tmp_path / "own", PLAN)


@pytest.mark.parametrize("shape", [(20, 32, 32), (20, 32, 32, 1), (20, 1, 32, 32)])
def test_an_array_is_read_with_its_channels_first_or_last_or_absent(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "images.npy", values)
    splits, found, _ = records(tmp_path, Plan(ImageShape(1, 32, 32), "array"))

    assert splits == {"train": (0, 18), "test": (18, 20)}
    order = [i for i in range(20) if i % 10 != 9] + [9, 19]
    np.testing.assert_array_equal(np.stack([r.pixels for r in found]), values.reshape(20, 1, 32, 32)[order])


@pytest.mark.parametrize(
    "values", [np.zeros((5, 32, 32), np.float32), np.zeros((5, 32), np.uint8), np.zeros((0, 2, 2), np.uint8)]
)
def test_an_array_of_something_else_is_a_data_error(tmp_path, values):
    np.save(tmp_path / "images.npy", values)
    with pytest.raises(DataError, match="expected uint8"):
        records(tmp_path, Plan(ImageShape(1, 32, 32), "array"))


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "images.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="can't be read as an array"):
        records(tmp_path, Plan(ImageShape(1, 32, 32), "array"))


def test_a_bare_lmdb_file_has_every_tenth_record_in_test(tmp_path, make_lmdb, make_photograph, encode):
    make_lmdb(tmp_path / "own", {f"{i:02d}".encode(): encode(make_photograph(i, 32, 32)) for i in range(20)})
    plan = Plan(SMALL, "lsun", crop="exact")
    splits, found, _ = records(tmp_path / "own", plan)
    from gan.data.pixels import decode

    assert splits == {"train": (0, 18), "test": (18, 20)}
    for record, number in zip(found[18:], (9, 19), strict=True):
        np.testing.assert_array_equal(record.pixels, decode(encode(make_photograph(number, 32, 32)), 3))
