"""Owns the strided convolutional pair of DCGAN. Radford et al., 2016, arXiv:1511.06434, section 3.

The generator starts from a square of 4 (7 for sides like 28) and doubles it to the image's side,
halving its channels; the critic mirrors it. Widths, kernel, norms and biases are parameters, because
the paper, its code and the ancestors differ there. Unless `biases` is set, a layer before a norm has no
bias, as in TensorFlow's slim.

A kernel of 5 is padded evenly; TensorFlow's SAME pads one pixel less before than after, a shift by one
pixel that matters only when weights are ported.
"""

import torch
from torch import Tensor, nn

from gan.contract import ImageShape
from gan.networks import ConvolutionalParams, CriticParams, GeneratorParams
from gan.networks.convolutions import ImageConv2d, ImageConvTranspose2d
from gan.networks.layers import (
    Flatten,
    Unflatten,
    initialise,
    norm_layer,
    stem_side,
)
from gan.networks.winograd import WideConv2d, WideConvTranspose2d


def build_pair(
    params: ConvolutionalParams, image: ImageShape, z_dim: int, *, critic_norm: str
) -> tuple[nn.Module, nn.Module]:
    """Make generator and critic, initialised. critic_norm: "batch", "layer" or "none".

    Raises ConfigError for an image whose side isn't 4 or 7 times a power of two.
    """
    generator = ConvolutionalGenerator(params.generator, image, z_dim)
    critic = ConvolutionalCritic(params.critic, image, critic_norm=critic_norm)
    for network in (generator, critic):
        initialise(network, params.initialisation)
    return generator, critic


class ConvolutionalGenerator(nn.Module):
    """(N, z_dim) -> (N, C, H, W) in [-1, 1], by tanh or a stretched sigmoid."""

    def __init__(self, params: GeneratorParams, image: ImageShape, z_dim: int) -> None:
        super().__init__()
        side, doublings = stem_side(image)
        channels = [params.width * 2**level for level in reversed(range(doublings))]
        self.stem = nn.Sequential(*_stem(params, z_dim, channels[0], side))
        layers: list[nn.Module] = []
        for wide, narrow in zip(channels, channels[1:], strict=False):
            layers.append(doubling(wide, narrow, params.kernel, bias=params.biases or not params.norm))
            layers += (
                [nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)] if params.norm else [nn.ReLU(inplace=True)]
            )
        layers.append(
            doubling(channels[-1], image.channels, params.kernel, bias=True, layer=ImageConvTranspose2d)
        )
        self.layers = nn.Sequential(*layers)
        self.output = params.output

    def forward(self, noise: Tensor) -> Tensor:
        """Noise to images."""
        images = self.layers(self.stem(noise))
        return torch.tanh(images) if self.output == "tanh" else 2 * torch.sigmoid(images) - 1


def _stem(params: GeneratorParams, z_dim: int, channels: int, side: int) -> list[nn.Module]:
    """Noise to the smallest map, by a dense layer, or by a convolution with one bias per channel."""
    layers: list[nn.Module] = []
    if params.hidden is not None:
        layers += [nn.Linear(z_dim, params.hidden), nn.BatchNorm1d(params.hidden), nn.ReLU(inplace=True)]
    inputs = params.hidden or z_dim
    bias = params.biases or params.stem_norm == "none"
    if params.stem == "convolution":
        layers += [Unflatten(inputs, 1, 1), nn.ConvTranspose2d(inputs, channels, side, bias=bias)]
    else:
        layers.append(nn.Linear(inputs, channels * side * side, bias=bias))
        if params.stem_norm == "feature":
            layers.append(nn.BatchNorm1d(channels * side * side))
        layers.append(Unflatten(channels, side, side))
    if params.stem_norm == "channel":
        layers.append(nn.BatchNorm2d(channels))
    return [*layers, nn.ReLU(inplace=True)]


def doubling(
    wide: int,
    narrow: int,
    kernel: int,
    *,
    bias: bool,
    layer: type[nn.ConvTranspose2d] = WideConvTranspose2d,
) -> nn.ConvTranspose2d:
    """Transposed convolution that doubles the side, for any kernel size from 2."""
    odd = kernel % 2
    return layer(wide, narrow, kernel, stride=2, padding=(kernel - 1) // 2, output_padding=odd, bias=bias)


class ConvolutionalCritic(nn.Module):
    """(N, C, H, W) in [-1, 1] -> (N,) scores."""

    def __init__(self, params: CriticParams, image: ImageShape, *, critic_norm: str) -> None:
        super().__init__()
        side, doublings = stem_side(image)
        channels = [image.channels, *(params.width * 2**level for level in range(doublings))]
        layers: list[nn.Module] = []
        for level, (narrow, wide) in enumerate(zip(channels, channels[1:], strict=False)):
            kind = critic_norm if level > 0 or params.first_norm else "none"
            bias = params.biases or kind == "none"
            layer = ImageConv2d if level == 0 else WideConv2d
            layers.append(layer(narrow, wide, params.kernel, 2, (params.kernel - 1) // 2, bias=bias))
            layers += [norm_layer(kind, wide), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, Flatten())
        features = channels[-1] * side * side
        if params.hidden is not None:
            hidden: list[nn.Module] = [nn.Linear(features, params.hidden)]
            if critic_norm == "batch":
                hidden.append(nn.BatchNorm1d(params.hidden))
            elif critic_norm == "layer":
                hidden.append(nn.LayerNorm(params.hidden))
            self.layers.extend([*hidden, nn.LeakyReLU(0.2, inplace=True)])
        self.head = nn.Linear(params.hidden or features, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images to scores."""
        return self.head(self.layers(images)).squeeze(1)
