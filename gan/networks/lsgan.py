"""Owns LSGAN's generator; its critic is DCGAN's. Mao et al., 2017, arXiv:1611.04076, figure 1a.

3x3 transposed convolutions double the side: the last two have twice the width and the width, those before
them four times the width, each followed by a layer of the same width that keeps the size; one more layer
makes the image. At 64x64 that is khanrc's network, layer for layer; at 28x28 there are two doublings.
"""

import torch
from torch import Tensor, nn

from gan.contract import ImageShape
from gan.networks import StackedParams
from gan.networks.dcgan import ConvolutionalCritic, doubling
from gan.networks.layers import Unflatten, initialise, stem_side
from gan.networks.winograd import WideConv2d


def build_pair(
    params: StackedParams, image: ImageShape, z_dim: int, *, critic_norm: str
) -> tuple[nn.Module, nn.Module]:
    """Make generator and critic, initialised. critic_norm: "batch", "layer" or "none".

    Raises ConfigError for an image whose side isn't 4 or 7 times a power of two.
    """
    generator = StackedGenerator(params.generator_width, image, z_dim)
    critic = ConvolutionalCritic(params.critic, image, critic_norm=critic_norm)
    for network in (generator, critic):
        initialise(network, params.initialisation)
    return generator, critic


class StackedGenerator(nn.Module):
    """(N, z_dim) -> (N, C, H, W) in [-1, 1], by tanh."""

    def __init__(self, width: int, image: ImageShape, z_dim: int) -> None:
        super().__init__()
        side, doublings = stem_side(image)
        channels = [4 * width] * (doublings - 1) + [2 * width, width]
        self.stem = nn.Sequential(
            nn.Linear(z_dim, channels[0] * side * side, bias=False),
            nn.BatchNorm1d(channels[0] * side * side),  # per feature, as slim normalises a dense layer
            nn.ReLU(inplace=True),
            Unflatten(channels[0], side, side),
        )
        layers: list[nn.Module] = []
        for level, (wide, narrow) in enumerate(zip(channels, channels[1:], strict=False)):
            layers.append(doubling(wide, narrow, 3, bias=False))
            layers += [nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)]
            if level < doublings - 2:
                layers += [WideConv2d(narrow, narrow, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, image.channels, 3, padding=1))

    def forward(self, noise: Tensor) -> Tensor:
        """Noise to images."""
        return torch.tanh(self.layers(self.stem(noise)))
