import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from gan.contract import ImageShape
from gan.data import digits as digits_module
from gan.data.convert import Plan
from gan.data.convert import convert as opened
from gan.data.digits import IMAGES_MAGIC, LABELS_MAGIC, read_digits, read_idx
from gan.errors import ConfigError, DataError

EMBEDDED = Path(__file__).parents[2] / "data/mnist_tiny"
SHAPE = ImageShape(1, 2, 3)


def write_idx(folder, prefix, count, labels=None):
    """Image i holds the bytes i, i + 1, ..., i + 5; its label is i % 10."""
    images = (np.arange(count)[:, None] + np.arange(6)).astype(np.uint8)
    labels = np.arange(count) % 10 if labels is None else labels
    contents = {
        "images-idx3": struct.pack(">4I", 0x803, count, 2, 3) + images.tobytes(),
        "labels-idx1": struct.pack(">2I", 0x801, len(labels)) + bytes(int(label) for label in labels),
    }
    for name, content in contents.items():
        (folder / f"{prefix}{name}-ubyte.gz").write_bytes(gzip.compress(content, 1, mtime=0))


def write_gz(path, content):
    path.write_bytes(gzip.compress(content, 1, mtime=0))
    return path


def convert(folder, split, image):
    with opened(folder, Plan(image, "idx", split)) as conversion:
        return conversion


def labels_by_split(found):
    labels = [record.label for record in found.records]
    return {name: labels[begin:end] for name, (begin, end) in found.splits.items()}


def test_every_fifth_record_is_test(tmp_path):
    write_idx(tmp_path, "", 12)
    found = convert(tmp_path, "every_fifth_is_test", SHAPE)

    assert found.splits == {"train": (0, 10), "test": (10, 12)}
    assert labels_by_split(found) == {"train": [0, 1, 2, 3, 5, 6, 7, 8, 0, 1], "test": [4, 9]}


def test_the_last_records_of_train_are_validation_and_t10k_is_test(tmp_path, monkeypatch):
    monkeypatch.setattr(digits_module, "VALIDATION", 3)
    write_idx(tmp_path, "train-", 8)
    write_idx(tmp_path, "t10k-", 2)
    found = convert(tmp_path, "last_5000_are_validation", SHAPE)

    assert found.splits == {"train": (0, 5), "validation": (5, 8), "test": (8, 10)}
    assert labels_by_split(found) == {"train": [0, 1, 2, 3, 4], "validation": [5, 6, 7], "test": [0, 1]}


def test_a_train_file_without_room_for_validation_is_a_data_error(tmp_path):
    write_idx(tmp_path, "train-", 5000)

    with pytest.raises(DataError, match="5000 train images, more than 5000 are needed"):
        convert(tmp_path, "last_5000_are_validation", SHAPE)


def test_images_keep_their_bytes_and_gain_a_channel_axis(tmp_path):
    write_idx(tmp_path, "", 5)
    records = list(convert(tmp_path, "every_fifth_is_test", SHAPE).records)

    assert records[1][0].tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert records[4][0].tolist() == [[[4, 5, 6], [7, 8, 9]]]


def test_the_recipe_names_the_content_and_not_its_compression(tmp_path):
    write_idx(tmp_path, "", 5)
    first = convert(tmp_path, "every_fifth_is_test", SHAPE).recipe
    for path in tmp_path.iterdir():
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 9, mtime=7))

    assert convert(tmp_path, "every_fifth_is_test", SHAPE).recipe == first
    assert first["split"] == "every_fifth_is_test"
    assert sorted(first["sources"]) == ["images-idx3-ubyte", "labels-idx1-ubyte"]


def test_another_shape_than_that_of_params_is_a_config_error(tmp_path):
    write_idx(tmp_path, "", 5)

    with pytest.raises(ConfigError, match=r"image is \[1, 28, 28\], the files in .* hold \[1, 2, 3\]"):
        convert(tmp_path, "every_fifth_is_test", ImageShape(1, 28, 28))


HEADER = struct.pack(">4I", IMAGES_MAGIC, 2, 2, 3)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "ends within the IDX header"),
        (HEADER[:15], "ends within the IDX header"),
        (struct.pack(">4I", LABELS_MAGIC, 2, 2, 3), "magic number 0x00000801, expected 0x00000803"),
        (HEADER + bytes(11), "announces 12 bytes .* holds 11"),
        (HEADER + bytes(13), "announces 12 bytes .* holds more"),
        (struct.pack(">4I", IMAGES_MAGIC, *[2**31] * 3), "announces 9903520314283042199192993792 bytes"),
        (b"<html>not found</html>", "magic number"),
    ],
)
def test_content_that_is_not_exactly_idx_is_a_data_error(tmp_path, content, fault):
    with pytest.raises(DataError, match=fault):
        read_idx(write_gz(tmp_path / "images.gz", content), IMAGES_MAGIC)


def test_a_file_that_is_not_gzip_is_a_data_error(tmp_path):
    (tmp_path / "images.gz").write_bytes(HEADER + bytes(12))

    with pytest.raises(DataError, match="not a whole gzip file"):
        read_idx(tmp_path / "images.gz", IMAGES_MAGIC)


def test_no_truncation_and_no_flipped_bit_of_a_gzip_file_gives_other_images(tmp_path):
    good = write_gz(tmp_path / "good.gz", HEADER + bytes(range(12))).read_bytes()
    path = tmp_path / "images.gz"
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(DataError):
            read_idx(path, IMAGES_MAGIC)
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 16]) + good[position + 1 :])
        try:
            images, _ = read_idx(path, IMAGES_MAGIC)
        except DataError:
            continue
        assert images.flatten().tolist() == list(range(12))  # a bit of gzip's own header, such as its time


def test_an_absent_file_is_a_data_error_that_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="no such file; run 'dvc repro -f download@mnist'"):
        read_digits(tmp_path / "mnist", "")


def test_images_and_labels_of_different_numbers_are_refused(tmp_path):
    write_idx(tmp_path, "", 5, labels=[1, 2, 3, 4])

    with pytest.raises(DataError, match="4 labels for the 5 images"):
        read_digits(tmp_path, "")


def test_a_label_that_is_no_digit_is_refused(tmp_path):
    write_idx(tmp_path, "", 5, labels=[1, 2, 10, 4, 5])

    with pytest.raises(DataError, match="label 2 is 10, expected 0 to 9"):
        read_digits(tmp_path, "")


def test_the_embedded_digits_split_into_400_and_100_of_each_class():
    found = convert(EMBEDDED, "every_fifth_is_test", ImageShape(1, 28, 28))
    labels = labels_by_split(found)

    assert found.splits == {"train": (0, 4000), "test": (4000, 5000)}
    assert np.bincount(labels["train"]).tolist() == [400] * 10
    assert np.bincount(labels["test"]).tolist() == [100] * 10


def test_stacked_digits_are_three_of_mnist_with_a_label_of_three_digits(tmp_path, monkeypatch):
    monkeypatch.setattr(digits_module, "STACKED", {"train": 500, "test": 40})
    write_idx(tmp_path, "train-", 8)
    write_idx(tmp_path, "t10k-", 3)
    found = convert(tmp_path, "stacked", ImageShape(3, 2, 3))
    records = list(found.records)

    assert found.splits == {"train": (0, 500), "test": (500, 540)}
    for record in records:
        first = record.pixels[:, 0, 0].tolist()  # pixel 0 of image i is i, and its label too
        assert record.label == 100 * first[0] + 10 * first[1] + first[2]
        assert record.pixels[2].tolist() == [
            [first[2] + i for i in range(3)],
            [first[2] + i for i in range(3, 6)],
        ]
    drawn = np.bincount([record.pixels[c, 0, 0] for record in records[:500] for c in range(3)], minlength=8)
    assert drawn.min() > 130 and drawn.max() < 250  # 1,500 draws of 8: 187.5 +- 13
    again = [record.label for record in convert(tmp_path, "stacked", ImageShape(3, 2, 3)).records]
    assert again == [record.label for record in records]
    assert max(record.label for record in records[500:]) <= 222


def test_stacks_of_the_embedded_digits_keep_their_splits_apart():
    found = convert(EMBEDDED, "stacked_every_fifth", ImageShape(3, 28, 28))
    digits = list(convert(EMBEDDED, "every_fifth_is_test", ImageShape(1, 28, 28)).records)
    train = {digit.pixels.tobytes(): digit.label for digit in digits[:4000]}
    test = {digit.pixels.tobytes(): digit.label for digit in digits[4000:]}

    assert found.splits == {"train": (0, 8000), "test": (8000, 10000)}
    for number, record in enumerate(found.records):
        known = train if number < 8000 else test
        named = [known[channel.tobytes()] for channel in record.pixels]
        assert record.label == 100 * named[0] + 10 * named[1] + named[2]


def test_the_stacks_of_the_published_size_stay_for_ever():
    raw = np.random.Philox(np.random.SeedSequence([0, 0])).random_raw(3)

    assert (raw % np.uint64(60_000)).tolist() == [29737, 12325, 2596]
