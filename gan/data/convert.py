"""Owns converting raw files to the records of a store: streamed, in any number of processes.

Imports torch only in the processes that decode. Equal raw files give equal records in the same order,
however many processes work on them.
"""

import importlib.metadata
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gan.contract import ImageShape
from gan.data.digits import SPLIT_RULES, Digits
from gan.data.image_store import Record
from gan.data.pixels import BadImage, CropName, Pixels, check_crop, decode, fit
from gan.data.sources import Layout, Picture, Source, open_source
from gan.data.store_manifest import Skipped
from gan.data.workers import ordered_map
from gan.errors import ConfigError, DataError

CHUNK = 64  # pictures that a process gets at a time
DECODERS = ("pillow", "torch", "torchvision")

Splits = dict[str, tuple[int, int]]


class Plan(NamedTuple):
    """How a data set is to be converted."""

    image: ImageShape
    layout: Layout = "idx"
    split: str = "as_published"
    crop: CropName = "exact"
    max_bad: int = 0  # pictures that may be left out


class Conversion(NamedTuple):
    """What a store is written from."""

    image: ImageShape
    splits: Splits
    recipe: dict[str, Any]
    records: Iterator[Record | None]  # None for a picture that is left out
    attributes: list[str]
    skipped: list[Skipped]  # grows while the records are read


@contextmanager
def convert(folder: Path, plan: Plan, *, processes: int = 1) -> Iterator[Conversion]:
    """Open the raw files of a data set; its records are read while the block runs.

    Raises DataError for files that are broken or hostile, and for more bad pictures than allowed;
    ConfigError when the plan can't give images of its shape.
    """
    if plan.layout == "idx":
        yield _convert_digits(folder, plan)
        return
    check_crop(plan.crop, plan.image)
    with ExitStack() as stack:
        source = open_source(plan.layout, folder, stack)
        skipped: list[Skipped] = []
        recipe = {
            "layout": plan.layout,
            "crop": plan.crop,
            "source": source.origin,
            "versions": {name: importlib.metadata.version(name) for name in DECODERS},
        }
        records = _records(source, plan, processes, skipped, folder)
        yield Conversion(plan.image, _bounds(source.counts), recipe, records, source.attributes, skipped)


def _bounds(counts: dict[str, int]) -> Splits:
    ends = list(itertools.accumulate(counts.values()))
    return {name: (end - counts[name], end) for name, end in zip(counts, ends, strict=True)}


def _convert_digits(folder: Path, plan: Plan) -> Conversion:
    parts = SPLIT_RULES[plan.split](folder)
    for digits in parts.values():
        if digits.shape != plan.image:
            raise ConfigError(
                f"datasets.{folder.name}.image is {list(plan.image)}, the files in {folder} hold "
                f"{list(digits.shape)}; correct params.yaml"
            )
    sources = {name: digest for digits in parts.values() for name, digest in digits.sources.items()}
    splits = _bounds({name: len(digits.labels) for name, digits in parts.items()})
    return Conversion(plan.image, splits, {"split": plan.split, "sources": sources}, _digits(parts), [], [])


def _digits(parts: dict[str, Digits]) -> Iterator[Record]:
    for digits in parts.values():
        yield from digits.records()


def _records(
    source: Source, plan: Plan, processes: int, skipped: list[Skipped], folder: Path
) -> Iterator[Record | None]:
    """Yield a record, or None, for each picture of a source."""
    waiting: list[list[Picture]] = []

    def chunks() -> Iterator[list[bytes | Pixels]]:
        while chunk := list(itertools.islice(source.pictures, CHUNK)):
            # Only what is needed beside the pixels is kept until they come back.
            waiting.append([picture._replace(content=b"") for picture in chunk])
            yield [picture.content for picture in chunk]

    work = partial(make_records, crop=plan.crop, image=plan.image)
    for results in ordered_map(work, chunks(), processes):
        for picture, result in zip(waiting.pop(0), results, strict=True):
            if isinstance(result, str):
                skipped.append(Skipped(name=picture.name, reason=result))
                if len(skipped) > plan.max_bad:
                    raise DataError(
                        f"{folder}: picture {picture.name} {result}; {len(skipped)} bad in all, "
                        f"datasets.{folder.name}.max_bad allows {plan.max_bad}"
                    )
                yield None
            else:
                yield Record(result, picture.label, picture.attributes)


def make_records(contents: list[bytes | Pixels], *, crop: CropName, image: ImageShape) -> list[Pixels | str]:
    """Decode, crop and resize pictures; a bad one gives the reason instead of its pixels."""
    return [_make_record(content, crop, image) for content in contents]


def _make_record(content: bytes | Pixels, crop: CropName, image: ImageShape) -> Pixels | str:
    try:
        picture = decode(content, image.channels) if isinstance(content, bytes) else content
        if picture.shape[0] != image.channels:
            raise BadImage(f"has {picture.shape[0]} channels, the store {image.channels}")
        return fit(picture, crop, image)
    except BadImage as fault:
        return str(fault)
