"""LSGAN's generator: its layers, sizes and parameter counts."""

import pytest
import torch
from torch import nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import StackedParams
from tests.closed_forms import method_of

CRITIC = {"width": 4, "kernel": 5, "hidden": None, "first_norm": False, "biases": False}
PARAMS = StackedParams.model_validate(
    {"kind": "lsgan", "generator_width": 4, "critic": CRITIC, "initialisation": "normal"}
)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_both_networks_fit_every_side_and_channel_count(image, norm):
    generator, critic = PARAMS.build(image, 6, critic_norm=norm)
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, *image) and images.abs().max() <= 1
    assert critic(images).shape == (2,)


@pytest.mark.parametrize(("z_dim", "of_generator"), [(1024, 6_934_595), (100, 3_149_891)])
@pytest.mark.parametrize("entry", ["lsgan", "lsgan_seed"])
def test_parameter_counts_are_those_of_the_ancestor(count, entry, z_dim, of_generator):
    method = method_of(entry, "celeba")
    assert method.z_dim == 1024
    assert count(method.networks, (3, 64, 64), z_dim, method.critic_norm) == (of_generator, 4_315_649)


def test_at_64_the_first_two_doublings_are_followed_by_a_layer_that_keeps_the_size():
    generator, _ = PARAMS.build(ImageShape(3, 64, 64), 6, critic_norm="batch")
    kept = [
        (isinstance(layer, nn.ConvTranspose2d), layer.out_channels)
        for layer in generator.layers
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    up, same = True, False
    assert kept == [(up, 16), (same, 16), (up, 16), (same, 16), (up, 8), (up, 4), (same, 3)]


def test_other_sides_are_a_clear_error():
    with pytest.raises(ConfigError, match="not 48x48"):
        PARAMS.build(ImageShape(3, 48, 48), 6, critic_norm="batch")
