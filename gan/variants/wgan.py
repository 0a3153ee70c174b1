"""WGAN with weight clipping. Arjovsky et al., 2017, arXiv:1701.07875, Algorithm 1.

The critic minimises -(mean D(x) - mean D(G(z))); after each of its updates every parameter of it is
clipped to [-c, c], the gains and biases of its normalisation included (buffers are not). The
generator minimises -mean D(G(z)). The logged estimate is W = mean D(x) - mean D(G(z)), real high,
taken before the update; its unit is set by the clip.

Where paper and practice disagree: the authors' code clips before the update (the paper, and we,
after it), and runs 100 critic steps before each of the first 25 generator steps and before every
500th (`warmup: author`); the paper has no such warm-up (`warmup: none`).
"""

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import ConvolutionalParams


class WGANParams(VariantParams):
    """The convolutional pair, a linear critic score and clipped weights."""

    paper: ClassVar[str] = "Arjovsky et al., 2017, arXiv:1701.07875"
    loss: ClassVar[str] = "difference of mean scores; critic weights clipped"

    kind: Literal["wgan"]
    networks: ConvolutionalParams
    critic_norm: Literal["none", "batch", "layer"]
    critic_steps: PositiveInt
    warmup: Literal["none", "author"]
    clip: PositiveFloat

    def build(self, image: ImageShape) -> Gan:
        """Build the convolutional pair and the clipped objective."""
        from gan.networks.dcgan import build_pair
        from gan.objectives import Wasserstein

        pair = build_pair(self.networks, image, self.z_dim, critic_norm=self.critic_norm)
        return Gan(*pair, Wasserstein(self.critic_steps, clip=self.clip, warmup=self.warmup == "author"))
