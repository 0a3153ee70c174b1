"""Owns BEGAN's networks: an autoencoder, and a generator of the decoder's shape with weights of its own.

Berthelot et al., 2017, arXiv:1703.10717, figure 1: 3x3 convolutions and ELU throughout, no norm, linear
output. The encoder halves by strided convolutions and widens by `width` at each; the decoder keeps its
width and enlarges by repeating pixels. Layer sizes are khanrc's.
"""

from torch import Tensor, nn

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks import EquilibriumParams
from gan.networks.layers import ELU, Flatten, Unflatten, halved_side, initialise
from gan.networks.winograd import WideConv2d


def build_pair(
    params: EquilibriumParams, image: ImageShape, z_dim: int, *, critic_norm: str
) -> tuple[nn.Module, nn.Module]:
    """Make generator and autoencoder, initialised. critic_norm: "none".

    Raises ConfigError for an image that can't be halved `stages` times, and for a norm.
    """
    if critic_norm != "none":
        raise ConfigError(f"BEGAN's networks have no {critic_norm} norm; set critic_norm to none")
    generator, critic = Decoder(params, image, z_dim), Autoencoder(params, image)
    for decoder in (generator, critic.decoder):
        initialise(decoder, params.initialisation)
        assert decoder.output.bias is not None
        nn.init.constant_(decoder.output.bias, params.output_bias)
    initialise(critic.encoder, params.initialisation)
    return generator, critic


class Decoder(nn.Module):
    """(N, inputs) -> (N, C, H, W), with a linear output that may leave [-1, 1]."""

    def __init__(self, params: EquilibriumParams, image: ImageShape, inputs: int) -> None:
        super().__init__()
        side, width = halved_side(image, params.stages), params.width
        layers: list[nn.Module] = [
            nn.Linear(inputs, width * side * side),
            Unflatten(width, side, side),
        ]
        for stage in range(params.stages + 1):
            layers += [nn.Upsample(scale_factor=2)] if stage > 0 else []
            layers += [WideConv2d(width, width, 3, padding=1), ELU(), WideConv2d(width, width, 3, padding=1)]
            layers.append(ELU())
        self.layers = nn.Sequential(*layers)
        self.output = nn.Conv2d(width, image.channels, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Noise or codes to images."""
        return self.output(self.layers(inputs))


class Autoencoder(nn.Module):
    """(N, C, H, W) in [-1, 1] -> its reconstruction."""

    def __init__(self, params: EquilibriumParams, image: ImageShape) -> None:
        super().__init__()
        side, width = halved_side(image, params.stages), params.width
        layers: list[nn.Module] = [nn.Conv2d(image.channels, width, 3, padding=1), ELU()]
        channels = width
        for stage in range(params.stages + 1):
            last = stage == params.stages
            for _ in range(params.last_convolutions if last else params.convolutions):
                layers += [WideConv2d(channels, channels, 3, padding=1), ELU()]
            if not last:
                layers += [nn.Conv2d(channels, channels + width, 3, stride=2, padding=1), ELU()]
                channels += width
        self.encoder = nn.Sequential(*layers, Flatten(), nn.Linear(channels * side * side, params.code))
        self.decoder = Decoder(params, image, params.code)

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decoder(self.encoder(images))
