"""Owns what `make repro` does: which stages of the selected study are stale, and in which order they run.

`dvc repro` runs one stage after the other. Cells don't depend on one another, so a runner takes them side
by side; the result is the same. Shared stages come first, and a plain `dvc repro` last, which finds every
cell done.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from gan.errors import ConfigError
from gan.files import write_bytes
from pipeline import environment
from pipeline.schedule.local import dvc
from pipeline.schedule.runner import find_runner
from pipeline.schedule.slots import Slots
from pipeline.schedule.watch import LOGS, last_lines, log_of, run_cells
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
# What stages read but don't write; below, the rest of what `dvc status` looks at, except the report.
SOURCES = ["dvc.yaml", str(PARAMS), str(MANIFEST), str(OWN), "gan", "pipeline", "recipes"]
PRODUCTS = ["dvc.lock", "data", "models", "build"]
UP_TO_DATE = Path("build/up-to-date")
STDERR = 2  # file descriptor: stages must not write into stdout, which may be JSON
# glibc gives large blocks back to the kernel and faults them in again at every step. Keeping them was
# measured as 1.1 to 1.3 times as fast at 32 pixels in bfloat16; at 28 pixels in float32 six noisy pairs
# gave 0.95 to 1.27. The results don't depend on it; other allocators don't read it.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}


def main() -> None:
    """Run the study, JOBS cells at a time (default: as many as there are GPUs, or cores)."""
    replace_unencodable()
    try:
        code = repro(prepare_environment())
    except Exception as error:
        code = report_error(error)
    raise SystemExit(code)


def prepare_environment() -> Slots:
    """Check and set what the stages inherit, and return where the cells are to run."""
    environment.check()
    find_runner(environment.runner())
    # dvc.yaml says `python`: let it be this one, in an activated environment or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for name, value in ALLOCATOR.items():
        os.environ.setdefault(name, value)
    return Slots.of_machine()


def repro(slots: Slots) -> int:
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
    if not run_stale(cells, params.select.study, slots, console):
        return 1
    before = fingerprint(SOURCES)
    if (final := subprocess.run(dvc("repro"), check=False)).returncode != 0:
        return final.returncode
    if fingerprint(SOURCES) == before:  # they were not edited meanwhile
        write_bytes(UP_TO_DATE, fingerprint(everything).encode())
    print(f"\ndone in {time.monotonic() - began:.0f} s")
    return say_where(report_folder(params))


def is_up_to_date(now: str) -> bool:
    """Tell whether no file has changed since DVC last found every stage up to date.

    DVC needs seconds to say so.
    """
    return UP_TO_DATE.is_file() and UP_TO_DATE.read_text() == now


def fingerprint(roots: list[str]) -> str:
    """Digest of path, size and modification time of every file under these roots, which DVC trusts too."""
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


def run_stale(cells: list[Cell], study: str, slots: Slots, console: Console) -> bool:
    """Bring selected cells and shared stages up to date; report failures and return False for any."""
    console.print(f"{len(cells)} cells, {slots}; logs in {LOGS}/")
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
    lists = {
        cell: [*(f"{stage}@{cell.key}" for stage in CELL_STAGES), f"collect@{study}-{cell.key}"]
        for cell in waiting
    }
    failed = run_cells(lists, find_runner(environment.runner()), slots, console)
    for cell in failed:
        print(f"error: {cell.key} failed; its log is {log_of(cell)}", file=sys.stderr)
        print("".join(f"  {line}\n" for line in last_lines(cell, 5)), end="", file=sys.stderr)
    return not failed


def say_where(report: Path) -> int:
    """Print where the results are, and how to look at them."""
    print(f"report: {(report / 'index.html').absolute()}")
    print("runs and models: make ui")
    return 0


def stale_stages() -> dict[str, Any]:
    """Stages whose dependencies, parameters, command or outputs have changed, as `dvc status` sees them."""
    answer = subprocess.run(dvc("status", "--json"), capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise ConfigError(
            f"dvc status failed: {(answer.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )
    stale: dict[str, Any] = json.loads(answer.stdout)
    return stale
