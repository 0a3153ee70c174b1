"""Owns EBGAN's pair: DCGAN's generator against a strided autoencoder. Zhao et al., 2017.

The encoder halves the side `stages` times with 4x4 kernels, doubling its channels; the decoder mirrors
it. The code is the last map (khanrc), or a dense layer of `code` numbers in between. Batch normalisation
everywhere but in the first and the last layer.
"""

from typing import NamedTuple

from torch import Tensor, nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import AutoencoderParams, EnergyParams
from gan.networks.convolutions import ImageConv2d, ImageConvTranspose2d
from gan.networks.dcgan import ConvolutionalGenerator, doubling
from gan.networks.layers import Flatten, Unflatten, halved_side, initialise, norm_layer


class Autoencoded(NamedTuple):
    """Reconstructions of images (N, C, H, W), and their codes (N, D)."""

    reconstruction: Tensor
    code: Tensor


def build_pair(
    params: EnergyParams, image: ImageShape, z_dim: int, *, critic_norm: str
) -> tuple[nn.Module, nn.Module]:
    """Make generator and autoencoder, initialised. critic_norm: "batch" or "none".

    Raises ConfigError for an image that either can't make, and for another norm.
    """
    if critic_norm not in ("batch", "none"):
        raise ConfigError(f"this autoencoder has no {critic_norm} norm; set critic_norm to batch or none")
    generator = ConvolutionalGenerator(params.generator, image, z_dim)
    critic = StridedAutoencoder(params.critic, image, critic_norm)
    for network in (generator, critic):
        initialise(network, params.initialisation)
    return generator, critic


class StridedAutoencoder(nn.Module):
    """(N, C, H, W) in [-1, 1] -> reconstruction, with a linear output, and code."""

    def __init__(self, params: AutoencoderParams, image: ImageShape, critic_norm: str) -> None:
        super().__init__()
        side = halved_side(image, params.stages)
        channels = [params.width * 2**level for level in range(params.stages)]
        encoder: list[nn.Module] = [
            ImageConv2d(image.channels, channels[0], 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for narrow, wide in zip(channels, channels[1:], strict=False):
            encoder += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=critic_norm == "none")]
            encoder += [norm_layer(critic_norm, wide), nn.LeakyReLU(0.2, inplace=True)]
        decoder: list[nn.Module] = []
        if params.code is not None:
            encoder += [Flatten(), nn.Linear(channels[-1] * side * side, params.code)]
            decoder += [nn.Linear(params.code, channels[-1] * side * side, bias=critic_norm == "none")]
            decoder += [
                Unflatten(channels[-1], side, side),
                norm_layer(critic_norm, channels[-1]),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        for narrow, wide in reversed(list(zip(channels, channels[1:], strict=False))):
            decoder += [doubling(wide, narrow, 4, bias=critic_norm == "none")]
            decoder += [norm_layer(critic_norm, narrow), nn.LeakyReLU(0.2, inplace=True)]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(
            *decoder, doubling(channels[0], image.channels, 4, bias=True, layer=ImageConvTranspose2d)
        )

    def forward(self, images: Tensor) -> Autoencoded:
        """Encode and decode."""
        code = self.encoder(images)
        return Autoencoded(self.decoder(code), code.flatten(1))
