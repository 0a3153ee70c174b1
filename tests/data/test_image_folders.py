"""What folders of pictures are taken for: splits, classes, or a reason to ask."""

from pathlib import Path

import pytest

from gan.data.image_folders import arrange
from gan.errors import DataError

PATH = Path("images.zip")


def names(*folders, count=3):
    return sorted(f"{folder}/{i}.jpg" for folder in folders for i in range(count))


def sizes(arrangement):
    return {split: len(found) for split, found in arrangement.splits.items()}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("training", "validation", "testing"),
        ("TRAINING", "VALIDATION", "TESTING"),
        ("pets/train", "pets/val", "pets/test"),
        ("a/b/Train", "a/b/Val", "a/b/Test"),
    ],
)
def test_splits_are_found_by_any_usual_name_and_in_a_folder_around_them(train, validation, test):
    found = arrange(
        names(f"{train}/cat", f"{train}/dog", f"{validation}/dog", f"{test}/cat", f"{test}/dog"), PATH
    )

    assert sizes(found) == {"train": 6, "validation": 3, "test": 6}
    assert found.classes == ["cat", "dog"]
    assert found.labels[f"{train}/dog/0.jpg"] == found.labels[f"{test}/dog/2.jpg"] == 1
    assert found.labels[f"{test}/cat/0.jpg"] == 0


def test_folders_that_mean_the_same_split_are_one():
    assert sizes(arrange(names("train", "val", "valid"), PATH)) == {"train": 3, "validation": 6, "test": 0}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([*names("train", "test"), "preview.jpg"], r"\(test, train\), and 1 pictures .* such as preview.jpg"),
        ([*names("train"), "preview.jpg"], r"\(train\), and 1 pictures"),
        (names("train", "test", "unlabelled"), r"and 3 pictures that are in none, such as unlabelled/0.jpg"),
        ([*names("pets/train", "pets/test"), "pets/preview.jpg"], "such as preview.jpg"),
        ([*names("pets/train", "pets/test"), "preview.jpg"], "folder pets holds test and train"),
        (names("images", "test"), r"\(test\), and 3 pictures that are in none"),
        (names("val", "test"), "has folders test and val, and none is named train"),
        (names("cat/train", "cat/test", "dog/train", "dog/test"), "folder cat holds test and train"),
    ],
)
def test_splits_of_only_some_pictures_are_an_error_and_never_dropped(found, reason):
    with pytest.raises(DataError, match=f"^images.zip: .*{reason}"):
        arrange(sorted(found), PATH)


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (["bus", "car", "train"], ["bus", "car", "train"]),
        (["vehicles/car", "vehicles/train"], ["vehicles/car", "vehicles/train"]),
        (["test"], []),
    ],
)
def test_a_class_may_have_the_name_of_a_split(folders, classes):
    found = arrange(names(*folders, count=10), PATH)

    assert found.classes == classes
    assert sizes(found) == {"train": 9 * len(folders), "validation": 0, "test": len(folders)}
