"""Stage `champion`: once all cells are registered, each data set's best one gets the alias `champion`."""

import logging
from pathlib import Path

from gan.config import Params
from gan.files import write_json
from pipeline.publish import choose_champions, crown_champions, without_champion
from pipeline.stage import run_stage, selected_cells
from pipeline.tracking import mlflow_session

CHAMPIONS = Path("build/champion.json")


def main(params: Params, _: str) -> None:
    """Crown the best cell of the selection on each data set and write build/champion.json."""
    cells = selected_cells(params)
    champions = choose_champions(cells, params)
    with mlflow_session() as client:
        crown_champions(client, champions)
    for dataset, chosen in champions.items():
        logging.info("champion of %s: %s, %s %.4g", dataset, chosen["key"], chosen["metric"], chosen["value"])
    for line in without_champion(cells, champions):
        logging.warning("%s", line)
    write_json(CHAMPIONS, champions)


if __name__ == "__main__":
    run_stage(main, "")
