"""The networks, one family a file, and the torch-free parameters by which a recipe shapes them."""

from typing import Literal

from pydantic import PositiveInt

from gan.contract import StrictModel


class ConvolutionalParams(StrictModel):
    """Shape of the convolutional pair; widths are those of the layers nearest to the image."""

    kind: Literal["dcgan"]
    generator_width: PositiveInt
    critic_width: PositiveInt
    kernel: Literal[4, 5]
    stem_norm: bool  # batch normalisation after the projection of the noise (paper: yes)
    initialisation: Literal["normal", "glorot"]  # N(0, 0.02) as the paper, or Glorot uniform
