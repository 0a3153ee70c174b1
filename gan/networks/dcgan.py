"""Owns the strided convolutional pair of DCGAN. Radford et al., 2016, arXiv:1511.06434, section 3.

The generator starts from a square of 4 (7 for sides like 28) and doubles it to the image's side,
halving its channels; the critic mirrors it. Widths, kernel and the norm of the stem are parameters,
because the paper, its code and the ancestors differ there. A convolution under a norm has no bias.

Kernel 5 is padded evenly; TensorFlow's SAME pads one pixel less before than after, a shift by one
pixel that matters only for carrying weights over.
"""

import torch
from torch import Tensor, nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import ConvolutionalParams


def build_pair(
    params: ConvolutionalParams, image: ImageShape, z_dim: int, *, critic_norm: str
) -> tuple[nn.Module, nn.Module]:
    """Make generator and critic, initialised. critic_norm: "batch", "layer" or "none".

    Raises ConfigError for an image whose side isn't 4 or 7 times a power of two.
    """
    generator = ConvolutionalGenerator(params, image, z_dim)
    critic = ConvolutionalCritic(params, image, norm=critic_norm)
    for network in (generator, critic):
        _initialise(network, params.initialisation)
    return generator, critic


def stem_side(image: ImageShape) -> tuple[int, int]:
    """Side of the smallest feature map and how often it is doubled to reach the image's side.

    Raises ConfigError where no such map exists.
    """
    side = image.height
    doublings = 0
    while side % 2 == 0 and side > 7:
        side //= 2
        doublings += 1
    if image.height != image.width or side not in (4, 7) or doublings == 0:
        raise ConfigError(
            f"convolutional networks need square images with a side of 4 or 7 times a power of two "
            f"(28, 32, 64, 128), not {image.height}x{image.width}"
        )
    return side, doublings


def _norm(kind: str, channels: int) -> nn.Module:
    # One group over channels and pixels, with a gain and a bias per channel, is the layer norm of the
    # WGAN-GP authors; nn.LayerNorm would have one per pixel.
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


class ConvolutionalGenerator(nn.Module):
    """(N, z_dim) -> (N, C, H, W) in [-1, 1], by tanh."""

    def __init__(self, params: ConvolutionalParams, image: ImageShape, z_dim: int) -> None:
        super().__init__()
        side, doublings = stem_side(image)
        channels = [params.generator_width * 2**level for level in reversed(range(doublings))]
        self.stem_shape = (channels[0], side, side)
        self.stem = nn.Linear(z_dim, channels[0] * side * side, bias=not params.stem_norm)
        self.stem_norm = nn.BatchNorm2d(channels[0]) if params.stem_norm else nn.Identity()
        layers: list[nn.Module] = [nn.ReLU()]
        for wide, narrow in zip(channels, channels[1:], strict=False):
            layers += [
                self._double(wide, narrow, params.kernel, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        layers += [self._double(channels[-1], image.channels, params.kernel, bias=True), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    @staticmethod
    def _double(wide: int, narrow: int, kernel: int, *, bias: bool) -> nn.ConvTranspose2d:
        odd = kernel % 2
        return nn.ConvTranspose2d(
            wide, narrow, kernel, stride=2, padding=1 + odd, output_padding=odd, bias=bias
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Noise to images."""
        return self.layers(self.stem_norm(self.stem(noise).unflatten(1, self.stem_shape)))


class ConvolutionalCritic(nn.Module):
    """(N, C, H, W) in [-1, 1] -> (N,) scores. The first layer has no norm."""

    def __init__(self, params: ConvolutionalParams, image: ImageShape, *, norm: str) -> None:
        super().__init__()
        side, doublings = stem_side(image)
        channels = [image.channels, *(params.critic_width * 2**level for level in range(doublings))]
        layers: list[nn.Module] = []
        for level, (narrow, wide) in enumerate(zip(channels, channels[1:], strict=False)):
            normalised = norm != "none" and level > 0
            layers.append(
                nn.Conv2d(
                    narrow,
                    wide,
                    params.kernel,
                    stride=2,
                    padding=(params.kernel - 1) // 2,
                    bias=not normalised,
                )
            )
            if normalised:
                layers.append(_norm(norm, wide))
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1] * side * side, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images to scores."""
        return self.head(self.layers(images).flatten(1)).squeeze(1)


def _initialise(network: nn.Module, scheme: str) -> None:
    """N(0, 0.02) weights with gains N(1, 0.02), as the paper's code; or Glorot uniform. Zero biases."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            if scheme == "normal":
                nn.init.normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and scheme == "normal":
            with torch.no_grad():
                module.weight.normal_(1.0, 0.02)
