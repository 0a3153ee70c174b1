"""Owns the commands that list, show, export and import data sets."""

from pathlib import Path

import click

from gan.files import write_bytes
from pipeline.cli.output import print_json, print_rich
from pipeline.stage import MANIFEST, PARAMS, read_params

SHOWN = 5  # classes that an import names
FORCE = click.option("--force", is_flag=True, help="Overwrite what is there.")
SPLIT = click.option("--split", default="train", show_default=True, help="train, validation or test.")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def data(context: click.Context, as_json: bool) -> None:
    """List data sets: images, splits, digest, licence, and what is missing."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.cli.datasets import data_table, list_data

    rows = list_data(read_params())
    if as_json:
        print_json(rows)
        return
    print_rich(data_table(rows))
    click.echo("a name in select.datasets of params.yaml is fetched and converted by 'make repro'", err=True)


@data.command()
@click.argument("name")
@SPLIT
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=128, show_default=True, help="Images.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: NAME.png.")
@FORCE
def view(name: str, split: str, count: int, out: Path | None, force: bool) -> None:
    """Draw images spread evenly over a split of data set NAME, sorted by class."""
    from pipeline.cli.datasets import open_store
    from pipeline.contact import contact_sheet

    out = out or Path(f"{name}.png")
    if out.exists() and not force:
        raise FileExistsError(f"{out}: exists; give --force to overwrite it, or another --out")
    store = open_store(name, split)
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
    from pipeline.cli.datasets import export_images, open_store

    store = open_store(name, split)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise FileExistsError(f"{folder}: is not empty; give --force to write into it, or another folder")
    total = min(count or len(store), len(store))
    export_images(store, folder, total)
    click.echo(f"{folder}: {total:,} images of {name}, {split}, and labels.csv")


@click.command("import")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--size", type=click.IntRange(4, 1024), help="Side of the images; default: 64, an array's own.")
@click.option("--grey", is_flag=True, help="One channel; default: three.")
@click.option(
    "--crop",
    default="short_side",
    show_default=True,
    help="How a picture of any size becomes one of the data set's: short_side, or another of docs/data.md.",
)
@click.option(
    "--licence", default="not stated", show_default=True, help="What may be done with the pictures."
)
def import_(name: str, path: Path, size: int | None, grey: bool, crop: str, licence: str) -> None:
    """Make data set NAME from your own pictures at PATH.

    PATH is a folder or a zip of JPEG, PNG or WebP files, an LMDB folder or zip as LSUN's, an
    images-idx3 file beside its labels, or an npy of uint8. Sub-folders are classes; top folders named
    train, validation and test (or training, val, valid, testing) are splits, else every tenth picture is
    test. The pictures are brought to data/own/NAME, and NAME into data/manifest.yaml and params.yaml.
    """
    from gan.data.image_folders import SUFFIXES, format_others
    from pipeline.cli.import_ import import_data, parse_crop

    imported = import_data(
        name,
        path,
        manifest=MANIFEST,
        params=PARAMS,
        size=size,
        grey=grey,
        crop=parse_crop(crop),
        licence=licence,
    )
    plan, counts, classes, left_out = imported
    splits = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    click.echo(f"{name}: {'x'.join(map(str, plan.image))} images by crop {plan.crop}; {splits}")
    if classes:
        shown = ", ".join(folder or "." for folder in classes[:SHOWN])
        click.echo(f"{len(classes):,} classes: {shown}{', ...' if len(classes) > SHOWN else ''}")
    if left_out:
        click.echo(f"left out: {format_others(left_out)}; pictures end with {', '.join(SUFFIXES)}")
    click.echo(f"put {name} into select.datasets of params.yaml and run 'make repro'")
