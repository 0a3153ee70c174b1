"""Owns the extractor of published distances. Its network is imported inside functions."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from gan.errors import ConfigError
from gan.extractors.base import Features

if TYPE_CHECKING:
    import torch

_BATCH = 32


class InceptionExtractor:
    """torch-fidelity's Inception, with the weights that published distances are measured in.

    Szegedy et al., 2016, arXiv:1512.00567, as TensorFlow had it on 2015-12-05. Grey images are tiled to
    three channels, as Lucic et al., 2018, arXiv:1711.10337, do for MNIST.
    """

    name: ClassVar[str] = "inception"
    resize: ClassVar[str] = "bilinear to 299, as TensorFlow 1"
    size = 2048

    def __init__(self, weights: bytes, device: torch.device | str = "cpu") -> None:
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
        ).to(device, memory_format=torch.channels_last)
        self.sha256 = hashlib.sha256(weights).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        weight: torch.Tensor = self.net.fc.weight
        return weight.device

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Features (N, 2048) and probabilities of ImageNet's classes (N, 1008) of grey or colour images.

        The classes are those of the logits without their bias, which the inception score is published of.
        """
        import torch

        from gan.extractors.mnistnet import one_thread

        features = [np.empty((0, self.size), np.float32)]
        probabilities = [np.empty((0, self.net.fc.out_features), np.float32)]
        with torch.no_grad(), one_thread():
            for begin in range(0, len(images), _BATCH):
                portion = torch.from_numpy(images[begin : begin + _BATCH])
                missing = _BATCH - len(portion)
                filled = torch.nn.functional.pad(portion, (0, 0, 0, 0, 0, 0, 0, missing))
                found, logits = self.net(filled.to(self.device).expand(-1, 3, -1, -1))
                features.append(found[: len(portion)].cpu().numpy())
                probabilities.append(logits[: len(portion)].softmax(1).cpu().numpy())
        return Features(np.concatenate(features), np.concatenate(probabilities))
