"""Owns the extractors whose networks are trained here. Imports torch inside functions only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from gan.extractors.base import Features

if TYPE_CHECKING:
    import torch

    from gan.extractors.mnistnet import MnistNet


class TrainedExtractor:
    """A network made for the size of the images, of 128 features a channel."""

    resize: ClassVar[str] = "none"

    def __init__(self, net: MnistNet, sha256: str, channels: int = 1) -> None:
        from gan.extractors.mnistnet import FEATURES

        self.net = net
        self.sha256 = sha256
        self.size = channels * FEATURES

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.net.embed.weight.device


class DigitExtractor(TrainedExtractor):
    """mnistnet, on each channel by itself: stacked digits have 128 features a channel, one after another."""

    name: ClassVar[str] = "mnistnet"

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features (N, 128 C) and class probabilities, (N, 10) or (N, C, 10), of images (N, C, H, W)."""
        from gan.extractors.mnistnet import extract

        count, channels, height, width = images.shape
        features, probabilities = extract(self.net, images.reshape(-1, 1, height, width))
        features = features.reshape(count, self.size)
        if channels > 1:
            probabilities = probabilities.reshape(count, channels, -1)
        return Features(features, probabilities)


class AttributeExtractor(TrainedExtractor):
    """The features of a network that predicts binary attributes; it has no classes."""

    name: ClassVar[str] = "attributes"

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features (N, 128) of images (N, C, H, W)."""
        from gan.extractors.mnistnet import extract

        return Features(extract(self.net, images).features, None)
