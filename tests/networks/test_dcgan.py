"""The convolutional pair: shapes, sizes, parameter counts, norms, initialisation."""

import pytest
import torch
from torch import nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import ConvolutionalParams
from gan.networks.dcgan import build_pair, stem_side


def shape_of(**changes):
    values = {
        "kind": "dcgan",
        "generator_width": 8,
        "critic_width": 4,
        "kernel": 4,
        "stem_norm": True,
        "initialisation": "normal",
    }
    return ConvolutionalParams.model_validate(values | changes)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", [4, 5])
def test_both_networks_fit_every_side_channel_count_and_kernel(side, channels, kernel):
    image = ImageShape(channels, side, side)
    generator, critic = build_pair(shape_of(kernel=kernel), image, 6, critic_norm="batch")
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, channels, side, side)
    assert critic(images).shape == (2,)


@pytest.mark.parametrize(("norm", "critic_parameters"), [("batch", 4_315_649), ("none", 4_314_753)])
def test_parameter_counts_are_those_of_the_ancestor_at_64x64x3(norm, critic_parameters):
    # khanrc/tf.gans-comparison: widths 1024..128 and 64..512, 5x5 kernels, no norm after the stem
    params = shape_of(generator_width=128, critic_width=64, kernel=5, stem_norm=False)
    with torch.device("meta"):
        generator, critic = build_pair(params, ImageShape(3, 64, 64), 100, critic_norm=norm)
    assert count(generator) == 18_869_379
    assert count(critic) == critic_parameters


@pytest.mark.parametrize(
    ("side", "expected"), [(28, (7, 2)), (32, (4, 3)), (56, (7, 3)), (64, (4, 4)), (128, (4, 5))]
)
def test_the_stem_is_doubled_up_to_the_side(side, expected):
    assert stem_side(ImageShape(1, side, side)) == expected


@pytest.mark.parametrize("image", [(1, 30, 30), (1, 28, 32), (1, 7, 7), (1, 4, 4), (3, 48, 48)])
def test_other_sides_are_a_clear_error(image):
    with pytest.raises(ConfigError, match=f"not {image[1]}x{image[2]}"):
        build_pair(shape_of(), ImageShape(*image), 6, critic_norm="none")


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm)])
def test_the_critic_is_normalised_in_every_layer_but_the_first(norm, kind):
    _, critic = build_pair(shape_of(), ImageShape(1, 64, 64), 6, critic_norm=norm)
    order = [type(layer) for layer in critic.layers]
    assert order == [nn.Conv2d, nn.LeakyReLU] + [nn.Conv2d, kind, nn.LeakyReLU] * 3


def test_paper_initialisation_is_normal_with_deviation_002_and_gains_around_one():
    params = shape_of(generator_width=64, critic_width=64)
    generator, critic = build_pair(params, ImageShape(1, 28, 28), 100, critic_norm="batch")
    for network in (generator, critic):
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                assert abs(module.weight.std().item() - 0.02) < 0.002
                assert module.bias is None or not module.bias.any()
            if isinstance(module, nn.BatchNorm2d):
                assert abs(module.weight.mean().item() - 1) < 0.01
                assert 0.01 < module.weight.std().item() < 0.03
