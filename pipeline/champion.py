"""Stage `champion`: once all cells are registered, each data set's best one gets the alias `champion`."""

import logging

from gan.config import Params
from gan.files import write_json
from pipeline.stage import champions, run_stage, selected_cells
from pipeline.tracking.champions import choose_champions, crown_champions, without_champion
from pipeline.tracking.database import mlflow_session


def main(params: Params, _: str) -> None:
    """Crown the best cell of the selection on each data set and write build/champions/STUDY.json."""
    cells = selected_cells(params)
    chosen = choose_champions(cells, params)
    with mlflow_session() as client:
        crown_champions(client, chosen)
    for dataset, best in chosen.items():
        logging.info("champion of %s: %s, %s %.4g", dataset, best["key"], best["metric"], best["value"])
    for line in without_champion(cells, chosen):
        logging.warning("%s", line)
    write_json(champions(params), chosen)


if __name__ == "__main__":
    run_stage(main, "")
