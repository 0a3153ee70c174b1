"""The network for attributes: outputs that do not exclude one another, trained by mnistnet's code."""

import numpy as np
import pytest
import torch

from gan.contract import AdamParams, ImageShape
from gan.errors import ConfigError
from gan.extractors import load_extractor
from gan.extractors.attributes import AttributeNet, attribute_accuracy
from gan.extractors.mnistnet import extract, new_network, save_mnistnet, train_mnistnet
from gan.files import write_json

SHAPE = ImageShape(3, 16, 16)


def faces(n, seed=0):
    """The first attribute is a bright red channel, the second a bright blue one, each by itself."""
    random = np.random.default_rng(seed)
    attributes = random.random((n, 2)) < 0.5
    images = random.integers(0, 60, (n, *SHAPE), dtype=np.uint8)
    images[:, 0] += 100 * attributes[:, :1, None].astype(np.uint8)
    images[:, 2] += 100 * attributes[:, 1:, None].astype(np.uint8)
    return images, attributes


def test_attributes_are_learnt_each_by_itself():
    net = new_network(lambda: AttributeNet(SHAPE, 2), 0)
    optimizer = AdamParams(kind="adam", lr=2e-3, betas=(0.9, 0.999))
    list(train_mnistnet(net, *faces(256), epochs=3, batch_size=32, optimizer=optimizer, seed=0))
    images, attributes = faces(100, seed=1)
    assert attribute_accuracy(extract(net, images).probabilities, attributes) > 0.95  # chance is 0.5


def test_the_loss_is_the_mean_binary_cross_entropy():
    net = AttributeNet(SHAPE, 2)
    net.head.weight.data.zero_()
    net.head.bias.data.copy_(torch.tensor([0.0, np.log(3.0)]))  # probabilities 1/2 and 3/4
    loss = net.loss(torch.zeros(2, *SHAPE, dtype=torch.uint8), torch.tensor([[True, True], [False, False]]))
    assert loss.item() == pytest.approx((2 * np.log(2) + np.log(4 / 3) + np.log(4)) / 4, rel=1e-6)


def test_the_extractor_of_attributes_names_no_classes(tmp_path):
    net = new_network(lambda: AttributeNet(SHAPE, 2), 0)
    sha256 = save_mnistnet(net, tmp_path / "weights.safetensors")
    write_json(tmp_path / "card.json", {"name": "attributes", "sha256": sha256, "attributes": 2})
    extractor = load_extractor(tmp_path, SHAPE)
    images = faces(3)[0]
    found = extractor.extract(images)
    assert (extractor.name, extractor.sha256, extractor.size) == ("attributes", sha256, 128)
    np.testing.assert_array_equal(found.features, extract(net, images).features)
    assert found.probabilities is None


def test_images_too_small_to_halve_three_times_are_refused():
    with pytest.raises(ConfigError, match="8 pixels or more"):
        AttributeNet(ImageShape(3, 7, 64), 2)
