"""Owns the interface of what takes features from images, and which network scores which images.

A further extractor is a class like those below and one line in `load_extractor`. Imports networks
inside functions, so that their names cost no torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.files import read_json

if TYPE_CHECKING:
    from gan.mnistnet import MnistNet

DIGIT_SIDES = (28, 32)


class Features(NamedTuple):
    """What an extractor says of N images."""

    features: NDArray[np.float32]  # (N, size)
    probabilities: NDArray[np.float32] | None  # (N, K); (N, C, K) where each channel is named by itself


class Extractor(Protocol):
    """Takes features from images; a score in them compares only with scores of equal name and sha256."""

    @property
    def name(self) -> str:
        """Name in a metric's full name: lower-case letters and digits."""

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

    name = "mnistnet"

    def __init__(self, net: "MnistNet", sha256: str, channels: int = 1) -> None:
        from gan.mnistnet import FEATURES

        self.net = net
        self.sha256 = sha256
        self.size = channels * FEATURES

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features (N, 128 C) and class probabilities, (N, 10) or (N, C, 10), of images (N, C, H, W)."""
        from gan.mnistnet import extract

        count, channels, height, width = images.shape
        features, probabilities = extract(self.net, images.reshape(-1, 1, height, width))
        features = features.reshape(count, self.size)
        if channels > 1:
            probabilities = probabilities.reshape(count, channels, -1)
        return Features(features, probabilities)


def extractor_name(image: ImageShape, *, stacked: bool) -> str:
    """Name the extractor of a data set. Raises ConfigError for images that none can score.

    stacked: whether each channel is a digit by itself.
    """
    if (image.channels == 1 or stacked) and image.height == image.width and image.height in DIGIT_SIDES:
        return Digits.name
    raise ConfigError(f"no extractor for images of {'x'.join(map(str, image))}; digits of 28 or 32 pixels")


def load_extractor(folder: Path, image: ImageShape) -> Extractor:
    """Load what stage `evaluator` left in a folder, for images of this shape.

    Raises DataError when the weights are not those that the card beside them names.
    """
    from gan.mnistnet import load_mnistnet

    card: dict[str, Any] = read_json(folder / "card.json")
    net = load_mnistnet(folder / "weights.safetensors", image._replace(channels=1), card["sha256"])
    return Digits(net, card["sha256"], image.channels)
