"""Stage `reference`: computes what a data set's samples are compared with, and the scale of every score.

Writes build/reference/DATASET: features.npz with the features of n images of the reference split, the number
of images in each class, and the features of up to 60,000 training images; and card.json with the scores of
real images of the training split (floor) and of noise (ceiling), and where modes are counted, of uniform
modes. The floor's own images are left out of the training images in which copies are searched.
"""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gan.config import Params
from gan.data.image_store import ImageStore
from gan.device import prepare_scoring
from gan.errors import ConfigError
from gan.extractors import load_extractor
from gan.extractors.base import Extractor
from gan.files import write_bytes, write_json
from gan.metrics.catalogue import score
from gan.metrics.modes import uniform_modes
from gan.metrics.reference import Reference, Samples
from gan.versions import installed_versions
from pipeline.stage import find_dataset, run_stage

REFERENCE_SEED, FLOOR_SEED, CEILING_SEED, TRAIN_SEED = 1, 0, 0, 2
MOST_TRAINING_IMAGES = 60_000  # 31 MB of 128 features each


def main(params: Params, name: str) -> None:
    """Extract the reference's features; score as many training images and as much noise against it."""
    dataset = find_dataset(name, params)
    device = prepare_scoring(1)  # cells are scored side by side, where threads would wait for one another
    n, split = params.samples[name], params.evaluate.reference
    store, train = ImageStore(dataset.store, split), ImageStore(dataset.store, "train")
    extractor = load_extractor(dataset.evaluator, store.image, device)

    chosen = _draw(np.arange(len(store)), n, REFERENCE_SEED, name, f"its split {split}")
    extracted = extractor.extract(store.read(chosen))
    known = np.arange(len(train))
    if len(known) > MOST_TRAINING_IMAGES:
        known = _draw(known, MOST_TRAINING_IMAGES, TRAIN_SEED, name, "its training split")
    train_features = np.concatenate(
        [extractor.extract(train.read(part)).features for part in _portions(known)]
    )
    # Images that are in the reference already would be at distance 0 from it.
    own = chosen if split == "train" else np.empty(0, np.int64)
    others = np.setdiff1d(np.arange(len(train)), own)
    drawn = _draw(others, n, FLOOR_SEED, name, "its training split beside the reference")
    unseen = train_features[~np.isin(known, own)]
    reference = replace(Reference.of(*extracted, unseen), train=train_features)
    beside = replace(reference, train=train_features[~np.isin(known, drawn)])
    noise = np.random.default_rng(CEILING_SEED).integers(0, 256, (n, *store.image), dtype=np.uint8)
    floor = _scores(extractor, train.read(drawn), beside)
    card = {
        "n": n,
        "split": split,
        "data_digest": store.digest,
        "evaluator_sha256": extractor.sha256,
        "device": torch.device(extractor.device).type,
        "training_images": len(known),
        "suspicious": reference.suspicious,
        **({"uniform": _uniform(n, extracted.probabilities)} if "modes" in floor else {}),
        "floor": floor,
        "ceiling": _scores(extractor, noise, reference),
        "versions": installed_versions(),
    }
    write_bytes(dataset.reference / "features.npz", _pack(reference))
    write_json(dataset.reference / "card.json", card)


def _uniform(n: int, probabilities: NDArray[np.float32] | None) -> dict[str, float]:
    assert probabilities is not None
    _, channels, classes = probabilities.shape
    return uniform_modes(n, classes**channels)._asdict()


def _draw(indices: NDArray[np.int64], n: int, seed: int, dataset: str, where: str) -> NDArray[np.int64]:
    """Draw n of the indices without replacement, in rising order. Raises ConfigError if there are fewer."""
    if n > len(indices):
        raise ConfigError(f"samples.{dataset} is {n}, and {where} has {len(indices)} images; lower it")
    return np.sort(np.random.default_rng(seed).choice(indices, n, replace=False))


def _portions(numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut numbers into portions whose images fit in memory."""
    return [numbers[begin : begin + 4096] for begin in range(0, len(numbers), 4096)]


def _scores(extractor: Extractor, images: NDArray[np.uint8], reference: Reference) -> dict[str, float]:
    return score(Samples(*extractor.extract(images), images), reference)


def _pack(reference: Reference) -> bytes:
    """Pack as npz, whose members are all dated 1980, so that equal features give equal bytes."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "features": reference.features,
        "classes": reference.classes,
        "train": reference.train,
    }
    np.savez(buffer, **arrays)
    return buffer.getvalue()


if __name__ == "__main__":
    run_stage(main, "DATASET")
