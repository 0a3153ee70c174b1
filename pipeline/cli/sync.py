"""Owns `gantry sync`, which writes what MLflow lacks of a study from the cells' files."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import track

from gan.config import Params
from pipeline.stage import Cell
from pipeline.tracking.champions import choose_champions, crown_champions, without_champion
from pipeline.tracking.database import mlflow_session
from pipeline.tracking.registration import register_cell
from pipeline.tracking.run import find_experiment, runs_url


def sync_study(cells: Sequence[Cell], params: Params) -> Iterator[str]:
    """Complete runs, models and champions of trained cells, and yield a line for each."""
    with mlflow_session() as client:
        for cell in track(cells, description="syncing", console=Console(stderr=True), transient=True):
            version = register_cell(client, cell)
            outcome = f"version {version.version} of {version.model}" if version else None
            yield f"{cell.key}: {outcome or 'diverged, nothing registered'}"
        champions = choose_champions(cells, params)
        for champion in crown_champions(client, champions):
            yield f"champion of {champion.model}: {champion.key}"
        yield from without_champion(cells, champions)
        for dataset, cell in {cell.dataset: cell for cell in cells}.items():
            best_first = f"results/{champions[dataset]['metric']}" if dataset in champions else None
            yield runs_url(find_experiment(client, cell), best_first=best_first)


def trained_cells(cells: Iterable[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Split cells into those that can be synced and those that lack a model, scores or timings."""
    there: list[Cell] = []
    missing: list[Cell] = []
    for cell in cells:
        needed = (cell.model / "card.json", cell.metrics, cell.training)
        (there if all(path.is_file() for path in needed) else missing).append(cell)
    return there, missing
