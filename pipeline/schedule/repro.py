"""Runs what the selected study lacks: `make repro`.

`dvc repro` runs one stage after the other. Cells don't depend on one another, so they are run side by
side here, each by `dvc repro --single-item`, which takes no lock on shared stages; the result is the
same. Shared stages come first, and a plain `dvc repro` last, which finds every cell done.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gan.errors import ConfigError
from gan.files import write_bytes
from pipeline import environment
from pipeline.stage import (
    MANIFEST,
    OWN,
    PARAMS,
    Cell,
    read_params,
    replace_unencodable,
    report_error,
    report_folder,
    selected_cells,
)
from pipeline.tracking.database import prepare_database

SHARED_STAGES = ["code", "download", "convert", "contact", "evaluator", "reference"]
CELL_STAGES = ["train", "trajectory", "sample", "evaluate", "register"]  # and then `collect`, of the study
LOGS = Path("build/logs")
# What stages read and don't write, and the rest of what `dvc status` would look at, but for the report.
SOURCES = ["dvc.yaml", str(PARAMS), str(MANIFEST), str(OWN), "gan", "pipeline"]
PRODUCTS = ["dvc.lock", "data", "models", "build"]
UP_TO_DATE = Path("build/up-to-date")
STDERR = 2  # file descriptor: what the stages say is no answer, which may be JSON
# glibc gives large blocks back to the kernel and faults them in again at every step. Keeping them was
# measured as 1.1 to 1.3 times as fast at 32 pixels in bfloat16; at 28 pixels in float32 six noisy pairs
# gave 0.95 to 1.27. The results don't depend on it; other allocators don't read it.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
BEGUN = re.compile(r"Running stage '(\w+)@")
BUSY = re.compile(r"is busy|Unable to acquire lock|cannot perform the command because another")


@dataclass
class Progress:
    """What one cell is doing, for those who watch."""

    stage: str = "waiting"
    outcome: str = ""
    detail: str = ""
    seconds: float = 0.0
    failed: bool = False


def main() -> None:
    """Run the study, JOBS cells at a time (default: as many as there are cores)."""
    replace_unencodable()
    try:
        code = repro(jobs=prepare_environment())
    except (ConfigError, OSError) as error:
        code = report_error(error)
    raise SystemExit(code)


def prepare_environment() -> int:
    """Check and set what the stages inherit, and return how many cells are to run at a time."""
    environment.check()
    # dvc.yaml says `python`: let it be this one, in an activated environment or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for name, value in ALLOCATOR.items():
        os.environ.setdefault(name, value)
    return environment.jobs()


def repro(jobs: int) -> int:
    """Bring the selected study up to date; 0 when it is."""
    console = Console(stderr=True)
    params = read_params()
    cells = selected_cells(params)
    everything = [*SOURCES, *PRODUCTS]
    began = time.monotonic()
    before = fingerprint(everything)
    if is_up_to_date(before) or not stale_stages():
        write_bytes(UP_TO_DATE, before.encode())
        print("nothing to do: every stage of the selected study is up to date")
        return say_where(report_folder(params))
    if not run_stale(cells, params.select.study, jobs, console):
        return 1
    before = fingerprint(SOURCES)
    if (final := subprocess.run(dvc("repro"), check=False)).returncode != 0:
        return final.returncode
    if fingerprint(SOURCES) == before:  # nobody has edited them meanwhile
        write_bytes(UP_TO_DATE, fingerprint(everything).encode())
    print(f"\ndone in {time.monotonic() - began:.0f} s")
    return say_where(report_folder(params))


def is_up_to_date(now: str) -> bool:
    """Tell whether no file has changed since DVC last found every stage up to date.

    DVC needs seconds to say so: it parses all of params.yaml for each stage that has parameters.
    """
    return UP_TO_DATE.is_file() and UP_TO_DATE.read_text() == now


def fingerprint(roots: list[str]) -> str:
    """Digest of path, size and time of change of every file under these, by which DVC too trusts a file."""
    digest = hashlib.sha256()
    for root in roots:
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(set(folders) - {"__pycache__", LOGS.name})
            for path in sorted(Path(folder, name) for name in files):
                _add_file(digest, path)
        if Path(root).is_file():
            _add_file(digest, Path(root))
    return digest.hexdigest()


def _add_file(digest: "hashlib._Hash", path: Path) -> None:
    if path != UP_TO_DATE:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())


def run_stale(cells: list[Cell], study: str, jobs: int, console: Console) -> bool:
    """Bring selected cells and what they share up to date; False where a stage failed, which is then said."""
    console.print(f"{len(cells)} cells, {jobs} at a time; logs in {LOGS}/")
    with console.status("preparing the MLflow database"):
        prepare_database()
    shared = subprocess.run([*dvc("repro"), *SHARED_STAGES], stdout=STDERR, check=False)
    if shared.returncode != 0:
        print(
            "error: a shared stage failed, see above; mend it and run the same command again", file=sys.stderr
        )
        return False
    stale = stale_stages()
    waiting = [cell for cell in cells if any(f"{stage}@{cell.key}" in stale for stage in CELL_STAGES)]
    failed = run_cells(waiting, study, jobs, console)
    for cell in failed:
        print(f"error: {cell.key} failed; its log is {LOGS / cell.key}.log", file=sys.stderr)
        print("".join(f"  {line}\n" for line in last_lines(cell, 5)), end="", file=sys.stderr)
    return not failed


def say_where(report: Path) -> int:
    """Print where the results are, and how to look at them."""
    print(f"report: {(report / 'index.html').absolute()}")
    print("runs and models: make ui")
    return 0


def dvc(*arguments: str) -> list[str]:
    """Command line of DVC in this very environment."""
    return [sys.executable, "-m", "dvc", *arguments]


def stale_stages() -> dict[str, Any]:
    """Stages whose dependencies, parameters, command or outputs have changed, as `dvc status` sees them."""
    answer = subprocess.run(dvc("status", "--json"), capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise ConfigError(
            f"dvc status failed: {(answer.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )
    stale: dict[str, Any] = json.loads(answer.stdout)
    return stale


def run_cells(cells: list[Cell], study: str, jobs: int, console: Console) -> list[Cell]:
    """Run the stages of cells, `jobs` cells at a time; return those that failed."""
    if not cells:
        return []
    LOGS.mkdir(parents=True, exist_ok=True)
    progress = {cell.key: Progress() for cell in cells}
    with ThreadPoolExecutor(jobs) as pool, Live(console=console, transient=True) as live:
        futures = [pool.submit(run_cell, cell, study, progress[cell.key], console) for cell in cells]
        while not all(future.done() for future in futures):
            for cell in cells:
                watch(cell, progress[cell.key])
            if console.is_terminal:
                live.update(table_of(progress))
            time.sleep(0.5)
        for future in futures:
            future.result()
    return [cell for cell in cells if progress[cell.key].failed]


def run_cell(cell: Cell, study: str, progress: Progress, console: Console) -> None:
    """Run a cell's stages in order; the first failure ends it."""
    began = time.monotonic()
    log = LOGS / f"{cell.key}.log"
    log.unlink(missing_ok=True)
    stages = [*(f"{stage}@{cell.key}" for stage in CELL_STAGES), f"collect@{study}-{cell.key}"]
    progress.failed = run_stages(stages, log) != 0
    progress.seconds = time.monotonic() - began
    watch(cell, progress)
    outcome = f"failed in {progress.stage}" if progress.failed else "done"
    progress.outcome = outcome
    console.print(f"{cell.key}: {outcome}, {progress.seconds:.0f} s", highlight=False)


def watch(cell: Cell, progress: Progress) -> None:
    """Read off a cell's log which stage it is in, and the last that was said."""
    lines = last_lines(cell)
    begun = [found[1] for line in lines if (found := BEGUN.search(line))]
    progress.stage = begun[-1] if begun else progress.stage
    progress.detail = lines[-1][:60] if lines else ""


def run_stages(stages: list[str], log: Path) -> int:
    """Run stages and nothing that they depend on, their output into a log; wait where a lock is held.

    One DVC does them all: it reads params.yaml and dvc.lock for seconds before its first.
    """
    for wait in (1, 2, 4, 8, 0):
        with log.open("ab") as stream:
            start = stream.tell()
            command = dvc("repro", "--single-item", *stages)
            code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
        said = log.read_bytes()[start:].decode(errors="replace")
        if code == 0 or not BUSY.search(said):
            break
        time.sleep(wait)
    return code


def last_lines(cell: Cell, n: int = 0) -> list[str]:
    """Last lines of a cell's log that say something; without a number, as many as are at hand."""
    log = LOGS / f"{cell.key}.log"
    if not log.is_file():
        return []
    lines = [line.strip() for line in log.read_bytes()[-4096:].decode(errors="replace").splitlines()]
    return [line for line in lines if line][-n:]


def table_of(progress: dict[str, Progress]) -> Table:
    """Lay out what every cell is doing."""
    table = Table(box=None, pad_edge=False)
    for heading in ("cell", "stage", "last line of its log"):
        table.add_column(heading, no_wrap=True)
    for key, state in progress.items():
        table.add_row(key, state.outcome or state.stage, state.detail)
    return table
