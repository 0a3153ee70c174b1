import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gan.contract import ImageShape
from gan.data import image_store, store_manifest, store_writer
from gan.data.image_store import ImageStore, Record
from gan.data.store_manifest import Skipped, manifest_path
from gan.data.store_writer import write_store
from gan.errors import ConfigError, DataError
from gan.files import read_json, write_json

SHAPE = ImageShape(2, 3, 4)
SPLITS = {"train": (0, 20), "validation": (20, 24), "test": (24, 30)}


def records(count=30):
    """Record i holds the bytes i, i + 1, ... and the label i - 3."""
    for i in range(count):
        yield (np.arange(24, dtype=np.uint8) + i).reshape(SHAPE).astype(np.uint8), i - 3


def build(path, count=30, splits=SPLITS):
    write_store(path, records(count), image=SHAPE, splits=splits, recipe={"split": "by hand"})
    return path


def changed_copy(source, target, change):
    """A store whose file is `change` of the original's bytes, with the original's manifest."""
    target.write_bytes(change(bytearray(source.read_bytes())))
    manifest_path(target).write_bytes(manifest_path(source).read_bytes())
    return target


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build(tmp_path_factory.mktemp("store") / "digits.lmdb")


def test_what_is_read_is_what_was_written(store):
    test = ImageStore(store, "test")

    assert len(test) == 6
    assert test.image == SHAPE
    images = test.read([0, 5])
    assert images.shape == (2, 2, 3, 4)
    assert images.dtype == np.uint8
    assert images[0].flatten().tolist() == list(range(24, 48))  # record 24
    assert images[1].flatten().tolist() == list(range(29, 53))  # record 29


def test_records_come_in_the_order_that_was_asked_for(store):
    train = ImageStore(store, "train")

    assert train.read(np.array([7, 0, 19, 7]))[:, 0, 0, 0].tolist() == [7, 0, 19, 7]
    assert train.read_labels([7, 0, 19, 7]).tolist() == [4, -3, 16, 4]
    assert train.read_labels([7]).dtype == np.int64


def test_no_indices_give_no_records(store):
    assert ImageStore(store, "train").read([]).shape == (0, 2, 3, 4)
    assert ImageStore(store, "train").read_labels([]).shape == (0,)


@pytest.mark.parametrize("index", [-1, 20])
def test_a_position_outside_the_split_is_refused(store, index):
    with pytest.raises(IndexError, match="of 20"):
        ImageStore(store, "train").read([0, index])


def test_what_was_read_may_be_written_to(store):
    images = ImageStore(store, "train").read([0])
    images += 1

    assert ImageStore(store, "train").read([0])[0, 0, 0, 0] == 0


def test_an_unknown_split_names_those_there_are(store):
    with pytest.raises(ConfigError, match="no split 'dev'; it has test, train, validation"):
        ImageStore(store, "dev")


def test_equal_records_give_equal_bytes(store, tmp_path):
    again = build(tmp_path / "other.lmdb")

    assert again.read_bytes() == store.read_bytes()
    assert manifest_path(again).read_bytes() == manifest_path(store).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "other.lmdb"]


def test_the_digest_depends_on_records_and_splits(store, tmp_path):
    other_split = build(tmp_path / "split.lmdb", splits={"train": (0, 24), "test": (24, 30)})
    fewer = build(tmp_path / "fewer.lmdb", count=29, splits=SPLITS | {"test": (24, 29)})

    digests = {ImageStore(path, "train").digest for path in (store, other_split, fewer)}
    assert len(digests) == 3
    assert all(len(digest) == 64 for digest in digests)


def test_a_store_of_many_write_transactions_keeps_every_record(tmp_path):
    count = 2 * store_writer.BATCH + 5
    path = tmp_path / "many.lmdb"
    pixels = np.zeros((count, 1, 1, 2), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
    write_store(
        path,
        ((row, 0) for row in pixels),
        image=ImageShape(1, 1, 2),
        splits={"train": (0, count)},
        recipe={},
    )

    np.testing.assert_array_equal(ImageStore(path, "train").read(range(count)), pixels)


def test_large_records_fill_smaller_transactions_and_equal_bytes_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(store_writer, "BATCH_BYTES", 100)  # three records of 32 bytes
    few = build(tmp_path / "few.lmdb")
    again = build(tmp_path / "again.lmdb")

    assert few.read_bytes() == again.read_bytes()
    assert ImageStore(few, "test").read_labels([5]).tolist() == [26]


NAMES = [f"trait_{i}" for i in range(11)]  # two bytes of bits


def traits(number):
    """Attribute j of record i is bit j of i."""
    return [bool(number >> j & 1) for j in range(11)]


def build_with_traits(path, count=30, splits=SPLITS):
    write_store(
        path,
        (Record(pixels, label, traits(i)) for i, (pixels, label) in enumerate(records(count))),
        image=SHAPE,
        splits=splits,
        recipe={},
        attributes=NAMES,
    )
    return path


def test_attributes_come_back_beside_labels_and_pixels(tmp_path, store):
    test = ImageStore(build_with_traits(tmp_path / "faces.lmdb"), "test")

    assert test.attributes == NAMES
    assert test.read_attributes([5, 0]).tolist() == [traits(29), traits(24)]
    assert test.read_attributes([5, 0]).dtype == np.bool_
    assert test.read_labels([5, 0]).tolist() == [26, 21]
    np.testing.assert_array_equal(test.read(range(6)), ImageStore(store, "test").read(range(6)))
    assert test.digest != ImageStore(store, "test").digest


def test_a_store_without_attributes_has_none(store):
    train = ImageStore(store, "train")

    assert train.attributes == []
    assert train.read_attributes([0, 1]).shape == (2, 0)


def test_a_changed_attribute_shows_in_the_crc(tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "HASHED_BYTES", 0)
    monkeypatch.setattr(image_store, "SAMPLED", 2)
    path = build_with_traits(tmp_path / "faces.lmdb")
    content = bytearray(path.read_bytes())
    content[content.index(bytes(range(7, 31))) - 1] ^= 0x20  # the last bits before the pixels of record 7
    path.write_bytes(content)

    with pytest.raises(DataError, match="record 7 is changed"):
        ImageStore(path, "train").read_attributes([7])


def test_a_record_with_too_few_attributes_is_refused(tmp_path):
    with pytest.raises(DataError, match="record 0 has 0 attributes, the store 11"):
        write_store(
            tmp_path / "faces.lmdb",
            records(),
            image=SHAPE,
            splits=SPLITS,
            recipe={},
            attributes=NAMES,
        )


def build_with_holes(path, holes, skipped=()):
    write_store(
        path,
        (None if i in holes else record for i, record in enumerate(records())),
        image=SHAPE,
        splits=SPLITS,
        recipe={"split": "by hand"},
        skipped=skipped,
    )
    return path


def test_a_record_left_out_closes_its_gap_in_its_split(tmp_path):
    skipped = [Skipped(name="a.jpg", reason="truncated"), Skipped(name="b.jpg", reason="empty")]
    path = build_with_holes(tmp_path / "holes.lmdb", {3, 24}, skipped)

    assert (len(ImageStore(path, "train")), len(ImageStore(path, "validation"))) == (19, 4)
    assert ImageStore(path, "train").read_labels([2, 3]).tolist() == [-1, 1]  # records 2 and 4
    assert ImageStore(path, "test").read_labels(range(5)).tolist() == [22, 23, 24, 25, 26]
    assert read_json(manifest_path(path))["skipped"][0] == {"name": "a.jpg", "reason": "truncated"}


def test_leaving_a_record_out_gives_the_digest_of_a_store_without_it(tmp_path):
    holes = build_with_holes(tmp_path / "holes.lmdb", {3})
    write_store(
        tmp_path / "without.lmdb",
        (record for i, record in enumerate(records()) if i != 3),
        image=SHAPE,
        splits={"train": (0, 19), "validation": (19, 23), "test": (23, 29)},
        recipe={"split": "by hand"},
    )

    assert ImageStore(holes, "train").digest == ImageStore(tmp_path / "without.lmdb", "train").digest


def test_a_split_of_which_nothing_is_left_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="every record of validation was left out"):
        build_with_holes(tmp_path / "holes.lmdb", {20, 21, 22, 23})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [29, 31])
def test_a_wrong_number_of_records_leaves_nothing(tmp_path, count):
    with pytest.raises(DataError, match=f"got {count} records, the splits cover 30"):
        build(tmp_path / "digits.lmdb", count)
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_another_shape_is_named(tmp_path):
    with pytest.raises(DataError, match=r"record 30 is uint8 \(1, 1, 1\), the store is uint8 \(2, 3, 4\)"):
        write_store(
            tmp_path / "digits.lmdb",
            [*records(), (np.zeros((1, 1, 1), np.uint8), 0)],
            image=SHAPE,
            splits={"train": (0, 31)},
            recipe={},
        )


@pytest.mark.parametrize(
    "splits",
    [
        {"train": (1, 30)},
        {"train": (0, 20), "test": (21, 30)},
        {"train": (0, 0)},
        {"training": (0, 30)},
        {},
    ],
)
def test_splits_that_overlap_or_leave_gaps_are_refused(tmp_path, splits):
    with pytest.raises(ValueError, match="split"):
        build(tmp_path / "digits.lmdb", splits=splits)


def test_a_full_disk_is_an_os_error_that_leaves_the_old_store(tmp_path):
    path = build(tmp_path / "digits.lmdb")
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from gan.contract import ImageShape\n"
        "from gan.data.store_writer import write_store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))\n"
        "records = ((np.zeros((1, 64, 64), np.uint8), 0) for _ in range(100))\n"
        "try:\n"
        "    write_store(Path(sys.argv[1]), records, image=ImageShape(1, 64, 64), splits={'train': (0, 100)},"
        " recipe={})\n"
        "except OSError as error:\n"
        "    print(error.errno, error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert found.stdout.decode().startswith("5 [Errno 5] LMDB can't write")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digits.json", "digits.lmdb"]
    assert ImageStore(path, "test").read_labels([5]).tolist() == [26]


WRITER = """
import sys
from pathlib import Path

import numpy as np

from gan.data.store_writer import write_store

image = (3, 32, 32)
records = ((np.full(image, (i + int(sys.argv[2])) % 256, np.uint8), i) for i in range(4000))
print("begin", flush=True)
write_store(Path(sys.argv[1]), records, image=image, splits={"train": (0, 4000)}, recipe={})
print("end", flush=True)
"""


def start_writer(path, first):
    command = [sys.executable, "-c", WRITER, str(path), str(first)]
    writer = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"begin\n"
    return writer


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_the_old_store_the_new_one_or_a_refusal(tmp_path):
    path = tmp_path / "digits.lmdb"
    begin = time.monotonic()
    start_writer(path, 0).communicate()
    whole = time.monotonic() - begin
    seen = set()
    for moment in np.linspace(0.0, 1.1 * whole, 24):
        writer = start_writer(path, 1)
        time.sleep(moment)
        writer.kill()
        writer.communicate()
        try:
            values = ImageStore(path, "train").read(range(4000))[:, 0, 0, 0]
        except DataError as error:
            assert "run 'dvc repro -f convert@digits'" in str(error)  # noqa: PT017
            seen.add("refusal")
        else:
            first = int(values[0])
            assert first in (0, 1)
            assert (values == (np.arange(4000) + first) % 256).all()
            seen.add("old" if first == 0 else "new")
        start_writer(path, 0).communicate()
        assert ImageStore(path, "train").read([3999])[0, 0, 0, 0] == 3999 % 256
    assert {"old", "new"} <= seen


def test_a_truncated_file_is_refused_and_kills_nobody(store, tmp_path):
    size = store.stat().st_size
    for keep in (0, 1, 4096, size // 2, size - 4096, size - 1):
        broken = changed_copy(store, tmp_path / f"{keep}.lmdb", lambda content, keep=keep: content[:keep])
        with pytest.raises(DataError, match=f"has {keep} bytes, its manifest says {size}; run 'dvc repro"):
            ImageStore(broken, "train").read([0])


def test_every_flipped_bit_is_detected_before_use(store, tmp_path):
    rng = np.random.default_rng(0)
    for position in rng.integers(0, store.stat().st_size, 20):

        def flip(content, position=position):
            content[position] ^= 1 << int(rng.integers(8))
            return content

        broken = changed_copy(store, tmp_path / f"{position}.lmdb", flip)
        with pytest.raises(DataError, match="its SHA-256 is not the manifest's"):
            ImageStore(broken, "test").read([0])


def test_a_changed_pixel_in_a_file_too_large_to_hash_shows_in_its_records_crc(store, tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "HASHED_BYTES", 0)
    monkeypatch.setattr(image_store, "SAMPLED", 2)  # the first and the last record
    pixels = bytes(range(7, 31))  # record 7, which no sample sees

    def flip(content):
        content[content.index(pixels) + 3] ^= 4
        return content

    train = ImageStore(changed_copy(store, tmp_path / "flipped.lmdb", flip), "train")
    assert train.read([6, 8]).shape == (2, 2, 3, 4)
    with pytest.raises(DataError, match="record 7 is changed, its CRC is wrong"):
        train.read([6, 7, 8])


def test_a_file_too_large_to_hash_is_sampled(store, tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "HASHED_BYTES", 0)
    pixels = bytes(range(29, 53))  # the last record

    def flip(content):
        content[content.index(pixels) + 3] ^= 4
        return content

    train = ImageStore(changed_copy(store, tmp_path / "flipped.lmdb", flip), "train")
    with pytest.raises(DataError, match="record 29 is changed"):
        train.read([0])


def test_a_file_of_garbage_that_its_manifest_vouches_for_is_a_data_error(store, tmp_path):
    broken = tmp_path / "garbage.lmdb"
    broken.write_bytes(b"\x55" * 8192)
    manifest = read_json(manifest_path(store)) | {"bytes": 8192, "sha256": image_store.sha256_of(broken)}
    del manifest["seal"]
    write_json(manifest_path(broken), manifest | {"seal": store_manifest.seal_of(manifest)})

    with pytest.raises(DataError, match="LMDB can't open it"):
        ImageStore(broken, "train").read([0])


def test_a_store_without_manifest_is_incomplete(store, tmp_path):
    (tmp_path / "digits.lmdb").write_bytes(store.read_bytes())

    with pytest.raises(DataError, match=r"digits\.json: no such file.*run 'dvc repro -f convert@digits'"):
        ImageStore(tmp_path / "digits.lmdb", "train")


def test_a_manifest_without_file_is_an_error_that_says_what_to_run(store, tmp_path):
    manifest_path(tmp_path / "digits.lmdb").write_bytes(manifest_path(store).read_bytes())

    with pytest.raises(DataError, match=r"digits\.lmdb: no such file; run 'dvc repro -f convert@digits'"):
        ImageStore(tmp_path / "digits.lmdb", "train").read([0])


def test_every_change_of_a_manifests_digits_is_detected(store, tmp_path):
    text = manifest_path(store).read_text()
    path = tmp_path / "digits.lmdb"
    path.write_bytes(store.read_bytes())
    for position in (i for i, character in enumerate(text) if character.isdigit()):
        digit = "1" if text[position] != "1" else "2"
        manifest_path(path).write_text(text[:position] + digit + text[position + 1 :])
        with pytest.raises(DataError, match=r"digits\.json"):
            ImageStore(path, "train")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 2}'])
def test_a_manifest_that_is_none_is_a_data_error_of_one_line(tmp_path, content):
    (tmp_path / "digits.json").write_bytes(content)

    with pytest.raises(DataError, match="not the manifest of a store") as caught:
        ImageStore(tmp_path / "digits.lmdb", "train")
    assert len(str(caught.value).splitlines()) == 1


def test_two_splits_share_one_open_file(store):
    train, test = ImageStore(store, "train"), ImageStore(store, "test")
    train.read([0])
    test.read([0])

    assert train._opened == test._opened


def test_a_store_that_was_rebuilt_is_opened_anew(tmp_path):
    path = build(tmp_path / "digits.lmdb")
    old = ImageStore(path, "test")
    assert old.read_labels([5]).tolist() == [26]
    build(path, 31, SPLITS | {"test": (24, 31)})

    assert ImageStore(path, "test").read_labels([6]).tolist() == [27]
    assert old.read_labels([5]).tolist() == [26]  # the file that it opened, though its name is gone


def test_a_pickled_store_reads_in_another_process(store):
    train = ImageStore(store, "train")
    train.read([0])
    program = (
        "import pickle, sys; store = pickle.load(sys.stdin.buffer); print(store.read_labels([3, 1]).tolist())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(train),
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert found.stdout.decode().strip() == "[0, -2]"


def test_an_open_store_reads_in_spawned_processes(store):
    train = ImageStore(store, "train")
    train.read([0])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(train.read_labels, [[i] for i in range(20)])

    assert [labels.tolist() for labels in found] == [[i - 3] for i in range(20)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_a_thread_opens_a_store_leaves_the_child_able_to_read(store):
    train = ImageStore(store, "train")
    with image_store._opening:  # what the other thread holds
        child = multiprocessing.get_context("fork").Process(target=train.read, args=([0],))
        child.start()
        child.join(20)

    assert child.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_an_open_store_reads_in_forked_processes_and_still_in_the_parent(store):
    train = ImageStore(store, "train")
    train.read([0])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(train.read_labels, [[i] for i in range(20)])

    assert [labels.tolist() for labels in found] == [[i - 3] for i in range(20)]
    assert train.read_labels([2]).tolist() == [-1]


def test_reading_leaves_no_lock_file_and_changes_no_byte(tmp_path):
    path = build(tmp_path / "digits.lmdb")
    before = path.read_bytes()
    ImageStore(path, "train").read(range(20))

    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digits.json", "digits.lmdb"]


def test_the_store_loads_no_torch():
    modules = "gan.data.store_writer, gan.data.convert, gan.data.download"
    program = f"import sys, {modules}; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert found.stdout.decode().strip() == "False"
