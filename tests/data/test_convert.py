import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from gan.contract import ImageShape
from gan.data.convert import Plan, convert
from gan.data.image_store import ImageStore
from gan.data.store_manifest import manifest_path
from gan.data.store_writer import write_store
from gan.errors import ConfigError, DataError
from gan.files import read_json

FACES = Plan(ImageShape(3, 64, 64), "celeba", crop="centre_128")
ROOMS = Plan(ImageShape(3, 64, 64), "lsun", crop="short_side")


def build(folder, path, plan, processes=1):
    with convert(folder, plan, processes=processes) as found:
        write_store(
            path,
            found.records,
            image=found.image,
            splits=found.splits,
            recipe=found.recipe,
            attributes=found.attributes,
            skipped=found.skipped,
        )
    return path


def everything(path):
    splits = dict(sorted(read_json(manifest_path(path))["splits"].items(), key=lambda split: split[1]))
    return {name: ImageStore(path, name).read(range(end - begin)) for name, (begin, end) in splits.items()}


# ---- CelebA


@pytest.fixture(scope="module")
def faces(tmp_path_factory, celeba_folder):
    return build(celeba_folder, tmp_path_factory.mktemp("faces") / "celeba.lmdb", FACES)


def test_celeba_128_is_what_pillow_makes_of_each_picture_pixel_for_pixel(faces, celeba_folder):
    found = everything(faces)
    with zipfile.ZipFile(celeba_folder / "img_align_celeba.zip") as archive:
        expected = []
        for name in sorted(archive.namelist())[1:]:
            picture = Image.open(archive.open(name)).crop((25, 45, 153, 173))  # column 25, row 45
            expected.append(np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR)))

    assert [len(images) for images in found.values()] == [1600, 200, 200]
    together = np.concatenate([found["train"], found["validation"], found["test"]])
    np.testing.assert_array_equal(together, np.stack(expected).transpose(0, 3, 1, 2))


def test_celeba_equals_torchvisions_own_reading_in_pictures_splits_and_attributes(
    faces, celeba_folder, tmp_path, monkeypatch
):
    base = tmp_path / "celeba"
    shutil.copytree(celeba_folder, base)
    with zipfile.ZipFile(base / "img_align_celeba.zip") as archive:
        archive.extractall(base)
    names = [line.split()[0] for line in (base / "list_eval_partition.txt").read_text().splitlines()]
    for name, columns in (
        ("identity_CelebA", 1),
        ("list_bbox_celeba", 4),
        ("list_landmarks_align_celeba", 10),
    ):
        lines = [f"{picture} {' '.join('1' * columns)}" for picture in names]
        head = [] if columns == 1 else [str(len(names)), " ".join(f"c{i}" for i in range(columns))]
        (base / f"{name}.txt").write_text("\n".join(head + lines) + "\n")
    monkeypatch.setattr(datasets.CelebA, "_check_integrity", lambda self: True)  # ours has other hashes

    for split, theirs in (("train", "train"), ("validation", "valid"), ("test", "test")):
        reader, ours = datasets.CelebA(str(tmp_path), split=theirs), ImageStore(faces, split)
        chosen = list(range(0, len(ours), 20))
        assert len(reader) == len(ours)
        assert reader.attr_names[:40] == ours.attributes
        pictures, attributes = ours.read(chosen), ours.read_attributes(chosen)
        for number, pixels, traits in zip(chosen, pictures, attributes, strict=True):
            picture, attribute = reader[number]
            cut = picture.crop((25, 45, 153, 173)).resize((64, 64), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(pixels, np.asarray(cut).transpose(2, 0, 1))
            assert torch.equal(torch.from_numpy(traits), attribute.bool())


@pytest.mark.parametrize(
    ("crop", "box"),
    [
        ("centre_108", (35, 55, 143, 163)),
        ("centre_160", (9, 29, 169, 189)),
        ("centre_178", (0, 20, 178, 198)),
    ],
)
def test_the_other_face_crops_are_pillows_within_one_level(celeba_folder, make_photograph, encode, crop, box):
    plan = FACES._replace(crop=crop)
    with convert(celeba_folder, plan) as found:
        first = [next(found.records).pixels.astype(int) for _ in range(20)]
    with zipfile.ZipFile(celeba_folder / "img_align_celeba.zip") as archive:
        for number, pixels in enumerate(first):
            picture = Image.open(archive.open(f"img_align_celeba/{number + 1:06d}.jpg")).crop(box)
            expected = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
            difference = np.abs(pixels - expected)
            assert difference.max() <= 1 and difference.mean() < 0.01  # the two round ties differently


def test_decimation_takes_every_second_pixel_of_the_128_crop(celeba_folder):
    with convert(celeba_folder, FACES._replace(image=ImageShape(3, 128, 128))) as found:
        large = [next(found.records).pixels for _ in range(5)]
    with convert(celeba_folder, FACES._replace(crop="centre_128_decimated")) as found:
        small = [next(found.records).pixels for _ in range(5)]

    np.testing.assert_array_equal(np.stack(small), np.stack(large)[:, :, ::2, ::2])


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_gives_the_same_bytes(faces, celeba_folder, tmp_path, processes):
    again = build(celeba_folder, tmp_path / "celeba.lmdb", FACES, processes)

    assert again.read_bytes() == faces.read_bytes()
    assert manifest_path(again).read_bytes() == manifest_path(faces).read_bytes()


def test_two_processes_give_the_bytes_of_one(make_celeba, tmp_path):
    folder = make_celeba(tmp_path / "celeba", 200)
    one = build(folder, tmp_path / "one.lmdb", FACES)
    two = build(folder, tmp_path / "two.lmdb", FACES, 2)

    assert one.read_bytes() == two.read_bytes()
    assert manifest_path(one).read_bytes() == manifest_path(two).read_bytes()


def test_neither_order_nor_compression_of_the_archive_changes_a_byte(make_celeba, tmp_path):
    first = build(make_celeba(tmp_path / "a/celeba", 70), tmp_path / "a.lmdb", FACES)
    folder = make_celeba(tmp_path / "b/celeba", 70, shuffled=True, compression=zipfile.ZIP_DEFLATED)
    second = build(folder, tmp_path / "b.lmdb", FACES)

    assert first.read_bytes() == second.read_bytes()
    assert manifest_path(first).read_bytes() == manifest_path(second).read_bytes()


BAD = {
    "truncated": (lambda good: good[:-500], "can't be decoded"),
    "empty": (lambda good: b"", "is empty"),
    "page": (lambda good: b"<html>quota</html>", "but a web page"),
    "garbage": (lambda good: b"\x00" * 500, "no JPEG, PNG or WebP"),
    "small": (None, "has 100x100 pixels, the crop takes 128x128"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_stops_the_conversion_with_its_name(
    make_celeba, make_photograph, encode, tmp_path, kind
):
    change, reason = BAD[kind]
    good = encode(make_photograph(3, 178, 218))
    content = change(good) if change else encode(make_photograph(3, 100, 100))
    folder = make_celeba(tmp_path / "celeba", 20, replaced={3: content})

    with pytest.raises(DataError, match=rf"picture 000004.jpg .*{reason}.*max_bad allows 0"):
        build(folder, tmp_path / "celeba.lmdb", FACES)
    assert not list(tmp_path.glob("*celeba.*"))


def test_bad_pictures_within_the_cap_are_left_out_and_listed(make_celeba, tmp_path):
    folder = make_celeba(tmp_path / "celeba", 20, replaced={3: b"", 17: b"GIF89a"})
    path = build(folder, tmp_path / "celeba.lmdb", FACES._replace(max_bad=2))

    assert [len(images) for images in everything(path).values()] == [15, 1, 2]
    assert [entry["name"] for entry in read_json(manifest_path(path))["skipped"]] == [
        "000004.jpg",
        "000018.jpg",
    ]
    assert ImageStore(path, "train").read_attributes([3])[0, :3].tolist() == [False, False, True]  # picture 4
    with pytest.raises(DataError, match="000018.jpg .*; 2 bad in all, datasets.celeba.max_bad allows 1"):
        build(folder, tmp_path / "celeba.lmdb", FACES._replace(max_bad=1))


@pytest.mark.parametrize(
    ("file", "change", "fault"),
    [
        ("list_eval_partition.txt", lambda t: t.replace("000002.jpg 0", "000002.jpg 7"), "000002.jpg 7"),
        (
            "list_eval_partition.txt",
            lambda t: t.replace("000002.jpg 0\n", ""),
            "1 names .* such as 000002.jpg",
        ),
        ("list_eval_partition.txt", lambda t: t + "000002.jpg 0\n", "isn't a new name"),
        ("list_eval_partition.txt", lambda t: "<html>é</html>", "not ASCII"),
        ("list_attr_celeba.txt", lambda t: t.replace("20\n", "21\n", 1), "announces 21, has 20"),
        ("list_attr_celeba.txt", lambda t: t.replace("-1", "0", 1), "doesn't have 40 values"),
        ("list_attr_celeba.txt", lambda t: "", "announces nothing"),
    ],
)
def test_a_list_that_does_not_fit_the_pictures_is_a_data_error(make_celeba, tmp_path, file, change, fault):
    folder = make_celeba(tmp_path / "celeba", 20)
    (folder / file).write_text(change((folder / file).read_text()))

    with pytest.raises(DataError, match=fault):
        build(folder, tmp_path / "celeba.lmdb", FACES)


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="img_align_celeba.zip: no such file"):
        build(tmp_path / "celeba", tmp_path / "celeba.lmdb", FACES)


# ---- LSUN


def resized_short_side(picture, side):
    """torchvision's Resize(side), then its CenterCrop(side), by Pillow."""
    width, height = picture.size
    short = min(width, height)
    size = (side, side * height // short) if width <= height else (side * width // short, side)
    small = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    return np.asarray(small)[top : top + side, left : left + side].transpose(2, 0, 1)


@pytest.fixture(scope="module")
def lsun_folder(tmp_path_factory, lsun_environment, pack_lmdb):
    folder = tmp_path_factory.mktemp("raw") / "lsun_bedroom"
    for part, compression in (("train", zipfile.ZIP_DEFLATED), ("val", zipfile.ZIP_STORED)):
        name = f"bedroom_{part}_lmdb"
        pack_lmdb(lsun_environment / name, folder / f"{name}.zip", compression)
    return folder


@pytest.fixture(scope="module")
def rooms(tmp_path_factory, lsun_folder):
    return build(lsun_folder, tmp_path_factory.mktemp("rooms") / "lsun_bedroom.lmdb", ROOMS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its file of keys stays open
def test_lsun_equals_torchvisions_own_reading_in_order_and_pixels(
    rooms, lsun_environment, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # torchvision writes a cache of keys here
    for split, theirs in (("train", "bedroom_train"), ("validation", "bedroom_val")):
        reader, ours = datasets.LSUN(str(lsun_environment), classes=[theirs]), ImageStore(rooms, split)
        assert len(reader) == len(ours) == {"train": 1700, "validation": 300}[split]
        found = ours.read(range(len(ours))).astype(int)
        for number in range(len(ours)):
            difference = np.abs(found[number] - resized_short_side(reader[number][0], 64))
            assert difference.max() <= 1 and difference.mean() < 0.01


def test_the_ancestors_zoom_is_the_middle_of_each_picture_pixel_for_pixel(lsun_folder, lsun_values):
    with convert(lsun_folder, ROOMS._replace(crop="centre_128_decimated")) as found:
        first = [next(found.records).pixels for _ in range(300)]
    keys = sorted(list(lsun_values)[:1700])[:300]
    for key, pixels in zip(keys, first, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(lsun_values[key])).convert("RGB"))
        top, left = (picture.shape[0] - 128) // 2, (picture.shape[1] - 128) // 2
        expected = picture[top : top + 128 : 2, left : left + 128 : 2].transpose(2, 0, 1)
        np.testing.assert_array_equal(pixels, expected)


def test_nothing_of_an_lsun_archive_is_left_on_disk(lsun_folder, rooms):
    assert sorted(path.name for path in lsun_folder.iterdir()) == [
        "bedroom_train_lmdb.zip",
        "bedroom_val_lmdb.zip",
    ]
    assert sorted(path.name for path in rooms.parent.iterdir()) == ["lsun_bedroom.json", "lsun_bedroom.lmdb"]


def test_an_empty_value_of_lsun_is_a_bad_picture_with_its_key(make_lmdb, pack_lmdb, lsun_values, tmp_path):
    values = dict(list(lsun_values.items())[:30])
    key = sorted(values)[4]
    make_lmdb(tmp_path / "cat", values | {key: b""})
    folder = tmp_path / "lsun_cat"
    pack_lmdb(tmp_path / "cat", folder / "cat_train_lmdb.zip", zipfile.ZIP_STORED)

    with pytest.raises(DataError, match=f"picture {key.decode()} is empty"):
        build(folder, tmp_path / "lsun_cat.lmdb", ROOMS)
    path = build(folder, tmp_path / "lsun_cat.lmdb", ROOMS._replace(max_bad=1))
    assert len(ImageStore(path, "train")) == 29


def test_an_lsun_folder_without_train_archive_says_what_to_run(tmp_path):
    with pytest.raises(
        DataError, match="no file ends with _train_lmdb.zip; run 'dvc repro -f download@lsun'"
    ):
        build(tmp_path / "lsun", tmp_path / "lsun.lmdb", ROOMS)


# ---- everything else


@pytest.mark.parametrize(
    ("crop", "image"),
    [
        ("centre_108", (3, 128, 128)),
        ("centre_128_decimated", (3, 60, 60)),
        ("short_side", (3, 64, 32)),
        ("exact", (2, 64, 64)),
    ],
)
def test_a_crop_that_cannot_give_the_shape_is_a_config_error(tmp_path, crop, image):
    with pytest.raises(ConfigError, match=r"crop|channels"):
        build(tmp_path, tmp_path / "x.lmdb", Plan(ImageShape(*image), "celeba", crop=crop))


def test_a_worker_that_is_killed_is_a_data_error(tmp_path):
    program = (
        "import os, signal\n"
        "from gan.data.workers import ordered_map\n"
        "from gan.errors import DataError\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        list(ordered_map(os._exit, [1, 2, 3], 2))\n"
        "    except DataError as error:\n"
        "        print(error)\n"
    )
    (tmp_path / "program.py").write_text(program)
    found = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert "a worker process died" in found.stdout
