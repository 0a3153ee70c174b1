"""Which network scores which images, and that each gives what the interface says."""

import numpy as np
import pytest

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.extractors import Digits, extractor_name, load_extractor
from gan.files import write_json
from gan.mnistnet import extract, new_mnistnet, save_mnistnet


def pictures(n, channels):
    return np.random.default_rng(0).integers(0, 256, (n, channels, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "stacked"), [((1, 28, 28), False), ((1, 32, 32), False), ((3, 28, 28), True)]
)
def test_digits_are_scored_by_mnistnet(image, stacked):
    assert extractor_name(ImageShape(*image), stacked=stacked) == "mnistnet"


@pytest.mark.parametrize("image", [(3, 28, 28), (1, 64, 64), (1, 28, 32)])
def test_what_no_extractor_is_made_for_is_refused(image):
    with pytest.raises(ConfigError, match="no extractor for images of " + "x".join(map(str, image))):
        extractor_name(ImageShape(*image), stacked=False)


def test_one_channel_has_the_features_and_classes_of_mnistnet():
    net, images = new_mnistnet(ImageShape(1, 28, 28), 0), pictures(5, 1)
    found = Digits(net, "0" * 64).extract(images)
    for part, expected in zip(found, extract(net, images), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_each_channel_of_a_stack_is_seen_alone():
    net, images = new_mnistnet(ImageShape(1, 28, 28), 0), pictures(5, 3)
    extractor = Digits(net, "0" * 64, channels=3)
    found = extractor.extract(images)
    assert extractor.size == 384
    for channel in range(3):
        features, probabilities = extract(net, images[:, channel : channel + 1])
        np.testing.assert_array_equal(found.features[:, 128 * channel : 128 * (channel + 1)], features)
        np.testing.assert_array_equal(found.probabilities[:, channel], probabilities)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_extractor_of_a_folder_is_the_one_its_card_names(tmp_path, channels):
    sha256 = save_mnistnet(new_mnistnet(ImageShape(1, 28, 28), 0), tmp_path / "weights.safetensors")
    write_json(tmp_path / "card.json", {"name": "mnistnet", "sha256": sha256})
    extractor = load_extractor(tmp_path, ImageShape(channels, 28, 28))
    assert (extractor.name, extractor.sha256, extractor.size) == ("mnistnet", sha256, 128 * channels)
    assert extractor.extract(pictures(2, channels)).features.shape == (2, 128 * channels)
