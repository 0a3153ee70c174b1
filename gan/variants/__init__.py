"""The roster: every kind of variant, one line each. `kind` in a recipe picks the member."""

from typing import Annotated

from pydantic import Field

from gan.variants.began import BEGANParams
from gan.variants.coulomb import CoulombParams
from gan.variants.dcgan import DCGANParams
from gan.variants.dragan import DRAGANParams
from gan.variants.ebgan import EBGANParams
from gan.variants.gan import GANParams
from gan.variants.lsgan import LSGANParams
from gan.variants.wgan import WGANParams
from gan.variants.wgan_gp import WGANGPParams
from gan.variants.wgan_penalty import WGANPenaltyParams

Variant = Annotated[
    BEGANParams
    | CoulombParams
    | DCGANParams
    | DRAGANParams
    | EBGANParams
    | GANParams
    | LSGANParams
    | WGANParams
    | WGANGPParams
    | WGANPenaltyParams,
    Field(discriminator="kind"),
]
