"""Owns how cells that run side by side are watched: a live table, and a line for each that ends."""

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.schedule.runner import Runner
from pipeline.schedule.slots import Slots
from pipeline.stage import Cell

LOGS = Path("build/logs")
BEGUN = re.compile(r"Running stage '(\w+)@")


@dataclass
class Progress:
    """What one cell is doing, for those who watch."""

    stage: str = "waiting"
    outcome: str = ""
    detail: str = ""
    seconds: float = 0.0
    failed: bool = False


def log_of(cell: Cell) -> Path:
    """Where the stages of a cell print."""
    return LOGS / f"{cell.key}.log"


def run_cells(
    stages: Mapping[Cell, Sequence[str]], runner: Runner, slots: Slots, console: Console
) -> list[Cell]:
    """Run the stages of cells, each in a slot of its own; return those that failed."""
    if not stages:
        return []
    LOGS.mkdir(parents=True, exist_ok=True)
    progress = {cell.key: Progress() for cell in stages}
    with ThreadPoolExecutor(slots.jobs) as pool, Live(console=console, transient=True) as live:
        futures = [
            pool.submit(run_cell, cell, stages[cell], runner, slots, progress[cell.key], console)
            for cell in stages
        ]
        while not all(future.done() for future in futures):
            for cell in stages:
                follow(cell, progress[cell.key])
            if console.is_terminal:
                live.update(table_of(progress))
            time.sleep(0.5)
        for future in futures:
            future.result()
    return [cell for cell in stages if progress[cell.key].failed]


def run_cell(
    cell: Cell,
    stages: Sequence[str],
    runner: Runner,
    slots: Slots,
    progress: Progress,
    console: Console,
) -> None:
    """Run a cell's stages in order; the first failure ends it."""
    began = time.monotonic()
    log = log_of(cell)
    log.unlink(missing_ok=True)
    with slots.take() as variables:
        progress.failed = runner.run(stages, log, variables) != 0
    progress.seconds = time.monotonic() - began
    follow(cell, progress)
    outcome = f"failed in {progress.stage}" if progress.failed else "done"
    progress.outcome = outcome
    console.print(f"{cell.key}: {outcome}, {progress.seconds:.0f} s", highlight=False)


def follow(cell: Cell, progress: Progress) -> None:
    """Read off a cell's log which stage it is in, and the last that was said."""
    lines = last_lines(cell)
    begun = [found[1] for line in lines if (found := BEGUN.search(line))]
    progress.stage = begun[-1] if begun else progress.stage
    progress.detail = lines[-1][:60] if lines else ""


def last_lines(cell: Cell, n: int = 0) -> list[str]:
    """Last lines of a cell's log that say something; without a number, as many as are at hand."""
    log = log_of(cell)
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
