"""Owns the parameters of a recipe's networks, without torch; each family of networks has its own file."""

from __future__ import annotations

from abc import abstractmethod
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from gan.contract import Fraction, ImageShape, StrictModel

if TYPE_CHECKING:
    from torch import nn

# N(0, 0.02), gains N(1, 0.02) (DCGAN's authors); U with standard deviation 0.02 (WGAN-GP's authors);
# Glorot uniform (TensorFlow slim); He-like uniform for convolutions, Glorot for shortcuts (igul222's ResNet).
Initialisation = Literal["normal", "uniform", "glorot", "he"]
CriticNorm = Literal["none", "batch", "layer"]
# Bounded, since a card may come from anywhere and a depth of a billion would take all memory.
Depth = Annotated[int, Field(ge=1, le=8)]


class NetworksParams(StrictModel):
    """A family of generator and critic. `kind` is the name of its file in this folder."""

    kind: str

    @property
    def summary(self) -> str:
        """The pair in a few words."""
        return self._summary()

    def build(self, image: ImageShape, z_dim: int, *, critic_norm: CriticNorm) -> tuple[nn.Module, nn.Module]:
        """Make generator and critic, initialised.

        Raises ConfigError for images or norms that the family doesn't support.
        """
        generator, critic = self._family().build_pair(self, image, z_dim, critic_norm=critic_norm)
        return generator, critic

    @abstractmethod
    def _summary(self) -> str: ...

    @abstractmethod
    def _family(self) -> ModuleType:
        """Import the family's file, which imports torch."""


class PerceptronParams(NetworksParams):
    """Hidden layers of one width, the same number in both networks."""

    kind: Literal["mlp"]
    hidden: PositiveInt
    depth: Depth = 1  # hidden layers
    critic_gain: PositiveFloat | None = None  # multiplies the critic's inputs; none: pixels in [0, 1]
    activation: Literal["relu", "leaky_relu"] = "relu"
    critic_dropout: Fraction = 0.0

    def _summary(self) -> str:
        return (
            f"MLP, {self.hidden} hidden" if self.depth == 1 else f"MLP, {self.depth} x {self.hidden} hidden"
        )

    def _family(self) -> ModuleType:
        from gan.networks import mlp

        return mlp


class GeneratorParams(StrictModel):
    """Shape of the convolutional generator; its width is that of the layer nearest to the image."""

    width: PositiveInt
    kernel: Literal[4, 5] = 4
    hidden: PositiveInt | None = None  # a dense layer before the projection
    stem: Literal["dense", "convolution"] = "dense"  # from noise to the smallest map
    stem_norm: Literal["none", "channel", "feature"] = "channel"  # batch normalisation of the stem
    norm: bool = True  # batch normalisation after the other layers
    biases: bool = False  # also where a norm follows
    output: Literal["tanh", "sigmoid"] = "tanh"  # sigmoid: stretched from [0, 1] to [-1, 1]


class CriticParams(StrictModel):
    """Shape of the convolutional critic; its width is that of the layer nearest to the image."""

    width: PositiveInt
    kernel: Literal[4, 5] = 4
    hidden: PositiveInt | None = None  # a dense layer before the score
    first_norm: bool = False  # a norm after the first layer too
    biases: bool = False  # also where a norm follows


class ConvolutionalParams(NetworksParams):
    """The strided convolutional pair of DCGAN."""

    kind: Literal["dcgan"]
    generator: GeneratorParams
    critic: CriticParams
    initialisation: Initialisation = "normal"

    def _summary(self) -> str:
        return f"DCGAN, widths {self.generator.width} / {self.critic.width}"

    def _family(self) -> ModuleType:
        from gan.networks import dcgan

        return dcgan


class ResidualParams(NetworksParams):
    """The residual pair of WGAN-GP's authors; widths are those of the layers nearest to the image."""

    kind: Literal["resnet"]
    generator_width: PositiveInt
    critic_width: PositiveInt
    initialisation: Initialisation = "he"

    def _summary(self) -> str:
        return f"ResNet, widths {self.generator_width} / {self.critic_width}"

    def _family(self) -> ModuleType:
        from gan.networks import resnet

        return resnet


class StackedParams(NetworksParams):
    """LSGAN's generator, with a layer that keeps the size after each of its first doublings."""

    kind: Literal["lsgan"]
    generator_width: PositiveInt
    critic: CriticParams
    initialisation: Initialisation = "normal"

    def _summary(self) -> str:
        return f"LSGAN, widths {self.generator_width} / {self.critic.width}"

    def _family(self) -> ModuleType:
        from gan.networks import lsgan

        return lsgan


class AutoencoderParams(StrictModel):
    """Shape of the strided autoencoder that is EBGAN's critic."""

    width: PositiveInt  # of the layer nearest to the image; it doubles with each halving of the side
    stages: Depth  # halvings
    code: PositiveInt | None = None  # size of a dense code; none: the last map is the code


class EnergyParams(NetworksParams):
    """DCGAN's generator against an autoencoder, which returns (reconstruction, code)."""

    kind: Literal["ebgan"]
    generator: GeneratorParams
    critic: AutoencoderParams
    initialisation: Initialisation = "normal"

    def _summary(self) -> str:
        code = self.critic.code or "spatial"
        return f"DCGAN {self.generator.width} / autoencoder {self.critic.width}, code {code}"

    def _family(self) -> ModuleType:
        from gan.networks import ebgan

        return ebgan


class EquilibriumParams(NetworksParams):
    """BEGAN's autoencoder, and a generator shaped like its decoder; the same width at every size."""

    kind: Literal["began"]
    width: PositiveInt
    code: PositiveInt
    stages: Depth  # halvings
    convolutions: Depth = 2  # that keep the size, at each of the encoder's sizes
    last_convolutions: Depth = 3  # the same at the smallest size
    output_bias: float = 0.0  # initial value of every pixel: the images' mean, or 0 as in the paper
    initialisation: Initialisation = "glorot"

    def _summary(self) -> str:
        return f"decoder / autoencoder, width {self.width}, code {self.code}"

    def _family(self) -> ModuleType:
        from gan.networks import began

        return began


# The families whose critic gives a score, (N, C, H, W) -> (N,).
ScoreNetworks = Annotated[
    ConvolutionalParams | PerceptronParams | ResidualParams | StackedParams, Field(discriminator="kind")
]
