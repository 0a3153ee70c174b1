"""WGAN with gradient penalty. Gulrajani et al., 2017, arXiv:1704.00028, Algorithm 1.

The critic minimises mean D(G(z)) - mean D(x) + lambda * mean (|grad D(x_hat)| - 1)^2, where x_hat
lies on the line between a real and a fake image, at a position drawn from U[0, 1] for each sample.
Batch normalisation couples the samples of a batch and the penalty is per sample (section 4), so the critic
is normalised per layer, or not at all; `critic_norm` allows nothing else.

Where paper and practice disagree: an ancestor (khanrc) takes one critic step at five times the rate in
place of five steps, and a critic without any norm.
"""

from functools import partial
from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import ScoreNetworks


class WGANGPParams(VariantParams):
    """A linear critic score and a penalty on the norm of its gradient."""

    paper: ClassVar[str] = "Gulrajani et al., 2017, arXiv:1704.00028"
    loss: ClassVar[str] = "difference of mean scores + gradient penalty between real and fake"

    kind: Literal["wgan_gp"]
    networks: ScoreNetworks
    critic_norm: Literal["none", "layer"] = "layer"
    critic_steps: PositiveInt = 5
    penalty_weight: PositiveFloat = 10.0

    def build(self, image: ImageShape) -> Gan:
        """Build the pair and the penalised objective."""
        from gan.objectives.games import Wasserstein
        from gan.objectives.penalties import interpolated_gradient_penalty

        pair = self.networks.build(image, self.z_dim, critic_norm=self.critic_norm)
        penalty = partial(interpolated_gradient_penalty, weight=self.penalty_weight)
        return Gan(*pair, Wasserstein(self.critic_steps, penalty=penalty))
