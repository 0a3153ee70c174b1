"""Owns printing answers: tables and JSON."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    is_unicode = sys.stdout.encoding.lower().startswith("utf")  # elsewhere JSON's own escapes are used
    click.echo(json.dumps(value, indent=1, ensure_ascii=not is_unicode))


def print_rich(table: "Table") -> None:
    """Print a table as wide as the terminal, or 200 characters elsewhere."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns; on a terminal they are cut at its width."""
    table = [[str(entry) for entry in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in table:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo(line.rstrip()[:limit])
