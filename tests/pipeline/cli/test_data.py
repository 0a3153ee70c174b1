"""What a person gets from `gantry data` and `gantry import`: lists, pictures, data sets of their own."""

import csv
import gzip
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gan.config import load_params
from gan.data.image_store import ImageStore
from gan.data.manifest import read_manifest
from pipeline import contact, convert, download
from pipeline.cli import main
from tests.parameters import copy_parameters

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with params, manifest and the embedded digits, as the working directory."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    copy_parameters(root)
    shutil.copy(ROOT / "data/manifest.yaml", root / "data")
    shutil.copytree(ROOT / "data/mnist_tiny", root / "data/mnist_tiny")
    monkeypatch.chdir(root)
    monkeypatch.delenv("GANTRY_MIRROR", raising=False)
    monkeypatch.setenv("GANTRY_PROCESSES", "1")
    return root


def gantry(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def prepare(name):
    params = load_params(Path("params.yaml"))
    download.main(params, name)
    convert.main(params, name)


def listed(name):
    return next(row for row in json.loads(gantry("data", "--json").stdout) if row["name"] == name)


def test_data_lists_what_is_missing_before_and_what_is_there_after(project):
    before = listed("mnist_tiny")
    assert (before["state"], before["count"], before["splits"]) == ("to be fetched", 5000, {})
    assert before["missing"] == ["images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"]
    assert before["bytes_missing"] == 806_409 + 60
    prepare("mnist_tiny")

    after = listed("mnist_tiny")
    assert (after["state"], after["missing"], after["bytes_missing"]) == ("ready", [], 0)
    assert after["splits"] == {"train": 4000, "test": 1000}
    assert after["digest"] == "bc74558795f18923c747bbbb14df1b2736fe03728e2fe5895c428b6a39f79238"
    assert after["licence"].startswith("BSD-3-Clause")


def test_data_knows_how_much_of_a_large_file_came(project):
    partial = Path("data/raw/lsun_tower/.tower_train_lmdb.zip.part")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(1000))

    found = listed("lsun_tower")
    assert found["missing"][0] == "tower_train_lmdb.zip (1,000 of 12,010,237,081 bytes are there)"
    assert found["bytes_missing"] == 12_010_237_081 - 1000 + 5_223_709


def test_a_store_that_was_cut_short_is_not_ready(project):
    prepare("mnist_tiny")
    path = Path("data/lmdb/mnist_tiny.lmdb")
    path.write_bytes(path.read_bytes()[:-4096])

    assert listed("mnist_tiny")["state"] == "to be converted"


def test_the_table_names_every_set_with_its_size_and_licence(project):
    lines = gantry("data").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["name", *load_params(Path("params.yaml")).datasets]
    (celeba,) = (line for line in lines if line.startswith("celeba "))
    assert "202,599" in celeba and "3x64x64" in celeba and "non-commercial research only" in celeba
    assert "3 of 3 files, 1.47 GB" in celeba


def test_view_draws_images_of_every_class_once_and_overwrites_only_by_force(project):
    prepare("mnist_tiny")
    result = gantry("data", "view", "mnist_tiny", "-n", 32, "--split", "test")

    assert result.stdout == "mnist_tiny.png: 32 of 1,000 images of mnist_tiny, test\n"
    with Image.open("mnist_tiny.png") as picture:
        assert picture.size == (2 * (16 * 30 - 2), 2 * (2 * 30 - 2))  # 28 and a gap of 2, twice
    assert "exists; give --force" in gantry("data", "view", "mnist_tiny", code=73).stderr
    gantry("data", "view", "mnist_tiny", "--force")


def test_check_refuses_more_samples_than_a_converted_reference_has(project):
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  mnist_tiny: 1000\n", "  mnist_tiny: 1001\n"))
    gantry("check")  # nobody knows yet how many there are
    prepare("mnist_tiny")
    fault = "error: params.yaml: samples.mnist_tiny is 1001, and its split test has 1000 images; lower it\n"
    assert gantry("check", code=78).stderr == fault

    Path("params.yaml").write_text(text.replace("reference: test", "reference: validation"))
    fault = "error: params.yaml: evaluate.reference is validation, and mnist_tiny has only test, train\n"
    assert gantry("check", code=78).stderr == fault


def test_the_stage_draws_the_same_sheet_each_time(project):
    prepare("mnist_tiny")
    contact.main(load_params(Path("params.yaml")), "mnist_tiny")
    first = Path("build/contact/mnist_tiny.png").read_bytes()
    contact.main(load_params(Path("params.yaml")), "mnist_tiny")

    assert Path("build/contact/mnist_tiny.png").read_bytes() == first
    with Image.open("build/contact/mnist_tiny.png") as picture:
        pixels = np.asarray(picture)
    tiles = [pixels[0:56, 60 * i : 60 * i + 56] for i in range(16)]
    assert all(tile.max() > 200 for tile in tiles)  # a digit in each


def test_export_writes_images_and_labels_that_read_back_equal(project):
    prepare("mnist_tiny")
    gantry("data", "export", "mnist_tiny", "out", "--split", "test", "-n", 300)

    store = ImageStore(Path("data/lmdb/mnist_tiny.lmdb"), "test")
    rows = list(csv.DictReader(Path("out/labels.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [f"{i:03d}.png" for i in range(300)]
    assert [int(row["label"]) for row in rows] == store.read_labels(range(300)).tolist()
    for number in (0, 255, 256, 299):
        with Image.open(f"out/{number:03d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), store.read([number])[0, 0])
    assert "is not empty" in gantry("data", "export", "mnist_tiny", "out", code=73).stderr


def test_a_set_that_is_unknown_or_not_converted_says_what_to_do(project):
    assert "no data set 'imagenet'" in gantry("data", "view", "imagenet", code=78).stderr
    assert "run 'dvc repro -f convert@mnist'" in gantry("data", "view", "mnist", code=65).stderr


# ---- import


def digit_pictures(folder, count=40, side=30):
    """PNG files in two folders, grey, larger than 28."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side + 4), np.uint8)).save(path)
    return folder


def zipped(folder, target):
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    return target


def environment(folder, pictures):
    folder.mkdir()
    with lmdb.open(str(folder), map_size=2**24) as env, env.begin(write=True) as transaction:
        for path in pictures.rglob("*.png"):
            transaction.put(path.stem.encode(), path.read_bytes())
    return folder


def lmdb_zip(folder, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("data.mdb", "lock.mdb"):
            archive.write(folder / name, f"cats/{name}")
    return target


def idx_pair(folder, packed):
    folder.mkdir()
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        content = (ROOT / f"data/mnist_tiny/{name}.gz").read_bytes()
        if packed:
            (folder / f"{name}.gz").write_bytes(content)
        else:
            (folder / f"my-{name}").write_bytes(gzip.decompress(content))
    return folder


def array(path):
    np.save(path, np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8))
    return path


SOURCES = {
    "folder": (digit_pictures, "images", ["images.zip"]),
    "zip": (lambda path: zipped(digit_pictures(path), path.with_suffix(".zip")), "images", ["images.zip"]),
    "lmdb": (
        lambda path: environment(path.with_name("env"), digit_pictures(path)),
        "lsun",
        ["data.mdb"],
    ),
    "lmdb file": (
        lambda path: environment(path.with_name("env"), digit_pictures(path)) / "data.mdb",
        "lsun",
        ["data.mdb"],
    ),
    "lmdb zip": (
        lambda path: lmdb_zip(
            environment(path.with_name("env"), digit_pictures(path)), path.with_suffix(".zip")
        ),
        "lsun",
        ["own_train_lmdb.zip"],
    ),
    "idx": (lambda path: idx_pair(path, True), "idx", ["images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"]),
    "plain idx": (
        lambda path: idx_pair(path, False) / "my-images-idx3-ubyte",
        "idx",
        ["images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"],
    ),
    "npy": (lambda path: array(path.with_suffix(".npy")), "array", ["images.npy"]),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_imported_is_a_data_set_like_any_other(project, tmp_path, kind):
    make, layout, files = SOURCES[kind]
    source = make(tmp_path / "mine")
    comments = Path("params.yaml").read_text().count("#")
    options = ["--size", 28] if layout in ("images", "lsun") else []
    gantry("import", "own_digits", source, "--grey", *options, "--licence", "it's mine")

    params = load_params(Path("params.yaml"))
    assert Path("params.yaml").read_text().count("#") == comments
    assert params.datasets["own_digits"].layout == layout
    assert params.recipes["own_digits"] == params.recipes["mnist"]
    assert params.samples["own_digits"] == (1000 if layout == "idx" else 129)  # 1,000 test images, or 3 or 4
    entry = read_manifest(Path("data/manifest.yaml"))["own_digits"]
    assert [file.name for file in entry.files] == files
    assert entry.licence == "it's mine"
    prepare("own_digits")
    found = listed("own_digits")
    assert (found["state"], found["image"]) == ("ready", [1, 28, 28])
    assert found["count"] == {"images": 40, "lsun": 40, "array": 30, "idx": 5000}[layout]
    gantry("data", "view", "own_digits")


def test_pictures_of_a_folder_are_resized_with_their_folders_as_classes(project, tmp_path):
    folder = digit_pictures(tmp_path / "mine")
    gantry("import", "own", folder, "--grey", "--size", 28)
    prepare("own")
    store = ImageStore(Path("data/lmdb/own.lmdb"), "train")

    assert store.read_labels(range(36)).tolist() == [0] * 18 + [1] * 18
    with Image.open(folder / "a/000.png") as picture:
        expected = np.asarray(picture.resize((31, 28), Image.Resampling.BILINEAR))[:, 2:30]  # 34x30, then 28
    assert np.abs(store.read([0])[0, 0].astype(int) - expected).max() <= 1


def test_an_import_prints_how_many_pictures_each_split_has_and_the_classes(project, tmp_path):
    digit_pictures(tmp_path / "mine/Training", 30)
    digit_pictures(tmp_path / "mine/Testing", 20)
    lines = gantry("import", "own", tmp_path / "mine", "--grey", "--size", 28).stdout.splitlines()

    assert lines[:2] == ["own: 1x28x28 images by crop short_side; 30 train, 20 test", "2 classes: a, b"]
    assert lines[-1].startswith("put own into select.datasets")


HIDDEN = [".ipynb_checkpoints", ".cache/deep", "@eaDir", "__MACOSX", "a/@eaDir", "a/.thumbnails"]


@pytest.mark.parametrize("packed", [False, True])
def test_hidden_folders_are_no_classes_and_their_pictures_no_duplicates(project, tmp_path, packed):
    folder = digit_pictures(tmp_path / "mine")
    for hidden in HIDDEN:
        (folder / hidden).mkdir(parents=True)
        shutil.copy(folder / "a/000.png", folder / hidden / "x.png")
    source = zipped(folder, tmp_path / "mine.zip") if packed else folder
    output = gantry("import", "own", source, "--grey", "--size", 28).stdout

    assert "; 36 train, 4 test\n2 classes: a, b\n" in output


def test_links_to_folders_and_files_are_followed_and_one_to_a_folder_above_is_not(project, tmp_path):
    folder = digit_pictures(tmp_path / "mine")
    (tmp_path / "elsewhere").mkdir()
    (folder / "b").rename(tmp_path / "elsewhere/b")
    (folder / "b").symlink_to(tmp_path / "elsewhere/b")
    (folder / "a/000.png").rename(tmp_path / "elsewhere/000.png")
    (folder / "a/000.png").symlink_to(tmp_path / "elsewhere/000.png")
    (tmp_path / "elsewhere/b/again").symlink_to(folder)
    output = gantry("import", "own", folder, "--grey", "--size", 28).stdout

    assert "; 36 train, 4 test\n2 classes: a, b\n" in output


@pytest.mark.parametrize("packed", [False, True])
def test_every_suffix_of_a_picture_is_taken_and_what_is_left_out_is_counted(project, tmp_path, packed):
    folder = digit_pictures(tmp_path / "mine", 20)
    for number, suffix in enumerate((".jpg", ".JPEG", ".jpe", ".jfif", ".MPO")):
        with Image.open(folder / "a/000.png") as picture:
            picture.convert("RGB").save(folder / f"a/{number}{suffix}", "JPEG")
    for name in ("a.bmp", "b.BMP", "c.tif", "README"):
        (folder / "a" / name).write_bytes(b"something")
    source = folder
    if packed:
        source = tmp_path / "mine.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(folder))
    output = gantry("import", "own", source, "--grey", "--size", 28).stdout

    assert "; 23 train, 2 test\n" in output
    assert "left out: 2 .bmp, 1 " in output and "1 .tif" in output and "1 without a suffix" in output


LATIN = os.fsdecode(b"caf\xe9")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no file names but UTF-8")
def test_file_names_in_latin_1_are_read(project, tmp_path):
    folder = digit_pictures(tmp_path / LATIN, 20)
    (folder / "b").rename(folder / LATIN)
    (folder / "a/000.png").rename(folder / f"a/{LATIN}.png")
    (folder / f"a/{LATIN}.txt{LATIN}").write_bytes(b"")
    output = gantry("import", "own", folder, "--grey", "--size", 28).stdout

    assert "; 18 train, 2 test\n2 classes: a, caf\u00e9\nleft out: 1 .txtcaf\u00e9; " in output
    assert read_manifest(Path("data/manifest.yaml"))["own"].citation == "imported from caf\u00e9"
    with zipfile.ZipFile("data/own/own/images.zip") as archive:
        assert "a/caf\u00e9.png" in archive.namelist()
    prepare("own")
    assert listed("own")["splits"] == {"train": 18, "test": 2}


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no file names but UTF-8")
@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ([f"{LATIN}.png", "caf\u00e9.png"], r"two files are called caf\u00e9\.png in Unicode; rename one"),
        ([f"{LATIN}/1.png", "caf\u00e9/1.png"], r"two files are called caf\u00e9/1\.png in Unicode"),
        ([os.fsdecode(b"caf\x8e.png")], "has a control character in its name"),
    ],
)
def test_file_names_that_no_archive_can_hold_are_data_errors(project, tmp_path, names, fault):
    picture = digit_pictures(tmp_path / "from", 1) / "a/000.png"
    for name in names:
        target = tmp_path / "mine" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target)
    before = snapshot(project)

    assert re.search(
        fault, gantry("import", "own", tmp_path / "mine", "--grey", "--size", 28, code=65).stderr
    )
    assert snapshot(project) == before


def snapshot(project):
    return {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (["mnist", "mine"], 78, "there is a data set 'mnist' already"),
        (["Own", "mine"], 78, "is no name for a data set"),
        (["own", "absent"], 78, "no such file or folder"),
        (["own", "empty"], 78, "neither a folder or zip of"),
        (["own", "hidden"], 78, "neither a folder or zip of"),
        (["own", "bitmaps"], 78, "nor an npy; it holds 2 .bmp$"),
        (["own", "dangling", "--grey", "--size", "28"], 65, "gone.png: no file but a broken link"),
        (["own", "notes.txt"], 78, "neither a folder or zip of"),
        (
            ["own", "mine", "--grey", "--size", "29"],
            78,
            "no recipes for 1x29x29 images; it has some for 1x28x28, ",
        ),
        (
            ["own", "mine", "--grey", "--size", "28", "--crop", "exact"],
            65,
            "has 34x30 pixels, the store's are",
        ),
        (["own", "mine", "--grey", "--crop", "middle"], 78, "no crop 'middle'; there are exact, short_side"),
        (["own", "split", "--grey", "--size", "28"], 65, "1 pictures that are in none, such as preview.png"),
        (["own", "broken.npy"], 65, "can't be read as an array"),
        (["own", "broken"], 65, "can't be decoded"),
    ],
)
def test_an_import_that_fails_leaves_everything_as_it_was(
    project, tmp_path, monkeypatch, arguments, code, fault
):
    digit_pictures(tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    digit_pictures(tmp_path / "hidden/.git", 3)
    (tmp_path / "bitmaps").mkdir()
    for name in ("a.bmp", "b.bmp"):
        (tmp_path / "bitmaps" / name).write_bytes(b"BM")
    (digit_pictures(tmp_path / "dangling", 3) / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY nothing")
    digit_pictures(tmp_path / "broken", 3)
    (tmp_path / "broken/a/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    digit_pictures(tmp_path / "split/train", 4)
    digit_pictures(tmp_path / "split/test", 4)
    shutil.copy(tmp_path / "mine/a/000.png", tmp_path / "split/preview.png")
    before = snapshot(project)
    name, source, *options = arguments
    if source == "broken":
        options = ["--grey", "--size", 28]
    result = gantry("import", name, tmp_path / source, *options, code=code)

    assert re.search(fault, result.stderr)
    assert len(result.stderr.splitlines()) == 1
    assert snapshot(project) == before
    assert not Path("data/own/own").exists()
