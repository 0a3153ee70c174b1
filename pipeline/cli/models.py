"""Owns the commands around MLflow: list models, sample from them, restore what the database lost."""

from dataclasses import asdict
from pathlib import Path

import click

from pipeline.cli.data import FORCE
from pipeline.cli.output import print_json, print_table
from pipeline.drawing.numbers import count as count_of
from pipeline.stage import read_params, selected_cells

FORMATS = ("png", "npy", "png-dir")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List registered models: versions, aliases, scores."""
    from pipeline.tracking import models as registry
    from pipeline.tracking.database import mlflow_session

    with mlflow_session(create=False) as client:
        versions = registry.list_models(client)
    if as_json:
        print_json([asdict(version) for version in versions])
        return
    if not versions:
        click.echo("nothing is registered; run 'make repro', or 'gantry sync' for what was trained", err=True)
        return
    scores = sorted({name for version in versions for name in version.metrics})
    lines = [
        (
            version.model,
            version.version,
            ", ".join(version.aliases),
            *(f"{version.metrics[name]:.4g}" if name in version.metrics else "" for name in scores),
            version.key,
            version.weights_sha256[:12],
        )
        for version in versions
    ]
    print_table(("model", "version", "aliases", *scores, "cell", "weights"), lines)


@click.command()
@click.option(
    "--model",
    required=True,
    metavar="NAME[@REF]|FOLDER",
    help="A registered model with a version number, an alias or `latest` (the default), or a model's folder.",
)
@click.option("-n", "count", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Images.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Equal seeds give equal images.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("samples.png"),
    show_default=True,
    help="File to write, or folder for png-dir.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="png",
    show_default=True,
    help="One grid, one uint8 array (N, C, H, W), or a file for each image.",
)
@FORCE
def sample(model: str, count: int, seed: int, out: Path, format_: str, force: bool) -> None:
    """Draw images from a registered model.

    Its weights are compared with the digest it was registered with.

    \b
    gantry sample --model mnist_tiny-dcgan@latest -n 64 --seed 0 --out grid.png
    gantry sample --model mnist_tiny@champion -n 1000 --format npy --out images.npy
    gantry sample --model models/mnist_tiny-dcgan-quick-0

    It needs no checkout where MLFLOW_TRACKING_URI is set. No code of the registry is run.
    """  # noqa: D301
    if not force and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"{out}: exists; give --force to overwrite it, or another --out")
    from pipeline.cli.sample import draw, model_folder, write_images

    with model_folder(model) as folder:
        images, card = draw(folder, count, seed)
    write_images(images, out, format_)
    size = "x".join(map(str, card.image))
    click.echo(
        f"{out}: {count_of(count, 'image')} of {size} from {card.key}, weights {card.weights_sha256[:12]}"
    )


@click.command()
def sync() -> None:
    """Write lost runs and models into MLflow again.

    Runs, scores and models of the selection, wherever they are missing: for a database that was lost, is
    new, or was down during training. What is there already stays; doing it twice adds nothing.
    """
    from pipeline.cli.sync import sync_study, trained_cells

    params = read_params()
    there, missing = trained_cells(selected_cells(params))
    for cell in missing:
        click.echo(f"{cell.key}: not trained and scored here; run 'dvc repro evaluate@{cell.key}'", err=True)
    for line in sync_study(there, params):
        click.echo(line)
