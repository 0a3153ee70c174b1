"""EBGAN's autoencoder: sizes, codes, parameter counts, norms."""

import pytest
import torch
from torch import nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import EnergyParams
from gan.networks.convolutions import ImageConv2d, ImageConvTranspose2d
from gan.networks.winograd import WideConvTranspose2d
from tests.closed_forms import method_of

GENERATOR = {
    "width": 4,
    "kernel": 4,
    "hidden": None,
    "stem": "dense",
    "stem_norm": "channel",
    "norm": True,
    "biases": False,
    "output": "tanh",
}


def params_of(**critic):
    return EnergyParams.model_validate(
        {
            "kind": "ebgan",
            "generator": GENERATOR,
            "critic": {"width": 4, "stages": 2, "code": None} | critic,
            "initialisation": "glorot",
        }
    )


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("code", [None, 5])
def test_both_networks_fit_every_side_and_channel_count(image, norm, code):
    generator, critic = params_of(code=code).build(image, 6, critic_norm=norm)
    images = generator(torch.randn(2, 6))
    reconstruction, found = critic(images)
    assert reconstruction.shape == images.shape == (2, *image)
    assert found.shape == (2, code or 8 * (image.height // 4) ** 2)  # the last map: width * 2 channels


@pytest.mark.parametrize("entry", ["ebgan_seed", "ebgan_pt_seed"])
def test_parameter_counts_are_those_of_the_ancestor(count, entry):
    method = method_of(entry, "celeba")
    found = count(method.networks, (3, 64, 64), method.z_dim, method.critic_norm)
    assert found == (12_672_771, 1_318_083)


def test_the_ancestors_code_is_the_last_map():
    method = method_of("ebgan_seed", "celeba")
    with torch.device("meta"):
        _, critic = method.networks.build(ImageShape(3, 64, 64), 100, critic_norm="batch")
        assert critic(torch.randn(2, 3, 64, 64)).code.shape == (2, 8 * 8 * 256)


def test_the_first_and_the_last_layer_have_no_norm_and_the_output_is_linear():
    _, critic = params_of(stages=3).build(ImageShape(3, 64, 64), 6, critic_norm="batch")
    conv, norm, up = nn.Conv2d, nn.BatchNorm2d, WideConvTranspose2d
    assert [type(layer) for layer in critic.encoder] == [
        *(ImageConv2d, nn.LeakyReLU),
        *(conv, norm, nn.LeakyReLU) * 2,
    ]
    assert [type(layer) for layer in critic.decoder] == [*(up, norm, nn.LeakyReLU) * 2, ImageConvTranspose2d]


@pytest.mark.parametrize(
    ("shape", "norm", "message"),
    [
        ((1, 48, 48), "batch", "not 48x48"),  # the generator can't
        ((1, 28, 28), "layer", "no layer norm"),
    ],
)
def test_what_it_is_not_made_for_is_a_clear_error(shape, norm, message):
    with pytest.raises(ConfigError, match=message):
        params_of().build(ImageShape(*shape), 6, critic_norm=norm)


def test_more_halvings_than_the_side_has_are_a_clear_error():
    with pytest.raises(ConfigError, match="multiple of 8, not 28x28"):
        params_of(stages=3).build(ImageShape(1, 28, 28), 6, critic_norm="batch")
