"""Owns what the names of a collection's files mean: pictures, splits and classes.

Folders are told by their names. A folder that may be a split and can't be taken for one is an error, since
test pictures would be trained on.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gan.data.image_store import NO_LABEL
from gan.data.store_manifest import SPLITS
from gan.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp")
FOLDERS = {  # small letters
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
    "testing": "test",
}
NO_SUFFIX = "without a suffix"
TENTH = 10


class Arrangement(NamedTuple):
    """The names of pictures, split after split, and their classes."""

    splits: dict[str, list[str]]
    labels: dict[str, int]  # by name of the picture
    classes: list[str]  # by label


def is_picture(name: str) -> bool:
    """Tell whether a file's name ends as a picture's does, in any case."""
    return name.lower().endswith(SUFFIXES)


def count_others(names: Iterable[str]) -> dict[str, int]:
    """Count the files that aren't pictures by suffix, the most frequent first."""
    found = Counter(PurePosixPath(name).suffix.lower() or NO_SUFFIX for name in names if not is_picture(name))
    return dict(found.most_common())


def format_others(counts: dict[str, int]) -> str:
    """Format counts by suffix for a message: `12 .bmp, 3 .tif`."""
    return ", ".join(f"{count:,} {suffix}" for suffix, count in counts.items())


def arrange(names: list[str], path: Path) -> Arrangement:
    """Sort pictures into splits and classes by their folders; `names` are sorted, with / between folders.

    Top folders train, validation and test are splits, by these names or others of FOLDERS, in any case and
    in a folder around them; without them every tenth picture is test. The folders of a split, or of the
    whole, are classes, if there are several.
    Raises DataError, which names `path`, if only a part of the pictures is in splits.
    """
    inner = _below_common_folder(names)
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    if _has_splits(inner, path):
        below = [name.partition("/")[2] for name in inner]
        for name, short in zip(names, inner, strict=True):
            splits[FOLDERS[_top(short).casefold()]].append(name)
    else:
        below = names
        for number, name in enumerate(names):
            splits["test" if number % TENTH == TENTH - 1 else "train"].append(name)
    classes = sorted({_folder(name) for name in below})
    numbers = {folder: number for number, folder in enumerate(classes)} if len(classes) > 1 else {}
    labels = {name: numbers.get(_folder(short), NO_LABEL) for name, short in zip(names, below, strict=True)}
    return Arrangement(splits, labels, list(numbers))


def _top(name: str) -> str:
    """The first folder of a name; empty if it's in none."""
    folder, separator, _ = name.partition("/")
    return folder if separator else ""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _below_common_folder(names: list[str]) -> list[str]:
    """Cut off the folders that all names have in common, unless they're named as a split."""
    while len(tops := {_top(name) for name in names}) == 1:
        (top,) = tops
        if not top or top.casefold() in FOLDERS:
            break
        names = [name.partition("/")[2] for name in names]
    return names


def _has_splits(names: list[str], path: Path) -> bool:
    """Tell whether the top folders are splits. Raises DataError if only some of the pictures are in one."""
    tops = {_top(name) for name in names}
    folders = {top for top in tops if top.casefold() in FOLDERS}
    found = _named_splits(folders)
    outside = tops - folders
    if not outside and "train" in found:
        return True
    # A single `train` among other folders is a class of vehicles, not a split.
    if outside and found and (found != {"train"} or "" in outside):
        left = [name for name in names if _top(name) in outside]
        raise DataError(
            f"{path}: has splits ({', '.join(sorted(folders))}), and {len(left):,} pictures that are in "
            f"none, such as {left[0]}; move these away or into a split"
        )
    if len(found) > 1:
        raise DataError(f"{path}: has folders {' and '.join(sorted(folders))}, and none is named train")
    _refuse_deeper_splits({_folder(name) for name in names}, path)
    return False


def _named_splits(folders: Iterable[str]) -> set[str]:
    return {FOLDERS[folder.casefold()] for folder in folders if folder.casefold() in FOLDERS}


def _refuse_deeper_splits(folders: set[str], path: Path) -> None:
    """Raise DataError for a folder that isn't the top one and holds several splits."""
    children: dict[str, set[str]] = {}
    for folder in folders:
        parts = folder.split("/")
        for depth, part in enumerate(parts):
            children.setdefault("/".join(parts[:depth]), set()).add(part)
    for folder, names in sorted(children.items()):
        if len(_named_splits(names)) > 1:
            splits = " and ".join(sorted(name for name in names if name.casefold() in FOLDERS))
            raise DataError(
                f"{path}: folder {folder} holds {splits}; splits must be the top folders, "
                "and classes folders in them"
            )
