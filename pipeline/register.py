"""Stage `register`: makes a scored model a version in MLflow's registry and logs the scores to its run.

A run that diverged gets its scores too, but no version: its output names no model. The output holds neither
version number nor run id, which differ between databases, so that a restored one is valid with any of them.
`gantry sync` refills a lost database.
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
