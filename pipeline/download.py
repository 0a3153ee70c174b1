"""Stage `download`: the files of a data set, from its manifest entry to data/raw/DATASET, verified."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gan.config import Params
from gan.data.download import fetch, find_entry, read_manifest
from pipeline import environment
from pipeline.stage import MANIFEST, find_dataset, run_stage


def main(params: Params, argument: str) -> None:
    """Fetch each file of a data set. GANTRY_MIRROR names a source that comes before the others."""
    dataset = find_dataset(argument, params)
    entry = find_entry(read_manifest(MANIFEST), dataset.name, MANIFEST)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True)) as progress:
        for file in entry.files:
            task = progress.add_task(file.name, total=file.bytes)

            def show(received: int, task: TaskID = task) -> None:
                progress.update(task, completed=received)

            path = fetch(
                file,
                dataset.raw,
                mirror=environment.mirror(),
                mirror_folder=entry.folder or dataset.name,
                report=show,
            )
            size = path.stat().st_size  # a mirror may have recompressed it
            progress.update(task, total=size, completed=size)


if __name__ == "__main__":
    run_stage(main, "DATASET")
