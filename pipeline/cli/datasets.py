"""Owns what `gantry data` shows: which images there are, what is missing, and their export."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gan.config import Params
from gan.data.digits import STACKED, STACKS_PER_DIGIT
from gan.data.image_store import NO_LABEL, ImageStore
from gan.data.manifest import DatasetEntry, read_manifest
from gan.data.store_manifest import SPLITS, manifest_path
from gan.data.store_manifest import read_manifest as read_store
from gan.errors import ConfigError, DataError
from pipeline.stage import MANIFEST, PARAMS, Dataset, find_dataset, read_params

AT_A_TIME = 256  # images read in one transaction


def list_data(params: Params) -> list[dict[str, Any]]:
    """Describe each data set of params.yaml, from its manifest entry and its store."""
    manifest = read_manifest(MANIFEST)
    return [_describe(name, params, manifest.get(name)) for name in params.datasets]


def check_samples(params: Params) -> None:
    """Raise ConfigError for selected data sets whose reference has fewer images than samples are scored.

    Those that aren't converted yet pass; stage `reference` will say it of them.
    """
    faults, reference = [], params.evaluate.reference
    for dataset in params.select.datasets:
        store = Dataset(dataset).store
        if not manifest_path(store).is_file():
            continue
        splits, wanted = read_store(store).splits, params.samples[dataset]
        begin, end = splits.get(reference, (0, 0))
        if reference not in splits:
            faults.append(f"evaluate.reference is {reference}, and {dataset} has only {', '.join(splits)}")
        elif wanted > end - begin:
            faults.append(
                f"samples.{dataset} is {wanted}, and its split {reference} has {end - begin} images; lower it"
            )
    if faults:
        raise ConfigError("\n".join(f"{PARAMS}: {fault}" for fault in faults))


def _describe(name: str, params: Params, entry: DatasetEntry | None) -> dict[str, Any]:
    dataset = params.datasets[name]
    missing, left = _missing_files(name, entry)
    found: dict[str, Any] = {
        "name": name,
        "image": list(dataset.image),
        "crop": dataset.crop,
        "count": sum(file.count for file in entry.files if "label" not in file.name) if entry else 0,
        "splits": {},
        "digest": None,
        "skipped": 0,
        "licence": entry.licence if entry else "no entry in data/manifest.yaml",
        "citation": entry.citation if entry else "",
        "files": len(entry.files) if entry else 0,
        "missing": missing,
        "bytes_missing": left,
    }
    if entry and dataset.layout == "celeba":
        found["count"] = entry.files[0].count  # its files list the same pictures
    if dataset.split == "stacked":
        found["count"] = sum(STACKED.values())
    if dataset.split == "stacked_every_fifth":
        found["count"] *= STACKS_PER_DIGIT
    path = Dataset(name).store
    try:
        store = read_store(path)
        is_whole = path.is_file() and path.stat().st_size == store.bytes
    except DataError:
        is_whole = False
    if not is_whole:
        return found | {"state": "to be converted" if not found["missing"] else "to be fetched"}
    bounds = {split: store.splits[split] for split in SPLITS if split in store.splits}
    return found | {
        "count": store.count,
        "splits": {split: end - begin for split, (begin, end) in bounds.items()},
        "digest": store.digest,
        "skipped": len(store.skipped),
        "missing": [],
        "bytes_missing": 0,
        "state": "ready" if list(store.image) == list(dataset.image) else "ready, but for other params",
    }


def _missing_files(name: str, entry: DatasetEntry | None) -> tuple[list[str], int]:
    """List the missing raw files, and count the bytes still to download."""
    missing = []
    left = 0
    for file in entry.files if entry else ():
        path = Dataset(name).raw / file.name
        partial = path.with_name(f".{file.name}.part")
        if partial.is_file():
            missing.append(f"{file.name} ({partial.stat().st_size:,} of {file.bytes:,} bytes are there)")
            left += max(0, file.bytes - partial.stat().st_size)
        elif not path.is_file():
            missing.append(file.name)
            left += file.bytes
    return missing, left


def data_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Format the result of `list_data` as a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("name", "images", "size", "splits", "digest", "state", "licence"):
        table.add_column(column, justify="right" if column == "images" else "left", overflow="fold")
    for row in rows:
        splits = " ".join(f"{name} {count:,}" for name, count in row["splits"].items())
        size = "x".join(map(str, row["image"]))
        state = row["state"]
        if row["missing"]:
            state += f": {len(row['missing'])} of {row['files']} files, {row['bytes_missing'] / 1e9:,.2f} GB"
        digest = (row["digest"] or "")[:12]
        table.add_row(row["name"], f"{row['count']:,}", size, splits, digest, state, row["licence"])
    return table


def open_store(name: str, split: str) -> ImageStore:
    """Open a split of a data set. Raises ConfigError for an unknown one, DataError where it isn't there."""
    return ImageStore(find_dataset(name, read_params()).store, split)


def export_images(store: ImageStore, folder: Path, total: int) -> None:
    """Write the first images of a store as PNG files, with labels.csv beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(store) - 1))
    starts = range(0, total, AT_A_TIME)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", *store.attributes])
        for begin in track(starts, f"export to {folder}", console=Console(stderr=True)):
            chosen = np.arange(begin, min(begin + AT_A_TIME, total))
            labels, traits = store.read_labels(chosen), store.read_attributes(chosen)
            for number, pixels, label, values in zip(chosen, store.read(chosen), labels, traits, strict=True):
                file = f"{number:0{digits}d}.png"
                picture = pixels[0] if store.image.channels == 1 else pixels.transpose(1, 2, 0)
                Image.fromarray(picture).save(folder / file)
                writer.writerow([file, "" if label == NO_LABEL else label, *values.astype(int)])
