"""The perceptrons: the ancestor's sizes and its range of pixels."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import PerceptronParams


def build(image, z_dim=6, norm="none", **changes):
    values = {"kind": "mlp", "hidden": 8, "activation": "relu", "critic_dropout": 0.0}
    params = PerceptronParams.model_validate(values | changes)
    return params.build(ImageShape(*image), z_dim, critic_norm=norm)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_both_networks_fit_every_side_and_channel_count(image, activation):
    generator, critic = build(image, activation=activation)
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, *image) and images.abs().max() <= 1
    assert critic(images).shape == (2,)


@pytest.mark.parametrize(("z_dim", "of_generator"), [(100, 114_064), (10, 102_544)])
def test_parameter_counts_are_those_of_the_ancestor(count, z_dim, of_generator):
    # wiseodd/generative-models: z-128-784 and 784-128-1
    params = PerceptronParams(kind="mlp", hidden=128, activation="relu", critic_dropout=0.0)
    assert count(params, (1, 28, 28), z_dim, "none") == (of_generator, 100_609)


def test_every_hidden_layer_has_its_activation_and_the_critics_their_dropout():
    generator, critic = build((1, 2, 2), depth=3, critic_dropout=0.3)
    kinds = [nn.Linear, nn.ReLU]
    assert [type(layer) for layer in generator.layers] == [*kinds * 3, nn.Linear]
    assert [type(layer) for layer in critic.layers] == [*[*kinds, nn.Dropout] * 3, nn.Linear]
    assert [layer.in_features for layer in critic.layers if isinstance(layer, nn.Linear)] == [4, 8, 8, 8]


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_norm_is_a_clear_error(norm):
    with pytest.raises(ConfigError, match=f"no {norm} norm"):
        build((1, 28, 28), norm=norm)


def test_the_generator_is_a_sigmoid_stretched_to_minus_one_to_one():
    generator, _ = build((1, 2, 2), z_dim=3)
    noise = torch.randn(5, 3)
    assert_close((generator(noise).flatten(1) + 1) / 2, torch.sigmoid(generator.layers(noise)))


def test_the_critic_sees_pixels_in_zero_to_one():
    _, critic = build((1, 1, 2), hidden=2, activation="leaky_relu")
    with torch.no_grad():
        critic.layers[0].weight.copy_(torch.eye(2))
        critic.layers[3].weight.copy_(torch.tensor([[1.0, 10.0]]))
    images = torch.tensor([[-1.0, 1.0], [0.0, -0.5]]).view(2, 1, 1, 2)
    assert_close(critic(images), torch.tensor([10.0, 3.0]))  # 0 + 10 * 1 and 0.5 + 10 * 0.25


def test_a_gain_stretches_what_the_critic_sees():
    _, critic = build((1, 1, 2), critic_gain=12.0)
    images = torch.tensor([[-1.0, 1.0], [0.0, -0.5]]).view(2, 1, 1, 2)
    assert_close(critic(images), critic.layers(torch.tensor([[-12.0, 12.0], [0.0, -6.0]])).squeeze(1))


def test_dropout_is_the_critics_alone():
    generator, critic = build((1, 2, 2), critic_dropout=0.3)
    assert [module.p for module in critic.modules() if isinstance(module, nn.Dropout)] == [0.3]
    assert not any(isinstance(module, nn.Dropout) for module in generator.modules())


def test_weights_start_as_he_says_and_biases_at_zero():
    torch.manual_seed(0)
    generator, critic = build((1, 28, 28), z_dim=200, hidden=400)
    for layer, inputs in [
        (generator.layers[0], 200),
        (generator.layers[2], 400),
        (critic.layers[0], 784),
        (critic.layers[3], 400),
    ]:
        assert layer.in_features == inputs
        assert abs(layer.weight.std().item() / (2 / inputs) ** 0.5 - 1) < (
            0.15 if layer.out_features == 1 else 0.02
        )
        assert not layer.bias.any()
