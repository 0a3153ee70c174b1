"""Stage `download`: fetches the files of a data set to data/raw/DATASET and verifies them.

Stage `convert` depends on data/raw/DATASET.json, which lists the files. DVC caches that list and not the
files: they may take up 43 GB, and nobody who pulls the converted images needs them.
"""

from gan.config import Params
from gan.files import write_json
from pipeline.raw_files import fetch_raw_files
from pipeline.stage import find_dataset, run_stage


def main(params: Params, argument: str) -> None:
    """Fetch each file, and write down the SHA-256 of each as first published."""
    dataset = find_dataset(argument, params)
    files = fetch_raw_files(dataset)
    write_json(dataset.raw_names, {file.name: file.sha256 for file in files})


if __name__ == "__main__":
    run_stage(main, "DATASET")
