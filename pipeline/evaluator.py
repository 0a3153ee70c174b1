"""Stage `evaluator`: trains the network whose features and classes score a data set's images.

Writes build/evaluators/DATASET: weights.safetensors, and card.json with their hash and the share of
the test split's digits that the network names rightly.
"""

from pathlib import Path

import numpy as np
from rich.progress import track

from gan.config import Params
from gan.data.image_store import ImageStore
from gan.files import write_json
from gan.mnistnet import CLASSES, FEATURES, accuracy, extract, new_mnistnet, save_mnistnet, train_mnistnet
from pipeline.stage import check_dataset, run_stage


def main(params: Params, dataset: str) -> None:
    """Train on the whole training split, in one thread, and measure on the test split."""
    path = Path("data/lmdb") / f"{check_dataset(dataset, params)}.lmdb"
    train, test = ImageStore(path, "train"), ImageStore(path, "test")
    recipe = params.evaluator
    everything = np.arange(len(train))
    net = new_mnistnet(train.image, recipe.seed)
    losses = train_mnistnet(
        net,
        train.read(everything),
        train.read_labels(everything),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        seed=recipe.seed,
    )
    for _ in track(losses, description="training the evaluator", total=recipe.epochs):
        pass
    everything = np.arange(len(test))
    found = extract(net, test.read(everything))
    folder = Path("build/evaluators") / dataset
    card = {
        "name": "mnistnet",
        "sha256": save_mnistnet(net, folder / "weights.safetensors"),
        "accuracy": accuracy(found.probabilities, test.read_labels(everything)),
        "features": FEATURES,
        "classes": CLASSES,
        "data_digest": train.digest,
    }
    write_json(folder / "card.json", card)


if __name__ == "__main__":
    run_stage(main, "DATASET")
