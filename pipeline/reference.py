"""Stage `reference`: what a data set's samples are compared with, and the scale of every score.

Writes build/reference/DATASET: features.npz with the features of n images of the reference split,
and card.json with the scores of real images of the training split (floor) and of noise (ceiling).
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.config import Params
from gan.data.image_store import ImageStore
from gan.errors import ConfigError
from gan.files import read_json, write_bytes, write_json
from gan.metrics import score
from gan.mnistnet import MnistNet, extract, load_mnistnet
from pipeline.stage import check_dataset, run_stage

REFERENCE_SEED, FLOOR_SEED, CEILING_SEED = 1, 0, 0


def main(params: Params, dataset: str) -> None:
    """Extract the reference's features; score as many training images and as much noise against it."""
    path = Path("data/lmdb") / f"{check_dataset(dataset, params)}.lmdb"
    folder = Path("build/evaluators") / dataset
    n, split = params.evaluate.samples, params.evaluate.reference
    store, train = ImageStore(path, split), ImageStore(path, "train")
    evaluator = read_json(folder / "card.json")
    net = load_mnistnet(folder / "weights.safetensors", store.image, evaluator["sha256"])

    chosen = _draw(np.arange(len(store)), n, REFERENCE_SEED, f"{dataset}'s split {split}")
    features = extract(net, store.read(chosen)).features
    # Real images that the reference holds already would be at no distance from it.
    others = np.setdiff1d(np.arange(len(train)), chosen) if split == "train" else np.arange(len(train))
    real = train.read(_draw(others, n, FLOOR_SEED, f"{dataset}'s training split beside the reference"))
    noise = np.random.default_rng(CEILING_SEED).integers(0, 256, (n, *store.image), dtype=np.uint8)
    card = {
        "n": n,
        "split": split,
        "data_digest": store.digest,
        "evaluator_sha256": evaluator["sha256"],
        "floor": _scores(net, real, features),
        "ceiling": _scores(net, noise, features),
    }
    target = Path("build/reference") / dataset
    write_bytes(target / "features.npz", _packed(features))
    write_json(target / "card.json", card)


def _draw(indices: NDArray[np.int64], n: int, seed: int, where: str) -> NDArray[np.int64]:
    """Draw n of the indices without replacement, in rising order. Raises ConfigError when they are fewer."""
    if n > len(indices):
        raise ConfigError(f"evaluate.samples is {n}, and {where} has {len(indices)} images; lower it")
    return np.sort(np.random.default_rng(seed).choice(indices, n, replace=False))


def _scores(net: MnistNet, images: NDArray[np.uint8], reference: NDArray[np.float32]) -> dict[str, float]:
    found = extract(net, images)
    return score(found.features, found.probabilities, reference)


def _packed(features: NDArray[np.float32]) -> bytes:
    """Pack as npz. Its members bear zip's first date, 1980, so that equal features give equal bytes."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"features": features}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


if __name__ == "__main__":
    run_stage(main, "DATASET")
