"""Owns the commands `gantry data` and `gantry import`: which images there are, and how to look at them."""

import csv
import json
import sys
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gan.config import Params, load_params
from gan.data.digits import STACKED
from gan.data.download import DatasetEntry, read_manifest
from gan.data.image_store import NO_LABEL, SPLITS, ImageStore, manifest_path
from gan.data.image_store import read_manifest as read_store
from gan.data.pixels import CropName
from gan.errors import ConfigError, DataError
from gan.files import write_bytes
from pipeline.stage import PARAMS, check_dataset

MANIFEST = Path("data/manifest.yaml")
AT_A_TIME = 256  # images read in one transaction


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def data(context: click.Context, as_json: bool) -> None:
    """List data sets: images, splits, digest, licence, and what is missing."""
    if context.invoked_subcommand is not None:
        return
    params = load_params(PARAMS)
    rows = list_data(params)
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
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
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    click.echo("a name in select.datasets of params.yaml is fetched and converted by 'make repro'", err=True)


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
        store = Path("data/lmdb") / f"{dataset}.lmdb"
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
    path = Path("data/lmdb") / f"{name}.lmdb"
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
    """Name the raw files that aren't there, and count their bytes that have to come."""
    missing = []
    left = 0
    for file in entry.files if entry else ():
        path = Path("data/raw") / name / file.name
        partial = path.with_name(f".{file.name}.part")
        if partial.is_file():
            missing.append(f"{file.name} ({partial.stat().st_size:,} of {file.bytes:,} bytes are there)")
            left += max(0, file.bytes - partial.stat().st_size)
        elif not path.is_file():
            missing.append(file.name)
            left += file.bytes
    return missing, left


def _open(name: str, split: str) -> ImageStore:
    return ImageStore(Path("data/lmdb") / f"{check_dataset(name, load_params(PARAMS))}.lmdb", split)


SPLIT = click.option("--split", default="train", show_default=True, help="train, validation or test.")
FORCE = click.option("--force", is_flag=True, help="Overwrite what is there.")


@data.command()
@click.argument("name")
@SPLIT
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=128, show_default=True, help="Images.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: NAME.png.")
@FORCE
def view(name: str, split: str, count: int, out: Path | None, force: bool) -> None:
    """Draw images spread evenly over a split of data set NAME, sorted by class."""
    from pipeline.contact import contact_sheet

    out = out or Path(f"{name}.png")
    if out.exists() and not force:
        raise FileExistsError(f"{out}: exists; give --force to overwrite it, or another --out")
    store = _open(name, split)
    write_bytes(out, contact_sheet(store, count))
    click.echo(f"{out}: {min(count, len(store)):,} of {len(store):,} images of {name}, {split}")


@data.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@SPLIT
@click.option("-n", "count", type=click.IntRange(1), help="Images from the first on; default: all.")
@FORCE
def export(name: str, folder: Path, split: str, count: int | None, force: bool) -> None:
    """Write the images of a split of data set NAME as PNG files to FOLDER, with labels.csv."""
    from PIL import Image

    store = _open(name, split)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise FileExistsError(f"{folder}: is not empty; give --force to write into it, or another folder")
    folder.mkdir(parents=True, exist_ok=True)
    total = min(count or len(store), len(store))
    digits = len(str(len(store) - 1))
    starts = range(0, total, AT_A_TIME)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", *store.attributes])
        for begin in track(starts, f"export {name}", console=Console(stderr=True)):
            chosen = np.arange(begin, min(begin + AT_A_TIME, total))
            labels, traits = store.read_labels(chosen), store.read_attributes(chosen)
            for number, pixels, label, values in zip(chosen, store.read(chosen), labels, traits, strict=True):
                file = f"{number:0{digits}d}.png"
                picture = pixels[0] if store.image.channels == 1 else pixels.transpose(1, 2, 0)
                Image.fromarray(picture).save(folder / file)
                writer.writerow([file, "" if label == NO_LABEL else label, *values.astype(int)])
    click.echo(f"{folder}: {total:,} images of {name}, {split}, and labels.csv")


@click.command("import")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--size", type=click.IntRange(4, 1024), help="Side of the images; default: 64, an array's own.")
@click.option("--grey", is_flag=True, help="One channel; default: three.")
@click.option(
    "--crop",
    type=click.Choice(get_args(CropName)),
    default="short_side",
    show_default=True,
    help="How a picture of any size becomes one of the data set's.",
)
@click.option(
    "--licence", default="not stated", show_default=True, help="What may be done with the pictures."
)
def import_(name: str, path: Path, size: int | None, grey: bool, crop: CropName, licence: str) -> None:
    """Make data set NAME of pictures of your own at PATH.

    PATH is a folder or a zip of JPEG, PNG or WebP files, an LMDB folder or zip as LSUN's, an
    images-idx3 file beside its labels, or an npy of uint8. Sub-folders are classes; top folders named
    train, validation and test are splits, else every tenth picture is test. The pictures are brought to
    data/own/NAME, and NAME into data/manifest.yaml and params.yaml.
    """
    from pipeline.imports import import_data

    plan = import_data(
        name, path, manifest=MANIFEST, params=PARAMS, size=size, grey=grey, crop=crop, licence=licence
    )
    click.echo(
        f"{name}: {'x'.join(map(str, plan.image))} images by crop {plan.crop}; "
        f"put {name} into select.datasets of params.yaml and run 'make repro'"
    )
