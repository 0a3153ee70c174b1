"""Owns the interface of what takes features from images."""

from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Pictures = Literal["inception", "attributes"]  # what may score images that are no digits


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
