"""Owns the interface of what takes features from images, and which network scores which images.

A further extractor is a class like those below and one line in `load_extractor`. Imports networks
inside functions, so that their names cost no torch.
"""

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gan.contract import ImageShape
from gan.data import mixture
from gan.errors import ConfigError
from gan.files import read_json

if TYPE_CHECKING:
    from gan.extractors.mnistnet import MnistNet

Pictures = Literal["inception", "attributes"]  # what may score images that are no digits
DIGIT_SIDES = (28, 32)
_INCEPTION_BATCH = 32


class Features(NamedTuple):
    """What an extractor says of N images."""

    features: NDArray[np.float32]  # (N, size)
    probabilities: NDArray[np.float32] | None  # (N, K); (N, C, K) where each channel is named by itself


class Extractor(Protocol):
    """Takes features from images; a score in them compares only with scores of equal name and sha256."""

    name: ClassVar[str]  # in a metric's full name: lower-case letters and digits
    resize: ClassVar[str]  # of images to the size that the network takes

    @property
    def sha256(self) -> str:
        """Hash of the file of weights."""

    @property
    def size(self) -> int:
        """Number of features of one image."""

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features of images (N, C, H, W), the same in whatever portions they come."""


class Digits:
    """mnistnet, on each channel by itself: stacked digits have 128 features a channel, one after another."""

    name: ClassVar[str] = "mnistnet"
    resize: ClassVar[str] = "none"  # it is made for the size of the images

    def __init__(self, net: "MnistNet", sha256: str, channels: int = 1) -> None:
        from gan.extractors.mnistnet import FEATURES

        self.net = net
        self.sha256 = sha256
        self.size = channels * FEATURES

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features (N, 128 C) and class probabilities, (N, 10) or (N, C, 10), of images (N, C, H, W)."""
        from gan.extractors.mnistnet import extract

        count, channels, height, width = images.shape
        features, probabilities = extract(self.net, images.reshape(-1, 1, height, width))
        features = features.reshape(count, self.size)
        if channels > 1:
            probabilities = probabilities.reshape(count, channels, -1)
        return Features(features, probabilities)


class Points:
    """Points of a mixture in the plane: their places are their features, and no network is needed."""

    name: ClassVar[str] = "points"
    resize: ClassVar[str] = "none"
    size = 2

    def __init__(self) -> None:
        self.sha256 = mixture.protocol_hash()

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Places (N, 2) in [-1, 1], and probabilities (N, 2, 5) of column and row, of images (N, 1, 1, 2)."""
        points = images.reshape(-1, self.size)
        return Features(points.astype(np.float32) / 127.5 - 1, mixture.name_points(points))


class Attributes:
    """The features of a network that tells yes-or-no attributes; it names no classes."""

    name: ClassVar[str] = "attributes"
    resize: ClassVar[str] = "none"  # it is made for the size of the images

    def __init__(self, net: "MnistNet", sha256: str) -> None:
        from gan.extractors.mnistnet import FEATURES

        self.net = net
        self.sha256 = sha256
        self.size = FEATURES

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features (N, 128) of images (N, C, H, W)."""
        from gan.extractors.mnistnet import extract

        return Features(extract(self.net, images).features, None)


class Inception:
    """torch-fidelity's Inception, with the weights that published distances are measured in.

    Szegedy et al., 2016, arXiv:1512.00567, as TensorFlow had it on 2015-12-05. Grey images are tiled to
    three channels, as Lucic et al., 2018, arXiv:1711.10337, do for MNIST.
    """

    name: ClassVar[str] = "inception"
    resize: ClassVar[str] = "bilinear to 299, as TensorFlow 1"
    size = 2048

    def __init__(self, weights: bytes) -> None:
        """weights: torch-fidelity's file. Reading it may run what it holds: compare its hash before."""
        import torch

        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise ConfigError(
                "the extractor inception needs torch-fidelity; run \"pip install 'gantry[inception]'\""
            ) from error
        # Channels last is 1.5 times as fast and equal to 1e-6; bf16 is off by 2 %, and slower without AMX.
        self.net = FeatureExtractorInceptionV3(
            self.name, ["2048", "logits_unbiased"], feature_extractor_weights_path=io.BytesIO(weights)
        ).to(memory_format=torch.channels_last)
        self.sha256 = hashlib.sha256(weights).hexdigest()

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features (N, 2048) and probabilities of ImageNet's classes (N, 1008) of grey or colour images.

        The classes are those of the logits without their bias, which the inception score is published of.
        """
        import torch

        from gan.extractors.mnistnet import one_thread

        features = [np.empty((0, self.size), np.float32)]
        probabilities = [np.empty((0, self.net.fc.out_features), np.float32)]
        with torch.no_grad(), one_thread():
            for begin in range(0, len(images), _INCEPTION_BATCH):
                portion = torch.from_numpy(images[begin : begin + _INCEPTION_BATCH])
                missing = _INCEPTION_BATCH - len(portion)
                filled = torch.nn.functional.pad(portion, (0, 0, 0, 0, 0, 0, 0, missing))
                found, logits = self.net(filled.expand(-1, 3, -1, -1))
                features.append(found[: len(portion)].numpy())
                probabilities.append(logits[: len(portion)].softmax(1).numpy())
        return Features(np.concatenate(features), np.concatenate(probabilities))


EXTRACTORS: dict[str, type[Extractor]] = {kind.name: kind for kind in (Digits, Points, Attributes, Inception)}


def extractor_name(image: ImageShape, *, split: str, pictures: Pictures) -> str:
    """Name the extractor of a data set: mnistnet for digits of 28 or 32 pixels, `pictures` for the rest.

    split: its rule, which also tells mixtures, and sets in which each channel is a digit by itself.
    """
    if split == "mixture":
        return Points.name
    stacked = split.startswith("stacked")
    if (image.channels == 1 or stacked) and image.height == image.width and image.height in DIGIT_SIDES:
        return Digits.name
    return pictures


def load_extractor(folder: Path, image: ImageShape) -> Extractor:
    """Load what stage `evaluator` left in a folder, for images of this shape.

    Raises DataError when the weights are not those that the card beside them names.
    """
    card: dict[str, Any] = read_json(folder / "card.json")
    if card["name"] == Inception.name:
        from gan.extractors.mnistnet import read_weights

        return Inception(read_weights(folder / "weights.pth", card["sha256"]))
    if card["name"] == Points.name:
        return Points()
    if card["name"] == Attributes.name:
        from gan.extractors.attributes import AttributeNet
        from gan.extractors.mnistnet import load_weights

        untrained = AttributeNet(image, card["attributes"])
        weights = load_weights(untrained, folder / "weights.safetensors", card["sha256"])
        return Attributes(weights, card["sha256"])
    from gan.extractors.mnistnet import load_mnistnet

    net = load_mnistnet(folder / "weights.safetensors", image._replace(channels=1), card["sha256"])
    return Digits(net, card["sha256"], image.channels)
