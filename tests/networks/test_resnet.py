"""The residual pair: sizes, parameter counts, arithmetic of a block, initial weights."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import ResidualParams
from gan.networks.resnet import ConvMeanPool, DownBlock, UpBlock, UpsampleConv
from tests.closed_forms import method_of


def params_of(width=4, initialisation="he"):
    return ResidualParams(
        kind="resnet", generator_width=width, critic_width=width, initialisation=initialisation
    )


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_both_networks_fit_every_side_and_channel_count(image, norm):
    generator, critic = params_of().build(image, 6, critic_norm=norm)
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, *image) and images.abs().max() <= 1
    assert critic(images).shape == (2,)


@pytest.mark.parametrize(("z_dim", "of_generator"), [(100, 8_311_107), (128, 8_540_483)])
def test_parameter_counts_are_those_of_the_authors(count, z_dim, of_generator):
    networks = method_of("wgan_gp_resnet_seed", "celeba").networks
    assert count(networks, (3, 64, 64), z_dim, "layer") == (of_generator, 7_491_841)
    assert count(method_of("wgan_gp_resnet", "celeba").networks, (3, 64, 64), z_dim, "layer") == (
        of_generator,
        7_491_841,
    )


def test_other_sides_are_a_clear_error():
    with pytest.raises(ConfigError, match="not 48x48"):
        params_of().build(ImageShape(3, 48, 48), 6, critic_norm="layer")


def test_a_block_adds_its_shortcut_and_its_convolved_path():
    up, maps = UpBlock(4, 2), torch.randn(3, 4, 5, 5)
    nn.init.zeros_(up.second.weight)
    nn.init.zeros_(up.second.bias)
    enlarged = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert_close(up(maps), up.shortcut(enlarged))  # before or after the 1x1 convolution, the same
    down = DownBlock(4, 6, "layer")
    nn.init.zeros_(down.shortcut.weight)
    nn.init.zeros_(down.shortcut.bias)
    inner = down.first(functional.relu(down.norms[0](torch.ones(1, 4, 4, 4) * maps[:1, :, :4, :4])))
    inner = functional.relu(down.norms[1](inner))
    convolved = functional.conv2d(inner, down.second.weight, down.second.bias, padding=1)
    quarters = convolved.view(1, 6, 2, 2, 2, 2).mean((3, 5))
    assert_close(down(maps[:1, :, :4, :4]), quarters)


def upsample_and_convolve(maps, weight, bias):
    enlarged = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return functional.conv2d(enlarged, weight, bias, padding=1)


def convolve_and_pool(maps, weight, bias):
    return functional.avg_pool2d(functional.conv2d(maps, weight, bias, padding=1), 2)


@pytest.mark.parametrize(
    ("layer", "plain"), [(UpsampleConv, upsample_and_convolve), (ConvMeanPool, convolve_and_pool)]
)
def test_a_convolution_beside_a_change_of_size_is_the_two_operations(layer, plain):
    module = layer(3, 2, 3, padding=1).double()
    maps = torch.randn(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)

    def derivatives_of(results):
        first = torch.autograd.grad(results.square().sum(), [maps, *module.parameters()], create_graph=True)
        second = torch.autograd.grad(sum(part.pow(3).sum() for part in first), [maps, *module.parameters()])
        return [results, *first, *second]

    wanted = derivatives_of(plain(maps, module.weight, module.bias))
    for found, value in zip(derivatives_of(module(maps)), wanted, strict=True):
        assert_close(found, value, rtol=1e-11, atol=1e-11)


def test_shortcuts_and_the_critics_first_convolution_are_glorot_whatever_the_rest_is():
    torch.manual_seed(0)
    generator, critic = params_of(64).build(ImageShape(3, 64, 64), 100, critic_norm="layer")
    for network in (generator, critic):
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                fans = module.kernel_size[0] ** 2 * (module.in_channels + module.out_channels)
                glorot = "shortcut" in name or name == "blocks.0"
                wanted = math.sqrt((2 if glorot or name == "" else 4) / fans)
                assert abs(module.weight.std().item() / wanted - 1) < 0.06, name
                assert module.bias is None or not module.bias.any()


def test_the_generator_is_normalised_by_batch_and_the_critic_by_layer():
    generator, critic = params_of().build(ImageShape(3, 64, 64), 6, critic_norm="layer")
    norms = (nn.BatchNorm2d, nn.GroupNorm)
    # two in each of four blocks, and one before the generator's last convolution
    assert [type(m) for m in generator.modules() if isinstance(m, norms)] == [nn.BatchNorm2d] * 9
    assert [type(m) for m in critic.modules() if isinstance(m, norms)] == [nn.GroupNorm] * 8
