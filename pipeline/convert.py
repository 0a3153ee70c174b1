"""Stage `convert`: writes a store of uniform records from raw files, equal bytes for equal files."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from gan.config import Params
from gan.data.convert import convert
from gan.data.store_writer import write_store
from pipeline import environment
from pipeline.raw_files import fetch_raw_files
from pipeline.stage import find_dataset, run_stage

Item = TypeVar("Item")


def main(params: Params, argument: str) -> None:
    """Convert data/raw/DATASET to data/lmdb/DATASET.lmdb and its manifest DATASET.json.

    Raw files that are gone, such as after `dvc pull`, are fetched again.
    """
    dataset = find_dataset(argument, params)
    fetch_raw_files(dataset)
    plan = params.datasets[dataset.name].plan
    with convert(dataset.raw, plan, processes=environment.processes()) as conversion:
        count = max(end for _, end in conversion.splits.values())
        write_store(
            dataset.store,
            _show_progress(conversion.records, count, dataset.name),
            image=conversion.image,
            splits=conversion.splits,
            recipe=conversion.recipe,
            attributes=conversion.attributes,
            skipped=conversion.skipped,
        )


def _show_progress(records: Iterable[Item], count: int, name: str) -> Iterator[Item]:
    """Yield the records, with a progress bar on stderr."""
    yield from track(records, f"convert {name}", total=count, console=Console(stderr=True))


if __name__ == "__main__":
    run_stage(main, "DATASET")
