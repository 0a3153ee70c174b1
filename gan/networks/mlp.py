"""Owns the pair of perceptrons; with one hidden layer each, it is that of wiseodd/generative-models.

The ancestor works on pixels in [0, 1] with a sigmoid output. Images here are in [-1, 1], so the
critic maps them to [0, 1] first and the generator maps its sigmoid back: the same arithmetic. For a few
precise numbers, such as the coordinates of a point, the critic multiplies them by a gain instead: a
perceptron is slow to learn structure that is fine compared with the range of its inputs (Rahaman et al.,
2019, arXiv:1806.08734).
"""

import torch
from torch import Tensor, nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import PerceptronParams


def build_pair(
    params: PerceptronParams, image: ImageShape, z_dim: int, *, critic_norm: str
) -> tuple[nn.Module, nn.Module]:
    """Make generator and critic, initialised. Raises ConfigError for a norm: there is no layer for it."""
    if critic_norm != "none":
        raise ConfigError(f"perceptrons have no {critic_norm} norm; set critic_norm to none")
    return MLPGenerator(params, image, z_dim), MLPCritic(params, image)


def _inputs(first: int, params: PerceptronParams) -> list[int]:
    """Number of inputs of each hidden layer."""
    return [first, *[params.hidden] * (params.depth - 1)]


def _activation(name: str) -> nn.Module:
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(0.2)


def _initialise(network: nn.Module) -> None:
    """N(0, 2 / fan_in) weights and zero biases. He et al., 2015, arXiv:1502.01852.

    The ancestor calls this "xavier", with a standard deviation of sqrt(2 / fan_in): it is He's.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=(2 / module.in_features) ** 0.5)
            nn.init.zeros_(module.bias)


class MLPGenerator(nn.Module):
    """(N, z_dim) -> (N, C, H, W) in [-1, 1]."""

    def __init__(self, params: PerceptronParams, image: ImageShape, z_dim: int) -> None:
        super().__init__()
        self.image = image
        pixels = image.channels * image.height * image.width
        layers: list[nn.Module] = []
        for inputs in _inputs(z_dim, params):
            layers += [nn.Linear(inputs, params.hidden), _activation(params.activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(params.hidden, pixels))
        _initialise(self)

    def forward(self, noise: Tensor) -> Tensor:
        """Noise to images."""
        return (2 * torch.sigmoid(self.layers(noise)) - 1).unflatten(1, self.image)


class MLPCritic(nn.Module):
    """(N, C, H, W) in [-1, 1] -> (N,) logits."""

    def __init__(self, params: PerceptronParams, image: ImageShape) -> None:
        super().__init__()
        pixels = image.channels * image.height * image.width
        layers: list[nn.Module] = []
        for inputs in _inputs(pixels, params):
            layers += [nn.Linear(inputs, params.hidden), _activation(params.activation)]
            layers.append(nn.Dropout(params.critic_dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(params.hidden, 1))
        self.gain = params.critic_gain
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits."""
        pixels = images.flatten(1)
        return self.layers((pixels + 1) / 2 if self.gain is None else self.gain * pixels).squeeze(1)
