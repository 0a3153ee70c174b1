"""Stage `evaluator`: trains or fetches the network whose features and classes score a data set's images.

Writes build/evaluators/DATASET: the weights, and card.json with their hash and, for a network that is
trained here, its accuracy on the test split. Inception's weights are fetched.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from gan.config import EvaluatorParams, Params
from gan.data.download import fetch
from gan.data.image_store import ImageStore
from gan.data.manifest import find_entry, read_manifest
from gan.data.mixture import SIDE
from gan.errors import ConfigError
from gan.extractors import extractor_name
from gan.extractors.attributes import AttributeNet, attribute_accuracy
from gan.extractors.inception import InceptionExtractor
from gan.extractors.mnistnet import (
    CLASSES,
    FEATURES,
    MnistNet,
    accuracy,
    extract,
    new_mnistnet,
    new_network,
    save_mnistnet,
    train_mnistnet,
)
from gan.extractors.points import PointExtractor
from gan.extractors.trained import AttributeExtractor, DigitExtractor
from gan.files import write_bytes, write_json
from gan.versions import installed_versions
from pipeline import environment
from pipeline.stage import MANIFEST, Dataset, find_dataset, run_stage

MOST_PICTURES = 60_000  # 740 MB of 64 pixels
_PORTION = 4096  # stacks read at a time


def main(params: Params, argument: str) -> None:
    """Train on the whole training split, in one thread, and measure on the test split; or fetch weights."""
    dataset = find_dataset(argument, params)
    train = ImageStore(dataset.store, "train")
    split = params.datasets[dataset.name].split
    name = extractor_name(train.image, split=split, pictures=params.evaluator.pictures)
    folder = dataset.evaluator
    if name == DigitExtractor.name:
        card = _train_mnistnet(params.evaluator, train, ImageStore(dataset.store, "test"), folder)
    elif name == PointExtractor.name:
        card = _describe_points(ImageStore(dataset.store, "test"))
    elif name == AttributeExtractor.name:
        card = _train_attributes(params.evaluator, train, ImageStore(dataset.store, "test"), folder)
    else:
        card = _fetch_inception(folder)
    made = {"data_digest": train.digest, "versions": installed_versions()}
    write_json(folder / "card.json", {"name": name, **card, **made})


def _train_mnistnet(
    recipe: EvaluatorParams, train: ImageStore, test: ImageStore, folder: Path
) -> dict[str, Any]:
    images, labels = _digits(train)
    net = new_mnistnet(train.image._replace(channels=1), recipe.seed)
    _train(net, images, labels, recipe)
    images, labels = _digits(test)
    return {
        "sha256": save_mnistnet(net, folder / "weights.safetensors"),
        "accuracy": accuracy(extract(net, images).probabilities, labels),
        "features": FEATURES * train.image.channels,
        "classes": CLASSES,
    }


def _describe_points(test: ImageStore) -> dict[str, Any]:
    points, modes = _digits(test)
    extractor = PointExtractor()
    probabilities = extractor.extract(points).probabilities
    assert probabilities is not None
    columns, rows = probabilities.argmax(axis=2).T
    right = float((SIDE * rows + columns == modes).mean())
    return {
        "sha256": extractor.sha256,
        "accuracy": right,
        "features": PointExtractor.size,
        "classes": SIDE**2,
    }


def _train_attributes(
    recipe: EvaluatorParams, train: ImageStore, test: ImageStore, folder: Path
) -> dict[str, Any]:
    if not train.attributes:
        raise ConfigError(
            "evaluator.pictures is attributes, but the images have none; use inception, or CelebA"
        )
    shape, count = train.image, len(train.attributes)
    net = new_network(lambda: AttributeNet(shape, count), recipe.seed)
    chosen = np.arange(min(len(train), MOST_PICTURES))
    _train(net, train.read(chosen), train.read_attributes(chosen), recipe)
    chosen = np.arange(min(len(test), MOST_PICTURES))
    right = attribute_accuracy(extract(net, test.read(chosen)).probabilities, test.read_attributes(chosen))
    return {
        "sha256": save_mnistnet(net, folder / "weights.safetensors"),
        "accuracy": right,
        "features": FEATURES,
        "attributes": count,
    }


def _train(
    net: MnistNet,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | NDArray[np.bool_],
    recipe: EvaluatorParams,
) -> None:
    losses = train_mnistnet(
        net,
        images,
        labels,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        seed=recipe.seed,
    )
    for _ in track(losses, description="training the evaluator", total=recipe.epochs):
        pass


def _fetch_inception(folder: Path) -> dict[str, Any]:
    """Fetch the published weights through data/raw/inception, where users may put the file themselves."""
    name = InceptionExtractor.name
    (file,) = find_entry(read_manifest(MANIFEST), name, MANIFEST).files
    weights = fetch(file, Dataset(name).raw, mirror=environment.mirror())
    write_bytes(folder / "weights.pth", weights.read_bytes())
    # It was trained on other classes, so it has no accuracy here.
    return {"sha256": file.sha256, "accuracy": None, "features": InceptionExtractor.size, "classes": 1008}


def _digits(store: ImageStore) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 1, H, W) and labels (N,) of a split's digits.

    From stacked digits, whose labels are 100 r + 10 g + b, each distinct digit is taken once; the training
    split holds 99.8 % of MNIST's.
    """
    everything = np.arange(len(store))
    if store.image.channels == 1:
        return store.read(everything), store.read_labels(everything)
    labels: dict[bytes, int] = {}
    for begin in range(0, len(store), _PORTION):
        portion = everything[begin : begin + _PORTION]
        names = store.read_labels(portion)[:, None] // np.array([100, 10, 1]) % 10
        for stack, digits in zip(store.read(portion), names, strict=True):
            labels |= {digit.tobytes(): int(label) for digit, label in zip(stack, digits, strict=True)}
    images = np.frombuffer(bytearray(b"".join(labels)), np.uint8).reshape(-1, 1, *store.image[1:])
    return images, np.array(list(labels.values()), np.int64)


if __name__ == "__main__":
    run_stage(main, "DATASET")
