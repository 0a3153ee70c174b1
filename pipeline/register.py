"""Stage `register`: a scored model becomes a version in MLflow's registry, its run gets the scores.

A run that diverged gets its scores as well, and no version: its out names no model.

The out holds no version number and no run id, which differ between databases: a restored out is true
in each. A lost database is refilled by `gantry sync`.
"""

import logging

from gan.card import read_card
from gan.config import Params
from gan.files import write_json
from pipeline.stage import parse_cell, run_stage
from pipeline.tracking.database import mlflow_session
from pipeline.tracking.registration import register_cell


def main(params: Params, key: str) -> None:
    """Register models/KEY and write build/registered/KEY.json."""
    cell = parse_cell(key, params)
    with mlflow_session() as client:
        version = register_cell(client, cell)
    card = read_card(cell.model)
    if version is None:
        logging.info("%s diverged at step %s: nothing is registered", key, card.diverged_at)
    else:
        logging.info("%s is version %s of %s", key, version.version, version.model)
    model = version.model if version else None
    registered = {"status": card.status, "model": model, "weights_sha256": card.weights_sha256}
    write_json(cell.registered, registered)


if __name__ == "__main__":
    run_stage(main)
