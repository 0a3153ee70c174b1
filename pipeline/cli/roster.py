"""Owns `gantry variants`: describes each entry and the size of its networks, and prints the list."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan.config import Params, Recipe, flatten
from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.faults import unknown
from pipeline.stage import find_dataset
from pipeline.study.settings import list_settings

# Entries beside the roster's: the paper's numbers, an ancestor's, and experiments as they were coded.
EXTRA = ("_paper", "_seed", "_as_coded")
MAX_SIDE, MAX_CHANNELS = 1024, 16
INDENT = "    "


def parse_image(text: str) -> ImageShape:
    """Read a shape such as 3x64x64: channels, height, width. Raises ConfigError for any other text."""
    found = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})x([0-9]{1,4})", text)
    shape = ImageShape(*map(int, found.groups())) if found else None
    if shape is None or not (1 <= shape.channels <= MAX_CHANNELS and 1 <= min(shape[1:])):
        raise ConfigError(f"--image: {text!r} is no shape; write CHANNELSxHEIGHTxWIDTH, such as 3x64x64")
    if max(shape[1:]) > MAX_SIDE:
        raise ConfigError(f"--image: {text} is too large; sides go up to {MAX_SIDE}")
    return shape


def choose_dataset(
    params: Params, dataset: str | None, image: ImageShape | None, entry: str | None = None
) -> str:
    """Return the data set whose recipes are listed: the named one, one of this shape, or the selected one.

    Without a name it is the first of these, and of all others, that has the entry asked for. Raises
    ConfigError for a name that isn't configured.
    """
    if dataset is not None:
        return find_dataset(dataset, params).name
    fitting = [name for name, data in params.datasets.items() if data.shape == image]
    names = [*fitting, *params.select.datasets, *params.datasets]
    return next((name for name in names if entry is None or entry in params.recipes[name]), names[0])


def describe_roster(
    params: Params,
    dataset: str,
    image: ImageShape | None = None,
    *,
    extra: bool = False,
    entry: str | None = None,
) -> list[dict[str, Any]]:
    """Describe each entry of a data set, its networks sized for `image` (default: the data set's images).

    `extra` adds the entries that are named by a suffix of EXTRA, and those of single claims; `entry` leaves
    that one alone. Nothing is allocated: networks are built on torch's meta device. Raises ConfigError for
    an entry that isn't there, and naming the one whose networks can't make the shape.
    """
    entries = params.recipes[dataset]
    if entry is not None and entry not in entries:
        raise ConfigError(f"{dataset}: {unknown('entry', entry, list(entries))}")
    return [
        _describe(name, recipe, image or params.datasets[dataset].shape)
        for name, recipe in entries.items()
        if name == entry
        or (entry is None and (extra or not (name.endswith(EXTRA) or recipe.profile == "claim")))
    ]


def _describe(name: str, recipe: Recipe, shape: ImageShape) -> dict[str, Any]:
    from gan.generator import count_parameters

    method = recipe.method
    try:
        generator, critic = count_parameters(method, shape)
    except ConfigError as error:
        raise ConfigError(f"{name} can't make images of {'x'.join(map(str, shape))}: {error}") from error
    return {
        "name": name,
        "kind": method.kind,
        "profile": recipe.profile,
        "paper": method.paper,
        "loss": method.loss,
        "networks": method.networks.summary,
        "generator_parameters": generator,
        "critic_parameters": critic,
        "critic_steps": getattr(method, "critic_steps", 1),
        "batch_size": method.batch_size,
        "steps": dict(recipe.steps),
        "method": recipe.settings,
        "origin": recipe.origin,
        "departures": recipe.departures,
    }


def roster_lines(rows: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """Write the roster for reading: a line of numbers for each entry, below it what it is, wrapped."""
    table = [("entry", "profile", "generator", "critic", "critic steps", "batch", "quick", "full")]
    table += [
        (
            row["name"],
            row["profile"],
            f"{row['generator_parameters']:,}",
            f"{row['critic_parameters']:,}",
            str(row["critic_steps"]),
            str(row["batch_size"]),
            *(f"{row['steps'][budget]:,}" if budget in row["steps"] else "–" for budget in ("quick", "full")),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for index, line in enumerate(table):
        words = [text.ljust(widths[n]) if n < 2 else text.rjust(widths[n]) for n, text in enumerate(line)]
        yield "  ".join(words).rstrip()
        if index:
            row = rows[index - 1]
            kind = f"kind {row['kind']}; " if row["kind"] != row["name"] else ""
            for text in (f"{kind}{row['loss']}", f"{row['networks']}; {row['paper']}"):
                yield from textwrap.wrap(
                    text, width, initial_indent=INDENT, subsequent_indent=INDENT, break_long_words=False
                )


def print_entry(described: dict[str, Any], recipe: Recipe) -> None:
    """Print what an entry is, then each of its settings: its value, its departure or that it is a default."""
    console = Console(highlight=False)
    steps = ", ".join(f"{budget} {count:,}" for budget, count in recipe.steps.items())
    sizes = f"{described['generator_parameters']:,} and {described['critic_parameters']:,} parameters"
    for line in (
        f"{described['name']}, profile {recipe.profile}: {described['loss']}",
        described["paper"],
        recipe.origin,
        f"{described['networks']}: {sizes}",
        f"steps: {steps}",
    ):
        if line:
            console.print(Text(line))
    written = dict(flatten(recipe.method.model_dump(mode="json", by_alias=True, exclude_unset=True)))
    table = Table(box=None, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("note", overflow="fold")
    for name, value, departure in list_settings(recipe.method, recipe.departures):
        default = "" if name in written else "default"
        table.add_row(Text(name), Text(value), Text(departure or default, style="" if departure else "dim"))
    console.print(table)
