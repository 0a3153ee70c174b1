"""Owns MLflow's database, which is created or migrated once, and the connection to it.

Importing this module costs nothing; MLflow is imported by `load_mlflow`, and only there.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gan.errors import ConfigError, DataError
from gan.files import write_bytes
from pipeline.tracking.relocation import follow_move

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads its environment when it is imported. Its own defaults wait 247 s for a dead server.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # failures are raised as well, and reported once
}


def load_mlflow() -> ModuleType:
    """Import MLflow with telemetry off, pickles refused and waits bounded. Takes about 3 s once."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


def connect() -> MlflowClient:
    """Open the tracking database and registry; the checkout's own is created on first use."""
    uri = tracking_uri()
    prepare_database(uri)
    if database := sqlite_path(uri):
        follow_move(database)
    mlflow = load_mlflow()
    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, and it would outlive this checkout
    client: MlflowClient = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    return client


@contextmanager
def mlflow_session(*, create: bool = True) -> Iterator[MlflowClient]:
    """Open MLflow for work that fails without it. Raises ConnectionError where MLflow fails.

    With `create=False` a database that isn't there is a ConfigError, for those who only read. So is an
    address that nothing can be opened at; a file that is no database of MLflow's is a DataError.
    """
    uri = tracking_uri()
    database = sqlite_path(uri)
    if not create and database is not None and not database.is_file():
        raise ConfigError(f"{database}: no MLflow database; run 'make repro', or set MLFLOW_TRACKING_URI")
    mlflow = load_mlflow()
    try:
        yield _open(uri)
    except mlflow.MlflowException as error:
        reason = without_password(reason_of(error))
        raise ConnectionError(f"MLflow at {without_password(uri)} failed: {reason}") from error


def _open(uri: str) -> MlflowClient:
    """Connect, and say of what MLflow lets through from below whose fault it is."""
    load_mlflow()
    from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

    try:
        return connect()
    except (ImportError, ArgumentError, TypeError, ValueError) as error:
        reason = without_password(f"MLFLOW_TRACKING_URI={uri}: can't be opened: {reason_of(error)}")
        raise ConfigError(reason) from error
    except (OperationalError, sqlite3.OperationalError) as error:  # such as locked, or out of reach
        raise ConnectionError(without_password(f"MLflow at {uri} failed: {reason_of(error)}")) from error
    except DatabaseError as error:
        raise DataError(_unreadable(uri, reason_of(error))) from error


def reason_of(error: Exception) -> str:
    """First informative line of an error, below its headings; its type if there is none."""
    said = []
    for line in filter(None, map(str.strip, str(error).splitlines())):
        said.append(line)
        if not line.endswith((":", "#")) and any(map(str.isalnum, line)):
            break
    return " ".join(said) or type(error).__name__


def without_password(text: str) -> str:
    """Remove user and password from the addresses in a text."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the database of the checkout that we are in.

    Raises ConfigError outside a checkout when the variable isn't set.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    root = checkout_root(Path.cwd())
    if root is None:
        raise ConfigError(
            "no MLflow database is known here; set MLFLOW_TRACKING_URI (such as http://HOST:5000 or "
            "sqlite:////absolute/path/mlflow.db), or run this in a checkout of the project"
        )
    return _sqlite_uri(root / "mlflow.db")


def checkout_root(start: Path) -> Path | None:
    """Root of the main worktree that a folder belongs to; None when it belongs to no checkout.

    Git worktrees and the copies that `dvc exp run --temp` works in answer with the main worktree, since
    what is written into a copy is deleted with it.
    """
    parts = start.resolve().parts
    for index in range(len(parts) - 2):
        if parts[index : index + 3] == (".dvc", "tmp", "exps"):
            return checkout_root(Path(*parts[:index]))
    for folder in (Path(*parts), *Path(*parts).parents):
        if (folder / "dvc.yaml").is_file():
            main = _main_worktree(folder / ".git")
            return main if main and (main / "dvc.yaml").is_file() else folder
    return None


def _main_worktree(marker: Path) -> Path | None:
    """Follow the file `.git` of a linked worktree; None when it isn't one."""
    if not marker.is_file():
        return None
    private = (marker.parent / marker.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
    pointer = private / "commondir"
    if not pointer.is_file():
        return None  # a submodule, which is its own checkout
    common = (private / pointer.read_text(encoding="utf-8").strip()).resolve()
    return common.parent if common.name == ".git" else None


def _sqlite_uri(path: Path) -> str:
    """URI of a database file, quoted where SQLAlchemy would read another path otherwise."""
    plain = str(path)
    if "%" not in plain and "?" not in plain:
        return f"sqlite:///{plain}"
    from sqlalchemy.engine import make_url

    # Releases of SQLAlchemy differ in whether they unquote, so take the form that is read back as this path.
    quoted = plain.replace("%", "%25").replace("?", "%3F")
    text = next((form for form in (plain, quoted) if make_url(f"sqlite:///{form}").database == plain), None)
    if text is None:
        raise ConfigError(f"{path}: no SQLite URI names this path; set MLFLOW_TRACKING_URI")
    # Given the driver's name, MLflow doesn't create the folder that the quoted text would name.
    return f"sqlite+pysqlite:///{text}"


def sqlite_path(uri: str) -> Path | None:
    """Absolute path of an SQLite URI's file; None for any other database.

    The URI may be relative to the working directory, name a driver and carry options.
    Raises ConfigError when it can't be parsed.
    """
    if uri.partition(":")[0].partition("+")[0] != "sqlite":
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        database = make_url(uri).database
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            f"MLFLOW_TRACKING_URI={uri}: not a database URI; write sqlite:////absolute/path/mlflow.db"
        ) from error
    # What follows `file:` is parsed by SQLite itself; its database is left alone, like one in memory.
    if not database or database == ":memory:" or database.startswith("file:"):
        return None
    return Path(database).absolute()


def prepare_database(uri: str | None = None) -> None:
    """Create or migrate an SQLite database, once; other databases are up to their server.

    The first time takes about 8 s and two processes at once have crashed each other, hence the lock.
    Afterwards one query and one small file say that there is nothing to do, without importing MLflow.
    """
    uri = tracking_uri() if uri is None else uri
    database = sqlite_path(uri)
    if database is None:
        return
    stamp = database.with_name(f"{database.name}.schema")
    if _schema_stamp(database) == _read_text(stamp) != "":
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with waiting_lock(database.with_name(f"{database.name}.lock")):
        if _schema_stamp(database) == _read_text(stamp) != "":
            return
        _migrate(uri)
        write_bytes(stamp, _schema_stamp(database).encode())


def _migrate(uri: str) -> None:
    """Let MLflow create the tables of a new database, or bring an older one up to date."""
    mlflow = load_mlflow()
    try:
        mlflow.MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except mlflow.MlflowException as error:
        if "out-of-date database schema" not in str(error):
            raise
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:  # such as for the database of a newer release
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise DataError(_unreadable(uri, reason)) from error


def _unreadable(uri: str, reason: str) -> str:
    where = without_password(str(sqlite_path(uri) or uri))
    return (
        f"{where}: MLflow {importlib.metadata.version('mlflow')} can't read this database: "
        f"{without_password(reason)}; move it away, and 'gantry sync' fills a new one"
    )


def _schema_stamp(database: Path) -> str:
    """MLflow's version and the revision of the database's schema; "" when there is no database."""
    if not database.is_file():
        return ""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
            revision = connection.execute("select version_num from alembic_version").fetchone()
    except sqlite3.DatabaseError:
        return ""
    return f"{importlib.metadata.version('mlflow')} {revision[0]}\n" if revision else ""


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a file's lock, waiting for its holder; the kernel releases it however the process ends."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
