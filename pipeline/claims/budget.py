"""Owns running the cells that claims lack: choosing those that fit a budget, and running them by DVC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from gan.config import Params
from gan.errors import ConfigError, DataError
from gan.files import write_bytes
from pipeline.claims.claim import Claim, minutes_of
from pipeline.schedule import repro
from pipeline.schedule.slots import Slots
from pipeline.stage import PARAMS, Cell, read_params
from pipeline.study.params_file import replace_selection


def run_lacking(claims: Sequence[Claim], params: Params, budget: float) -> list[Cell]:
    """Run what claims lack, as far as it fits a budget in minutes of one core, and return its cells.

    dvc.lock and DVC's cache have them afterwards, as those of any study; params.yaml is as it was before.
    Raises ConfigError where nothing fits, DataError where a stage fails.
    """
    cells = cells_within(claims, params, budget)
    slots = repro.prepare_environment() if cells else Slots(1)
    for dataset, group in dict.fromkeys((cell.dataset, cell.budget) for cell in cells):
        part = [cell for cell in cells if (cell.dataset, cell.budget) == (dataset, group)]
        with selected(part):
            if not repro.run_stale(part, params.select.study, slots, Console(stderr=True)):
                raise DataError(
                    "not all cells could be run, see above; the same command goes on with the others"
                )
    return cells


def cells_within(claims: Sequence[Claim], params: Params, budget: float) -> list[Cell]:
    """Cells that whole claims lack, cheapest claim first, each cell once; minutes of one core.

    Nothing where no claim lacks a cell that can be run. Raises ConfigError where none fits the budget.
    """
    lacking = {claim.id: list(dict.fromkeys(claim.missing().values())) for claim in claims}
    minutes = {cell: minutes_of([cell], params) for cells in lacking.values() for cell in cells}
    waiting = {name: set(cells) for name, cells in lacking.items() if cells}
    chosen: dict[Cell, None] = {}
    while waiting:
        costs = {name: sum(minutes[cell] for cell in cells) for name, cells in waiting.items()}
        name = min(costs, key=lambda name: costs[name])
        if sum(minutes[cell] for cell in chosen) + costs[name] > budget:
            if chosen:
                break
            raise ConfigError(
                f"{name} lacks {len(waiting[name])} cells, about {costs[name]:.1f} minutes of one core, "
                f"more than the budget of {budget:g}"
            )
        chosen |= dict.fromkeys(cell for cell in lacking[name] if cell in waiting[name])
        waiting = {other: rest for other, cells in waiting.items() if (rest := cells - chosen.keys())}
    return list(chosen)


@contextmanager
def selected(cells: Sequence[Cell]) -> Iterator[None]:
    """Select cells of one data set and budget in params.yaml, where DVC looks, and undo it afterwards.

    An edit of params.yaml in the meantime stays. Where the process is killed, `gantry select` goes back.
    """
    before = PARAMS.read_bytes()
    selection = read_params().select.model_dump()
    meanwhile = replace_selection(
        before.decode(),
        {
            "datasets": [cells[0].dataset],
            "variants": list(dict.fromkeys(cell.variant for cell in cells)),
            "budgets": [cells[0].budget],
            "seeds": sorted({cell.seed for cell in cells}),
            "study": selection["study"],
            "claims": [],
        },
    ).encode()
    write_bytes(PARAMS, meanwhile)
    try:
        yield
    finally:
        now = PARAMS.read_bytes()
        write_bytes(
            PARAMS, before if now == meanwhile else replace_selection(now.decode(), selection).encode()
        )
