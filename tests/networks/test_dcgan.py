"""The convolutional pair: shapes, sizes, parameter counts, norms, initialisation."""

import pytest
import torch
from torch import nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import ConvolutionalParams
from gan.networks.convolutions import ImageConv2d
from gan.networks.layers import Flatten
from gan.networks.winograd import WideConv2d
from tests.closed_forms import PARAMS, method_of

GENERATOR = {
    "width": 8,
    "kernel": 4,
    "hidden": None,
    "stem": "dense",
    "stem_norm": "channel",
    "norm": True,
    "biases": False,
    "output": "tanh",
}
CRITIC = {"width": 4, "kernel": 4, "hidden": None, "first_norm": False, "biases": False}


def params_of(generator=None, critic=None, initialisation="normal"):
    return ConvolutionalParams.model_validate(
        {
            "kind": "dcgan",
            "generator": GENERATOR | (generator or {}),
            "critic": CRITIC | (critic or {}),
            "initialisation": initialisation,
        }
    )


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_both_networks_fit_every_side_channel_count_and_kernel(image, kernel, norm):
    params = params_of({"kernel": kernel}, {"kernel": kernel})
    generator, critic = params.build(image, 6, critic_norm=norm)
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, *image) and images.abs().max() <= 1
    assert critic(images).shape == (2,)


@pytest.mark.parametrize("stem", ["dense", "convolution"])
@pytest.mark.parametrize("stem_norm", ["none", "channel", "feature"])
@pytest.mark.parametrize("hidden", [None, 10])
def test_every_stem_and_a_hidden_layer_fit(stem, stem_norm, hidden):
    params = params_of({"stem": stem, "stem_norm": stem_norm, "hidden": hidden}, {"hidden": hidden})
    generator, critic = params.build(ImageShape(3, 32, 32), 6, critic_norm="layer")
    assert critic(generator(torch.randn(2, 6))).shape == (2,)


@pytest.mark.parametrize(
    ("dataset", "entry", "norm", "generator", "critic"),
    [
        ("celeba", "dcgan_seed", "batch", 18_869_379, 4_315_649),
        ("celeba", "wgan_seed", "batch", 18_869_379, 4_315_649),
        ("celeba", "wgan_gp_seed", "none", 18_869_379, 4_314_753),
        ("celeba", "dragan_seed", "none", 18_868_483, 4_314_753),
        ("celeba", "coulomb_seed", "batch", 17_755_267, 17_232_897),
        ("celeba", "dcgan_notebook_seed", "batch", 3_577_667, 2_766_529),
        ("celeba", "wgan_notebook_seed", "batch", 3_577_667, 2_766_529),
        ("mnist_tiny", "wgan_seed", "batch", 6_741_121, 6_559_169),
        ("mnist_tiny", "dcgan_seed", "batch", 6_753_409, 6_633_601),
    ],
)
def test_parameter_counts_are_those_of_the_ancestors(count, dataset, entry, norm, generator, critic):
    method = method_of(entry, dataset)
    assert getattr(method, "critic_norm", "batch") == norm
    image = PARAMS.datasets[dataset].image
    assert count(method.networks, image, method.z_dim, norm) == (generator, critic)


def test_the_notebooks_networks_with_one_channel_are_counted_too(count):
    method = method_of("dcgan_notebook_seed", "celeba")
    assert count(method.networks, (1, 64, 64), method.z_dim, "batch") == (3_575_617, 2_764_481)


@pytest.mark.parametrize("shape", [(1, 30, 30), (1, 28, 32), (1, 7, 7), (1, 4, 4), (3, 48, 48)])
def test_other_sides_are_a_clear_error(shape):
    with pytest.raises(ConfigError, match=f"not {shape[1]}x{shape[2]}"):
        params_of().build(ImageShape(*shape), 6, critic_norm="none")


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm)])
@pytest.mark.parametrize("first_norm", [False, True])
def test_the_critic_is_normalised_in_every_layer_but_perhaps_the_first(norm, kind, first_norm):
    params = params_of(critic={"first_norm": first_norm})
    _, critic = params.build(ImageShape(1, 64, 64), 6, critic_norm=norm)
    order = [type(layer) for layer in critic.layers]
    first = kind if first_norm else nn.Identity
    expected = [ImageConv2d, first, nn.LeakyReLU] + [WideConv2d, kind, nn.LeakyReLU] * 3 + [Flatten]
    assert order == expected
    assert {layer.negative_slope for layer in critic.layers if isinstance(layer, nn.LeakyReLU)} == {0.2}


def test_a_layer_under_a_norm_has_a_bias_only_where_it_is_asked_for():
    for biases in (False, True):
        params = params_of({"biases": biases}, {"biases": biases})
        generator, critic = params.build(ImageShape(1, 64, 64), 6, critic_norm="batch")
        found = [
            module.bias is not None
            for network in (generator, critic)
            for module in network.modules()
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
        ]
        # generator: stem, three doublings, the image; critic: the first, three more, the head
        bare = [False] * 4 + [True] + [True] + [False] * 3 + [True]
        assert found == ([True] * 10 if biases else bare)


@pytest.mark.parametrize(("output", "squash"), [("tanh", torch.tanh), ("sigmoid", torch.sigmoid)])
def test_the_output_is_tanh_or_a_sigmoid_stretched_to_minus_one_to_one(output, squash):
    generator, _ = params_of({"output": output}).build(ImageShape(1, 28, 28), 6, critic_norm="none")
    noise = torch.randn(4, 6)
    raw = generator.layers(generator.stem(noise))
    expected = squash(raw) if output == "tanh" else 2 * squash(raw) - 1
    torch.testing.assert_close(generator(noise), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_a_doubling_doubles(kernel):
    from gan.networks.dcgan import doubling

    assert doubling(2, 3, kernel, bias=True)(torch.randn(1, 2, 5, 7)).shape == (1, 3, 10, 14)


def test_paper_initialisation_is_normal_with_deviation_002_and_gains_around_one():
    params = params_of({"width": 64}, {"width": 64})
    pair = params.build(ImageShape(1, 28, 28), 100, critic_norm="batch")
    for network in pair:
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                assert abs(module.weight.std().item() - 0.02) < 0.002
                assert module.bias is None or not module.bias.any()
            if isinstance(module, nn.BatchNorm2d):
                assert abs(module.weight.mean().item() - 1) < 0.01
                assert 0.01 < module.weight.std().item() < 0.03
