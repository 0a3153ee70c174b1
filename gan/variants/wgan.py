"""WGAN with weight clipping. Arjovsky et al., 2017, arXiv:1701.07875, Algorithm 1.

The critic minimises -(mean D(x) - mean D(G(z))); after each of its updates all its parameters are clipped
to [-c, c], gains and biases of normalisation included (buffers are not). The generator minimises -mean
D(G(z)). The logged estimate is W = mean D(x) - mean D(G(z)), positive when real images score higher, from
before the update; its scale depends on the clip.

Where paper and practice disagree: the authors' code clips before the update (the paper, and we,
after it), and runs 100 critic steps before each of the first 25 generator steps and before every
500th (`warmup: author`); the paper has no such warm-up (`warmup: none`). One ancestor (khanrc) takes one
critic step at five times the rate in place of five steps, another (OhMyGAN) five steps on the same
images and noise (`critic_batches: repeated`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import CriticNorm, ScoreNetworks

if TYPE_CHECKING:
    from torch import nn


class WGANParams(VariantParams):
    """A linear critic score and clipped weights."""

    paper: ClassVar[str] = "Arjovsky et al., 2017, arXiv:1701.07875"
    loss: ClassVar[str] = "difference of mean scores; critic weights clipped"

    kind: Literal["wgan"]
    networks: ScoreNetworks
    critic_norm: CriticNorm = "batch"
    critic_steps: PositiveInt = 5
    warmup: Literal["none", "author"] = "none"
    clip: PositiveFloat = 0.01

    def build(self, image: ImageShape) -> Gan:
        """Build the pair and the objective with its clipping."""
        from gan.objectives.games import Wasserstein

        pair = self.networks.build(image, self.z_dim, critic_norm=self.critic_norm)
        constraint, warmup = partial(clip_parameters, bound=self.clip), self.warmup == "author"
        return Gan(*pair, Wasserstein(self.critic_steps, constraint=constraint, warmup=warmup))


def clip_parameters(critic: nn.Module, *, bound: float) -> None:
    """Clip the parameters, gains and biases of normalisation included, but no buffer."""
    for parameter in critic.parameters():
        parameter.data.clamp_(-bound, bound)
