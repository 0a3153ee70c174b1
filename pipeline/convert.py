"""Stage `convert`: raw files of a data set -> one store of uniform records, equal bytes for equal files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from gan.config import Params
from gan.data.convert import convert
from gan.data.image_store import write_store
from pipeline import environment
from pipeline.stage import check_dataset, run_stage

Item = TypeVar("Item")


def main(params: Params, argument: str) -> None:
    """Convert data/raw/DATASET to data/lmdb/DATASET.lmdb and its manifest DATASET.json."""
    name = check_dataset(argument, params)
    with convert(
        Path("data/raw") / name, params.datasets[name].plan, processes=environment.processes()
    ) as conversion:
        count = max(end for _, end in conversion.splits.values())
        write_store(
            Path("data/lmdb") / f"{name}.lmdb",
            _shown(conversion.records, count, name),
            image=conversion.image,
            splits=conversion.splits,
            recipe=conversion.recipe,
            attributes=conversion.attributes,
            skipped=conversion.skipped,
        )


def _shown(records: Iterable[Item], count: int, name: str) -> Iterator[Item]:
    """Pass records on under a progress bar on stderr."""
    yield from track(records, f"convert {name}", total=count, console=Console(stderr=True))


if __name__ == "__main__":
    run_stage(main, "DATASET")
