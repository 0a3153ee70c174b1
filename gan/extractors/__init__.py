"""Networks whose features and classes score images: which one scores which, and how it is loaded.

A further extractor is a class in a file of its own, and its name and how to load it are here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.contract import ImageShape
from gan.extractors.base import Extractor, Pictures
from gan.extractors.inception import InceptionExtractor
from gan.extractors.points import PointExtractor
from gan.extractors.trained import AttributeExtractor, DigitExtractor
from gan.files import read_json

if TYPE_CHECKING:
    import torch

DIGIT_SIDES = (28, 32)
EXTRACTORS: dict[str, type[Extractor]] = {
    kind.name: kind for kind in (DigitExtractor, PointExtractor, AttributeExtractor, InceptionExtractor)
}


def extractor_name(image: ImageShape, *, split: str, pictures: Pictures) -> str:
    """Name the extractor of a data set: mnistnet for digits of 28 or 32 pixels, `pictures` for the rest.

    split: its rule, which also tells mixtures, and sets in which each channel is a digit by itself.
    """
    if split == "mixture":
        return PointExtractor.name
    stacked = split.startswith("stacked")
    if (image.channels == 1 or stacked) and image.height == image.width and image.height in DIGIT_SIDES:
        return DigitExtractor.name
    return pictures


def load_extractor(folder: Path, image: ImageShape, device: torch.device | str = "cpu") -> Extractor:
    """Load what stage `evaluator` left in a folder, for images of this shape.

    device: of its network, if it has one.
    Raises DataError when the weights are not those that the card beside them names.
    """
    card: dict[str, Any] = read_json(folder / "card.json")
    if card["name"] == InceptionExtractor.name:
        from gan.extractors.mnistnet import read_weights

        return InceptionExtractor(read_weights(folder / "weights.pth", card["sha256"]), device)
    if card["name"] == PointExtractor.name:
        return PointExtractor()
    if card["name"] == AttributeExtractor.name:
        from gan.extractors.attributes import AttributeNet
        from gan.extractors.mnistnet import load_weights

        untrained = AttributeNet(image, card["attributes"])
        weights = load_weights(untrained, folder / "weights.safetensors", card["sha256"])
        return AttributeExtractor(weights.to(device), card["sha256"])
    from gan.extractors.mnistnet import load_mnistnet

    net = load_mnistnet(folder / "weights.safetensors", image._replace(channels=1), card["sha256"])
    return DigitExtractor(net.to(device), card["sha256"], image.channels)
