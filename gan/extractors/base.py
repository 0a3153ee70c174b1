"""Owns the interface of feature extractors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Pictures = Literal["inception", "attributes"]  # extractors for images other than digits


class Features(NamedTuple):
    """Features and probabilities of N images."""

    features: NDArray[np.float32]  # (N, size)
    probabilities: NDArray[np.float32] | None  # (N, K); (N, C, K) where each channel is named by itself


class Extractor(Protocol):
    """Extracts features from images; scores compare only if name, sha256 and the device's type are equal."""

    name: ClassVar[str]  # in a metric's full name: lower-case letters and digits
    resize: ClassVar[str]  # of images to the size that the network takes

    @property
    def sha256(self) -> str:
        """Hash of the file of weights."""

    @property
    def size(self) -> int:
        """Number of features of one image."""

    @property
    def device(self) -> torch.device | str:
        """Device that features are computed on; what needs no network computes on the CPU."""

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features of images (N, C, H, W), independent of how these are split into batches."""
