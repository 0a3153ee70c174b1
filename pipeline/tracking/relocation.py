"""Owns following a checkout that was moved: MLflow's database knows its files by absolute addresses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlartifacts"  # the folder beside the database that holds the files
# Every column of MLflow's schema that repeats the location of an experiment's files.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def artifact_location(database: Path, experiment: str) -> str:
    """Address of an experiment's files beside a database."""
    return (database.parent / ARTIFACTS / experiment).as_uri()


def follow_move(database: Path) -> None:
    """Correct the addresses of our experiments' files after the database was moved along with them.

    MLflow can't be asked to do so; it would make the old folder again. A copy of a checkout gets its own
    files as well. A database that was taken away from files that stayed behind keeps their addresses.
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        found = connection.execute("select artifact_location from experiments").fetchall()
        for old, new in ((old, _location_now(old, database)) for (old,) in found):
            if new is None or new == old:
                continue
            with connection:  # one transaction for each experiment
                for table, column in COLUMNS:
                    connection.execute(
                        f"update {table} set {column} = ? || substr({column}, ?) "  # noqa: S608 - our own names
                        f"where {column} = ? or substr({column}, 1, ?) = ?",
                        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )


def _location_now(old: str | None, database: Path) -> str | None:
    """Address beside the database of an experiment of ours; None where it is to stay as it is."""
    address = urlsplit(old or "")
    folder = Path(unquote(address.path))
    _, found, experiment = str(folder).rpartition(f"/{ARTIFACTS}/gantry/")
    if address.scheme != "file" or not found:
        return None
    here = database.parent / ARTIFACTS / "gantry" / experiment
    stayed_behind = folder.exists() and not here.exists()
    return None if stayed_behind else artifact_location(database, f"gantry/{experiment}")
