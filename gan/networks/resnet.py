"""Owns the residual pair of WGAN-GP's authors ("Good" networks). Gulrajani et al., 2017.

At 64x64 the widths are those of the authors and of khanrc; smaller images have fewer blocks, which no
published network of this family has. The generator is normalised by batch, the critic by layer; its first
convolution and its head have no norm. Shortcuts and the critic's first convolution are initialised Glorot
uniform, whatever the scheme.

A 3x3 convolution beside a change of size is computed as one of 4x4 with a stride of 2, whose kernel is the
sum of the 3x3 one at four places: the same function up to rounding, with 4 products for each position of the
larger map instead of 9, and no map in between.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.contract import ImageShape
from gan.networks import ResidualParams
from gan.networks.layers import Flatten, Unflatten, derive_once, initialise, norm_layer, stem_side
from gan.networks.winograd import WideConv2d


def build_pair(
    params: ResidualParams, image: ImageShape, z_dim: int, *, critic_norm: str
) -> tuple[nn.Module, nn.Module]:
    """Make generator and critic, initialised. critic_norm: "batch", "layer" or "none".

    Raises ConfigError for an image whose side isn't 4 or 7 times a power of two.
    """
    generator = ResidualGenerator(params.generator_width, image, z_dim)
    critic = ResidualCritic(params.critic_width, image, critic_norm)
    for network in (generator, critic):
        initialise(network, params.initialisation)
    return generator, critic


def _shortcut(wide: int, narrow: int) -> nn.Conv2d:
    layer = nn.Conv2d(wide, narrow, 1)
    layer.initialisation = "glorot"  # type: ignore[assignment]
    return layer


class UpsampleConv(nn.Conv2d):
    """(N, wide, H, W) -> (N, narrow, 2H, 2W): each pixel is repeated 2x2, then a 3x3 convolution."""

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve, transposed."""
        kernel = derive_once(self.weight, lambda: _sum_of_shifts(self.weight).flip(2, 3).transpose(0, 1))
        return functional.conv_transpose2d(maps, kernel, self.bias, stride=2, padding=1)


class ConvMeanPool(nn.Conv2d):
    """(N, narrow, H, W) -> (N, wide, H/2, W/2): a 3x3 convolution, then means of 2x2 pixels."""

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve with a stride of 2."""
        kernel = derive_once(self.weight, lambda: _sum_of_shifts(self.weight) / 4)
        return functional.conv2d(maps, kernel, self.bias, stride=2, padding=1)


def _sum_of_shifts(kernel: Tensor) -> Tensor:
    """Sum of a kernel (D, C, 3, 3) at the four corners of a 4x4 square, (D, C, 4, 4)."""
    return functional.avg_pool2d(functional.pad(kernel, (1, 1, 1, 1)), 2, stride=1, divisor_override=1)


class UpBlock(nn.Module):
    """(N, wide, H, W) -> (N, narrow, 2H, 2W); both paths enlarge by repeating pixels."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.shortcut = _shortcut(wide, narrow)
        self.norms = nn.ModuleList([nn.BatchNorm2d(wide), nn.BatchNorm2d(narrow)])
        self.first = UpsampleConv(wide, narrow, 3, padding=1, bias=False)
        self.second = WideConv2d(narrow, narrow, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Add the paths; the shortcut may enlarge last, since a 1x1 convolution sees a single pixel."""
        inner = self.first(functional.relu(self.norms[0](maps)))
        inner = self.second(functional.relu(self.norms[1](inner)))
        return functional.interpolate(self.shortcut(maps), scale_factor=2) + inner


class DownBlock(nn.Module):
    """(N, narrow, H, W) -> (N, wide, H/2, W/2); both paths shrink by averaging 2x2 pixels."""

    def __init__(self, narrow: int, wide: int, critic_norm: str) -> None:
        super().__init__()
        self.shortcut = _shortcut(narrow, wide)
        self.norms = nn.ModuleList([norm_layer(critic_norm, narrow), norm_layer(critic_norm, narrow)])
        self.first = WideConv2d(narrow, narrow, 3, padding=1, bias=critic_norm == "none")
        self.second = ConvMeanPool(narrow, wide, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Add the convolved path to the shortcut."""
        inner = self.first(functional.relu(self.norms[0](maps)))
        inner = self.second(functional.relu(self.norms[1](inner)))
        return self.shortcut(functional.avg_pool2d(maps, 2)) + inner


class ResidualGenerator(nn.Module):
    """(N, z_dim) -> (N, C, H, W) in [-1, 1], by tanh."""

    def __init__(self, width: int, image: ImageShape, z_dim: int) -> None:
        super().__init__()
        side, doublings = stem_side(image)
        widest = width * 2 ** (doublings - 1)
        channels = [widest, *(width * 2**level for level in reversed(range(doublings)))]
        self.stem = nn.Sequential(nn.Linear(z_dim, widest * side * side), Unflatten(widest, side, side))
        self.blocks = nn.Sequential(
            *(UpBlock(wide, narrow) for wide, narrow in zip(channels, channels[1:], strict=False))
        )
        self.head = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, image.channels, 3, padding=1)
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Noise to images."""
        return torch.tanh(self.head(self.blocks(self.stem(noise))))


class ResidualCritic(nn.Module):
    """(N, C, H, W) in [-1, 1] -> (N,) scores."""

    def __init__(self, width: int, image: ImageShape, critic_norm: str) -> None:
        super().__init__()
        side, doublings = stem_side(image)
        widest = width * 2 ** (doublings - 1)
        channels = [min(width * 2**level, widest) for level in range(doublings + 1)]
        first = nn.Conv2d(image.channels, width, 3, padding=1)
        first.initialisation = "glorot"  # type: ignore[assignment]
        self.blocks = nn.Sequential(
            first,
            *(
                DownBlock(narrow, wide, critic_norm)
                for narrow, wide in zip(channels, channels[1:], strict=False)
            ),
            Flatten(),
        )
        self.head = nn.Linear(widest * side * side, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images to scores."""
        return self.head(self.blocks(images)).squeeze(1)
