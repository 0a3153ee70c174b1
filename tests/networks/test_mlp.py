"""The perceptrons: the ancestor's sizes and its range of pixels."""

import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.networks.mlp import MLPCritic, MLPGenerator

IMAGE = ImageShape(1, 28, 28)


def test_parameter_counts_are_those_of_the_ancestor():
    # wiseodd/generative-models: 100-128-784 and 784-128-1
    generator = MLPGenerator(IMAGE, 100, hidden=128, activation="relu")
    critic = MLPCritic(IMAGE, hidden=128, activation="relu", dropout=0.0)
    assert sum(parameter.numel() for parameter in generator.parameters()) == 114_064
    assert sum(parameter.numel() for parameter in critic.parameters()) == 100_609


def test_the_generator_is_a_sigmoid_stretched_to_minus_one_to_one():
    generator = MLPGenerator(ImageShape(1, 2, 2), 3, hidden=4, activation="relu")
    noise = torch.randn(5, 3)
    assert_close((generator(noise).flatten(1) + 1) / 2, torch.sigmoid(generator.layers(noise)))


def test_the_critic_sees_pixels_in_zero_to_one():
    critic = MLPCritic(ImageShape(1, 1, 2), hidden=2, activation="leaky_relu", dropout=0.0)
    with torch.no_grad():
        critic.layers[0].weight.copy_(torch.eye(2))
        critic.layers[3].weight.copy_(torch.tensor([[1.0, 10.0]]))
    images = torch.tensor([[-1.0, 1.0], [0.0, -0.5]]).view(2, 1, 1, 2)
    assert_close(critic(images), torch.tensor([10.0, 3.0]))  # 0 + 10 * 1 and 0.5 + 10 * 0.25


def test_weights_start_as_he_says_and_biases_at_zero():
    generator = MLPGenerator(IMAGE, 200, hidden=400, activation="relu")
    first = generator.layers[0]
    assert isinstance(first, nn.Linear)
    assert abs(first.weight.std().item() - (2 / 200) ** 0.5) < 0.005
    assert not first.bias.any()
