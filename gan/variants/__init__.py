"""The roster: every kind of variant, one line each. `kind` in a recipe picks the member."""

from typing import Annotated

from pydantic import Field

from gan.variants.dcgan import DCGANParams
from gan.variants.gan import GANParams
from gan.variants.wgan import WGANParams
from gan.variants.wgan_gp import WGANGPParams

Variant = Annotated[
    DCGANParams | GANParams | WGANParams | WGANGPParams,
    Field(discriminator="kind"),
]
