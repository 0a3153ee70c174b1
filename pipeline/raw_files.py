"""Owns getting the raw files of a data set: for stage `download`, and for `convert` where they are gone."""

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

from gan.data.download import fetch
from gan.data.manifest import FileEntry, find_entry, read_manifest
from pipeline import environment
from pipeline.stage import MANIFEST, Dataset


def fetch_raw_files(dataset: Dataset) -> list[FileEntry]:
    """Get each file of a data set, verified, and return what the manifest says of them.

    Files that are there are verified too. GANTRY_MIRROR names a source that comes before the others.
    Raises what `gan.data.download.fetch` raises.
    """
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
    return entry.files
