"""Owns the command `gantry`: what a person asks for by name.

What a command needs it loads when it runs: reading params.yaml takes longer than showing a command's help,
and torch and MLflow take seconds.
"""

import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gan import __version__
from gan.errors import ConfigError, GanError
from gan.files import replaced_atomically, write_bytes
from pipeline.stage import (
    MANIFEST,
    PARAMS,
    Cell,
    read_params,
    replace_unencodable,
    report_error,
    report_folder,
    selected_cells,
)

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from gan.card import Card
    from pipeline.tracking.models import Version

FORMATS = ("png", "npy", "png-dir")


class _Group(click.Group):
    """Ends with one line per fault and the exit code that belongs to it, as the stages do."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        replace_unencodable()  # before any help is printed
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of a pipe has seen enough; click ends quietly
        except (GanError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            raise SystemExit(report_error(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gantry")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Train, compare and draw from generative adversarial networks.

    Training is run by `make repro` or `dvc repro`; this command looks at what is there, picks what is to
    be run, and draws images. MLflow's database is the checkout's own, or the one that
    MLFLOW_TRACKING_URI names.
    """


@main.command()
@click.option("--default", is_flag=True, help="Fail when the selection isn't that of studies/default.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(default: bool, as_json: bool) -> None:
    """Check params.yaml and list the cells that it selects."""
    from pipeline.cli.data import check_samples

    params = read_params()
    if default:
        from pipeline.study.selection import check_default

        check_default(params.select)
    check_samples(params)
    cells = selected_cells(params)
    if as_json:
        _print_json({"cells": [cell.key for cell in cells], "report": report_folder(params).as_posix()})
        return
    for cell in cells:
        click.echo(cell.key)
    click.echo(f"params.yaml is valid; it selects {_count(len(cells), 'cell')}", err=True)


@main.command()
@click.argument("records", nargs=-1, required=True, metavar="CELL|FILE|REPORT...")
@click.option("--raw", is_flag=True, help="Compare the raw generators, not the averaged ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(records: Sequence[str], raw: bool, as_json: bool) -> None:
    """Lay scores side by side, if one protocol made them.

    Each argument is a cell, a file of build/metrics with its stamp in build/protocols, or a report: its
    folder or its leaderboard.json. Ends with 65 and a line for each field in which protocols differ.

    \b
    gantry compare mnist_tiny-dcgan-quick-0 mnist_tiny-dcgan-quick-1
    gantry compare mnist_tiny-dcgan-quick-0 reports/penalties
    """  # noqa: D301
    from pipeline.scores.compare import as_dict, heading, read_comparable, table

    found = read_comparable(records, "raw" if raw else "averaged")
    if as_json:
        _print_json(as_dict(found))
        return
    click.echo(heading(found))
    _print_rich(table(found))


SPLIT = click.option("--split", default="train", show_default=True, help="train, validation or test.")
FORCE = click.option("--force", is_flag=True, help="Overwrite what is there.")


@main.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def data(context: click.Context, as_json: bool) -> None:
    """List data sets: images, splits, digest, licence, and what is missing."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.cli.data import data_table, list_data

    rows = list_data(read_params())
    if as_json:
        _print_json(rows)
        return
    _print_rich(data_table(rows))
    click.echo("a name in select.datasets of params.yaml is fetched and converted by 'make repro'", err=True)


@data.command()
@click.argument("name")
@SPLIT
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=128, show_default=True, help="Images.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: NAME.png.")
@FORCE
def view(name: str, split: str, count: int, out: Path | None, force: bool) -> None:
    """Draw images spread evenly over a split of data set NAME, sorted by class."""
    from pipeline.cli.data import open_store
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
    from pipeline.cli.data import export_images, open_store

    store = open_store(name, split)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise FileExistsError(f"{folder}: is not empty; give --force to write into it, or another folder")
    total = min(count or len(store), len(store))
    export_images(store, folder, total)
    click.echo(f"{folder}: {total:,} images of {name}, {split}, and labels.csv")


@main.command("import")
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
    """Make data set NAME of pictures of your own at PATH.

    PATH is a folder or a zip of JPEG, PNG or WebP files, an LMDB folder or zip as LSUN's, an
    images-idx3 file beside its labels, or an npy of uint8. Sub-folders are classes; top folders named
    train, validation and test are splits, else every tenth picture is test. The pictures are brought to
    data/own/NAME, and NAME into data/manifest.yaml and params.yaml.
    """
    from pipeline.cli.import_ import import_data, parse_crop

    plan = import_data(
        name,
        path,
        manifest=MANIFEST,
        params=PARAMS,
        size=size,
        grey=grey,
        crop=parse_crop(crop),
        licence=licence,
    )
    click.echo(
        f"{name}: {'x'.join(map(str, plan.image))} images by crop {plan.crop}; "
        f"put {name} into select.datasets of params.yaml and run 'make repro'"
    )


@main.command()
@click.option("--dataset", help="Data set whose recipes are listed; default: the first of the selection.")
@click.option(
    "--image",
    metavar="CxHxW",
    help="Size the networks for images such as 3x64x64; without --dataset, with the recipes of the first "
    "data set of that shape.",
)
@click.option("--all", "all_", is_flag=True, help="List the _paper, _seed, _as_coded and claim entries too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def variants(dataset: str | None, image: str | None, all_: bool, as_json: bool) -> None:
    """List the roster: papers, losses, networks, sizes.

    Sizes are numbers of trained parameters; critic steps are updates of the critic for one of the
    generator; quick and full are budgets, in updates of the generator.
    """
    from pipeline.cli.roster import choose_dataset, describe_roster, parse_image, roster_lines

    params = read_params()
    shape = parse_image(image) if image is not None else None
    name = choose_dataset(params, dataset, shape)
    rows = describe_roster(params, name, shape, extra=all_)
    if as_json:
        _print_json(rows)
        return
    for line in roster_lines(rows, min(shutil.get_terminal_size().columns, 120)):
        click.echo(line)
    made = "x".join(map(str, shape or params.datasets[name].shape))
    click.echo(f"{_count(len(rows), 'entry', 'entries')} of {name}, networks for images of {made}", err=True)


@main.command()
@click.argument("name")
def select(name: str) -> None:
    """Put a study's selection into params.yaml.

    NAME stands for studies/NAME.yaml; `default` goes back to the committed selection. Comments and every
    other line of params.yaml stay as they are.
    """
    from pipeline.study.selection import select_study

    select_study(name, PARAMS)
    count = len(selected_cells(read_params()))
    click.echo(f"params.yaml selects study {name}: {_count(count, 'cell')}; run 'make repro'", err=True)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List registered models: versions, aliases, scores."""
    from pipeline.tracking import models as registry
    from pipeline.tracking.database import mlflow_session

    with mlflow_session(create=False) as client:
        versions = registry.list_models(client)
    if as_json:
        _print_json([version.as_dict() for version in versions])
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
    _print_table(("model", "version", "aliases", *scores, "cell", "weights"), lines)


@main.command()
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
    with _model_folder(model) as folder:
        images, card = _draw(folder, count, seed)
    _write_images(images, out, format_)
    size = "x".join(map(str, card.image))
    click.echo(
        f"{out}: {_count(count, 'image')} of {size} from {card.key}, weights {card.weights_sha256[:12]}"
    )


@contextmanager
def _model_folder(model: str) -> Iterator[Path]:
    """Yield a folder with card and weights: the one that is named, or a download that goes away again."""
    if Path(model).is_dir() or "/" in model:
        yield Path(model)
        return
    from pipeline.tracking import models as registry
    from pipeline.tracking.database import mlflow_session

    name, _, reference = model.partition("@")
    with tempfile.TemporaryDirectory(prefix="gantry-") as folder:
        with mlflow_session(create=False) as client:
            version = registry.find_model(client, name, reference or registry.LATEST)
            registry.download(client, version, Path(folder))
        yield Path(folder)


def _draw(folder: Path, count: int, seed: int) -> "tuple[Tensor, Card]":
    import torch

    from gan.generator import draw_images, load_generator

    generator, card = load_generator(folder)
    torch.set_num_threads(card.num_threads)  # sums differ in their last bits with the number of threads
    return draw_images(generator, card, count, seed), card


def _write_images(images: "Tensor", out: Path, format_: str) -> None:
    from PIL import Image

    from gan.sampling import image_grid

    if format_ == "png-dir":
        for index, image in enumerate(images):
            with replaced_atomically(out / f"{index:05d}.png") as path:
                Image.fromarray(image.permute(1, 2, 0).numpy().squeeze()).save(path, format="PNG")
        return
    if out.is_dir():
        raise IsADirectoryError(f"{out}: is a folder; give --out a file's name, or take --format png-dir")
    with replaced_atomically(out) as path:
        if format_ == "npy":
            import numpy as np

            with path.open("wb") as stream:
                np.save(stream, images.numpy())
        else:
            image_grid(images, columns=math.ceil(math.sqrt(len(images))), scale=2).save(path, format="PNG")


@main.command()
def sync() -> None:
    """Write lost runs and models into MLflow again.

    Runs, scores and models of the selection, wherever they are missing: for a database that was lost, is
    new, or was down during training. What is there already stays; doing it twice adds nothing.
    """
    from pipeline.tracking.champions import choose_champions, crown_champions, without_champion
    from pipeline.tracking.database import mlflow_session
    from pipeline.tracking.registration import register_cell
    from pipeline.tracking.run import find_experiment, runs_url

    params = read_params()
    there, missing = _trained_cells(selected_cells(params))
    for cell in missing:
        click.echo(f"{cell.key}: not trained and scored here; run 'dvc repro evaluate@{cell.key}'", err=True)
    with mlflow_session() as client:
        for cell in _with_progress(there):
            version = register_cell(client, cell)
            click.echo(f"{cell.key}: {_outcome(version)}")
        champions = choose_champions(there, params)
        for champion in crown_champions(client, champions):
            click.echo(f"champion of {champion.model}: {champion.key}")
        for line in without_champion(there, champions):
            click.echo(line)
        for dataset, cell in {cell.dataset: cell for cell in there}.items():
            metric = champions[dataset]["metric"] if dataset in champions else None
            best_first = f"results/{metric}" if metric else None
            click.echo(runs_url(find_experiment(client, cell), best_first=best_first))


def _outcome(version: "Version | None") -> str:
    return f"version {version.version} of {version.model}" if version else "diverged, nothing registered"


def _trained_cells(cells: Iterable[Cell]) -> tuple[list[Cell], list[Cell]]:
    there: list[Cell] = []
    missing: list[Cell] = []
    for cell in cells:
        needed = (cell.model / "card.json", cell.metrics, cell.training)
        (there if all(path.is_file() for path in needed) else missing).append(cell)
    return there, missing


def _with_progress(cells: Sequence[Cell]) -> Iterator[Cell]:
    from rich.console import Console
    from rich.progress import track

    yield from track(cells, description="syncing", console=Console(stderr=True), transient=True)


@main.command()
@click.option("--open", "open_", is_flag=True, help="Open the page in a browser.")
@click.option("--readme", is_flag=True, help="Write README's results from the committed report instead.")
@click.option("--check", "check_", is_flag=True, help="Fail when README's results differ from the report.")
@click.option("--publish", is_flag=True, help="Copy what `make repro` wrote to reports/ and README instead.")
def report(open_: bool, readme: bool, check_: bool, publish: bool) -> None:
    """Write the selected study's report.

    A page, the leaderboard as CSV and JSON, and a picture of all variants.
    """
    from pipeline.report import write as reports

    params = read_params()
    if readme + check_ + publish > 1:
        raise ConfigError("--readme and --publish write, --check compares; give one of them")
    if publish:
        for folder in reports.publish_reports(params):
            click.echo(folder)
    elif readme:
        reports.write_readme(params)
        click.echo("README.md: results written")
    elif check_:
        reports.check_readme(params)
        click.echo("README.md shows the results of the report", err=True)
    else:
        page = reports.write_report(params)
        click.echo(page)
        if open_:
            click.launch(page.resolve().as_uri())


@main.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option(
    "--budget",
    metavar="MINUTES",
    type=click.FloatRange(min=0, min_open=True),
    help="First run what is lacking, whole claims, as far as it is estimated to fit; of one core.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def claims(name: str | None, budget: float | None, as_json: bool) -> None:
    """Give verdicts on what the ancestors say.

    Each claim is confirmed, refuted, inconclusive, or not run here; one in full by its ID.

    \b
    gantry claims
    gantry claims K4
    gantry claims K4 --budget 15
    """  # noqa: D301
    from pipeline.claims.claim import find_claim, judge, read_claims
    from pipeline.claims.verdicts import counts_text, verdict_lines, verdict_rows

    params = read_params()
    all_ = read_claims(params)
    asked = all_ if name is None else [find_claim(name, all_)]
    if budget is not None:
        from pipeline.claims.budget import run_lacking

        ran = run_lacking(asked, params, budget)
        click.echo(
            f"{_count(len(ran), 'cell')} run" if ran else "no cell is lacking that can be run", err=True
        )
    found = [judge(claim, params) for claim in asked]
    if as_json:
        verdicts = [judgement.as_dict() for judgement in found]
        _print_json(verdicts if name is None else verdicts[0])
    elif name is None:
        _print_table(("claim", "verdict", "effect (95 % interval)", "what is said"), verdict_rows(found))
        click.echo(counts_text(found), err=True)
    else:
        for line in verdict_lines(found[0]):
            click.echo(line)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _print_json(value: Any) -> None:
    is_unicode = sys.stdout.encoding.lower().startswith("utf")  # elsewhere JSON's own escapes lose nothing
    click.echo(json.dumps(value, indent=1, ensure_ascii=not is_unicode))


def _print_rich(table: "Table") -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns; on a terminal they are cut at its width."""
    table = [[str(entry) for entry in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in table:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo(line.rstrip()[:limit])
