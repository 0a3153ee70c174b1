"""Owns the inputs of every metric: the samples and the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.metrics.classes import class_histogram
from gan.metrics.distances import Floats
from gan.metrics.neighbours import suspicious_distance


class Samples(NamedTuple):
    """N images to score, with an extractor's features and probabilities."""

    features: Floats  # (N, D)
    probabilities: Floats | None  # (N, K); (N, C, K) where each channel is named by itself
    images: NDArray[np.uint8] | None = None  # (N, C, H, W); without them, none of the pixels' metrics


@dataclass(frozen=True)
class Reference:
    """What samples are scored against."""

    features: Floats  # (N, D) of the reference images
    classes: NDArray[np.int64]  # (K,) how many of them are predicted to be of each; K = 0 without classes
    train: Floats  # (M, D) of the training images, which a generator may have memorised
    suspicious: float  # distance to a training image at which a sample counts as a copy

    @classmethod
    def of(cls, features: Floats, probabilities: Floats | None, train: Floats) -> Reference:
        """Reference of images (N, D) that are not among the training images (M, D).

        probabilities: of the reference images, as `score` takes them.
        """
        classes = np.empty(0, np.int64)
        if probabilities is not None and probabilities.ndim == 2:
            classes = class_histogram(probabilities)
        return cls(features, classes, train, suspicious_distance(features, train))
