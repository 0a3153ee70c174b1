"""Owns the command `gantry`.

What a command needs it loads when it runs: reading params.yaml takes longer than showing a command's help,
and torch and MLflow take seconds.
"""

import shutil
from collections.abc import Sequence
from typing import Any

import click

from gan import __version__
from gan.errors import ConfigError
from pipeline.cli import data, doctor, models
from pipeline.cli.output import print_json, print_rich, print_table
from pipeline.drawing.numbers import count as count_of
from pipeline.stage import (
    PARAMS,
    read_params,
    replace_unencodable,
    report_error,
    report_folder,
    selected_cells,
)


class _Group(click.Group):
    """Ends with one line per fault and the exit code that belongs to it, as the stages do."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        replace_unencodable()  # before any help is printed
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own errors, and a broken pipe, which isn't a fault
        except Exception as error:
            raise SystemExit(report_error(error, debug=ctx.params.get("debug", False))) from error


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
    """Check params.yaml and list the cells that it selects.

    A note says where requirements.lock, or what was made, has other versions of packages than are installed.
    """
    from pipeline.cli.datasets import check_samples
    from pipeline.cli.versions import version_notes

    params = read_params()
    if default:
        from pipeline.study.selection import check_default

        check_default(params.select)
    check_samples(params)
    cells = selected_cells(params)
    for note in version_notes(cells):
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json({"cells": [cell.key for cell in cells], "report": report_folder(params).as_posix()})
        return
    for cell in cells:
        click.echo(cell.key)
    click.echo(f"params.yaml is valid; it selects {count_of(len(cells), 'cell')}", err=True)


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
        print_json(as_dict(found))
        return
    click.echo(heading(found))
    print_rich(table(found))


@main.command()
@click.argument("entry", required=False)
@click.option("--dataset", help="Data set whose recipes are listed; default: the first of the selection.")
@click.option(
    "--image",
    metavar="CxHxW",
    help="Size the networks for images such as 3x64x64; without --dataset, with the recipes of the first "
    "data set of that shape.",
)
@click.option("--all", "all_", is_flag=True, help="List the _paper, _seed, _as_coded and claim entries too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def variants(entry: str | None, dataset: str | None, image: str | None, all_: bool, as_json: bool) -> None:
    """List the roster: papers, losses, networks, sizes; of one ENTRY every setting.

    Sizes are numbers of trained parameters; critic steps are updates of the critic for one of the
    generator; quick and full are budgets, in updates of the generator.
    """
    from pipeline.cli.roster import choose_dataset, describe_roster, parse_image, print_entry, roster_lines

    params = read_params()
    shape = parse_image(image) if image is not None else None
    name = choose_dataset(params, dataset, shape, entry)
    rows = describe_roster(params, name, shape, extra=all_, entry=entry)
    if as_json:
        print_json(rows if entry is None else rows[0])
        return
    if entry is not None:
        print_entry(rows[0], params.recipes[name][entry])
    else:
        for line in roster_lines(rows, min(shutil.get_terminal_size().columns, 120)):
            click.echo(line)
    made = "x".join(map(str, shape or params.datasets[name].shape))
    click.echo(
        f"{count_of(len(rows), 'entry', 'entries')} of {name}, networks for images of {made}", err=True
    )


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
    click.echo(f"params.yaml selects study {name}: {count_of(count, 'cell')}; run 'make repro'", err=True)


@main.command()
@click.option("--open", "open_", is_flag=True, help="Open the page in a browser.")
@click.option("--readme", is_flag=True, help="Write README's results from the committed report instead.")
@click.option("--check", "check_", is_flag=True, help="Fail when README's results differ from the report.")
@click.option("--publish", is_flag=True, help="Copy what `make repro` wrote to reports/ and README instead.")
def report(open_: bool, readme: bool, check_: bool, publish: bool) -> None:
    """Write the selected study's report.

    A page, the leaderboard as CSV and JSON, and a picture of all variants.
    """
    from pipeline.report.readme import check_readme, write_readme
    from pipeline.report.write import publish_reports, write_report

    params = read_params()
    if readme + check_ + publish > 1:
        raise ConfigError("--readme and --publish write, --check compares; give one of them")
    if publish:
        for folder in publish_reports(params):
            click.echo(folder)
    elif readme:
        write_readme(params)
        click.echo("README.md: results written")
    elif check_:
        check_readme(params)
        click.echo("README.md shows the results of the report", err=True)
    else:
        page = write_report(params)
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
            f"{count_of(len(ran), 'cell')} run" if ran else "no cell is lacking that can be run", err=True
        )
    found = [judge(claim, params) for claim in asked]
    if as_json:
        verdicts = [judgement.as_dict() for judgement in found]
        print_json(verdicts if name is None else verdicts[0])
    elif name is None:
        print_table(("claim", "verdict", "effect (95 % interval)", "what is said"), verdict_rows(found))
        click.echo(counts_text(found), err=True)
    else:
        for line in verdict_lines(found[0]):
            click.echo(line)


for command in (data.data, data.import_, doctor.doctor, models.models, models.sample, models.sync):
    main.add_command(command)
