"""BEGAN's networks: sizes, parameter counts, activations, output."""

import pytest
import torch
from torch import nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import EquilibriumParams
from gan.networks.layers import ELU
from tests.closed_forms import method_of


def params_of(**changes):
    values = {
        "kind": "began",
        "width": 4,
        "code": 6,
        "stages": 2,
        "convolutions": 1,
        "last_convolutions": 1,
        "output_bias": 0.0,
        "initialisation": "glorot",
    }
    return EquilibriumParams.model_validate(values | changes)


@pytest.mark.parametrize("convolutions", [1, 2])
def test_both_networks_fit_every_side_and_channel_count(image, convolutions):
    generator, critic = params_of(convolutions=convolutions).build(image, 5, critic_norm="none")
    images = generator(torch.randn(2, 5))
    assert images.shape == critic(images).shape == (2, *image)


@pytest.mark.parametrize("entry", ["began", "began_seed"])
def test_parameter_counts_are_those_of_the_ancestor(count, entry):
    method = method_of(entry, "celeba")
    assert count(method.networks, (3, 64, 64), method.z_dim, "none") == (1_716_611, 17_977_411)


def test_the_encoder_at_64_is_the_ancestors_layer_for_layer():
    method = method_of("began_seed", "celeba")
    with torch.device("meta"):
        _, critic = method.networks.build(ImageShape(3, 64, 64), 64, critic_norm="none")
    layers = [(m.out_channels, m.stride[0]) for m in critic.encoder if isinstance(m, nn.Conv2d)]
    assert layers == [
        *[(128, 1)] * 3,
        *[(256, 2), (256, 1), (256, 1)],
        *[(384, 2), (384, 1), (384, 1)],
        *[(512, 2), (512, 1), (512, 1), (512, 1)],
    ]
    assert [type(m) for m in critic.encoder if isinstance(m, nn.Linear)] == [nn.Linear]
    decoder = [m.out_channels for m in critic.decoder.modules() if isinstance(m, nn.Conv2d)]
    assert decoder == [128] * 8 + [3]


def test_there_is_no_norm_anywhere_and_every_convolution_but_the_last_is_followed_by_elu():
    generator, critic = params_of().build(ImageShape(1, 28, 28), 5, critic_norm="none")
    for network in (generator, critic):
        found = [m for m in network.modules() if isinstance(m, (nn.Conv2d, ELU))]
        elus = [m for m in found if isinstance(m, ELU)]
        assert len(found) - 2 * len(elus) == 1 and isinstance(found[-1], nn.Conv2d)
        norms = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
        assert not any(isinstance(m, norms) for m in network.modules())


def test_pixels_start_at_the_output_bias_and_are_not_bounded():
    generator, critic = params_of(output_bias=-0.74).build(ImageShape(1, 28, 28), 5, critic_norm="none")
    for decoder in (generator, critic.decoder):
        assert decoder.output.bias.tolist() == pytest.approx([-0.74])
        nn.init.constant_(decoder.output.bias, 7.0)
    assert generator(torch.randn(2, 5)).mean().item() > 1


def test_generator_and_decoder_are_twins_with_weights_of_their_own():
    generator, critic = params_of(code=5).build(ImageShape(1, 28, 28), 5, critic_norm="none")
    ours, theirs = dict(generator.named_parameters()), dict(critic.decoder.named_parameters())
    assert {name: tuple(p.shape) for name, p in ours.items()} == {
        n: tuple(p.shape) for n, p in theirs.items()
    }
    assert not torch.equal(generator.output.weight, critic.decoder.output.weight)


def test_a_norm_and_a_side_that_cannot_be_halved_are_clear_errors():
    with pytest.raises(ConfigError, match="no layer norm"):
        params_of().build(ImageShape(1, 28, 28), 5, critic_norm="layer")
    with pytest.raises(ConfigError, match="multiple of 8, not 28x28"):
        params_of(stages=3).build(ImageShape(1, 28, 28), 5, critic_norm="none")
