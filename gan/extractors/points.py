"""Owns the extractor of points in the plane, which finds the Gaussian that each belongs to.

Column and row are classified separately, as the digits of stacked MNIST are, and the pair is the mode.
"""

import hashlib
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gan.data.mixture import DEVIATION, FIRST, SIDE, STEP
from gan.extractors.base import Features

RADIUS = 3 * DEVIATION  # within which a point belongs to its mode; holds 98.9 % of a Gaussian
SURE, UNSURE = 1.0, 0.6  # probability of the nearest column, and of the nearest row


class PointExtractor:
    """Points of a mixture in the plane: their places are their features, and no network is needed."""

    name: ClassVar[str] = "points"
    resize: ClassVar[str] = "none"
    size = 2
    device = "cpu"

    def __init__(self) -> None:
        self.sha256 = protocol_hash()

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Places (N, 2) in [-1, 1], and probabilities (N, 2, 5) of column and row, of images (N, 1, 1, 2)."""
        points = images.reshape(-1, self.size)
        return Features(points.astype(np.float32) / 127.5 - 1, name_points(points))


def name_points(points: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities (N, 2, 5) of column and row of points (N, 2).

    The nearest has probability 1 if the point lies within three standard deviations of its mode's centre,
    else 0.6, which is less than the confidence that a mode needs to count.
    """
    steps = (points.astype(np.float32) - FIRST) / STEP
    nearest = np.rint(steps).clip(0, SIDE - 1).astype(np.int64)
    near = np.linalg.norm(steps - nearest, axis=1) * STEP <= RADIUS
    likeliest = np.where(near, SURE, UNSURE)[:, None, None]
    chosen = nearest[:, :, None] == np.arange(SIDE)
    return np.where(chosen, likeliest, (1 - likeliest) / (SIDE - 1)).astype(np.float32)


def protocol_hash() -> str:
    """SHA-256 of the constants that classification depends on, where other extractors hash their weights."""
    return hashlib.sha256(repr((SIDE, FIRST, STEP, RADIUS)).encode()).hexdigest()
