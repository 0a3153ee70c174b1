"""Owns the small network for binary attributes, such as CelebA's 40, whose features score such images.

It is mnistnet for colour images, with an output for each attribute, and is trained, saved and run by the
same code. No accuracy on CelebA itself is claimed: it was only ever trained on made-up archives here.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.extractors.mnistnet import MnistNet


class AttributeNet(MnistNet):
    """mnistnet's layers with one output for each attribute, each a logit by itself."""

    def check(self, image: ImageShape) -> None:
        """Raise ConfigError for sides below 8, which can't be halved three times."""
        if min(image.height, image.width) < 8:
            raise ConfigError(f"attributes are told of images of 8 pixels or more, not {tuple(image)}")

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy of uint8 images (N, C, H, W) and attributes (N, A), bool."""
        return functional.binary_cross_entropy_with_logits(self(images), targets.float())

    def probabilities(self, features: Tensor) -> Tensor:
        """Probability of each attribute (N, A) by the features (N, 128)."""
        logits: Tensor = self.head(features)
        return logits.sigmoid()


def attribute_accuracy(probabilities: NDArray[np.float32], attributes: NDArray[np.bool_]) -> float:
    """Share of the attributes (N, A), over all images, that are predicted correctly."""
    return float(np.mean((probabilities > 0.5) == attributes))
