"""LSGAN. Mao et al., 2017, arXiv:1611.04076, equation 2.

The critic minimises 1/2 mean (D(x) - b)^2 + 1/2 mean (D(G(z)) - a)^2 on raw scores, the generator
1/2 mean (D(G(z)) - c)^2. With a = 0 and b = c = 1 (equation 9) fakes are pulled to the label of real
images; with a = -1, b = 1, c = 0 (equation 8) the generator descends the Pearson chi-square divergence.

Where paper and practice disagree: the authors' code sums over the batch where the paper takes the mean,
which Adam nearly undoes; compare_gan squares sigmoids of scores, which is another loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from gan.contract import Gan, ImageShape, Objective, Scalars, StrictModel, VariantParams
from gan.networks import CriticNorm, ScoreNetworks

if TYPE_CHECKING:
    from torch import Tensor, nn


class Targets(StrictModel):
    """Targets of scores: the critic's for fakes (a) and reals (b), and the generator's (c)."""

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0


class LSGANParams(VariantParams):
    """Least squares on raw scores."""

    paper: ClassVar[str] = "Mao et al., 2017, arXiv:1611.04076"
    loss: ClassVar[str] = "least squares of scores against targets a, b, c"

    kind: Literal["lsgan"]
    networks: ScoreNetworks
    critic_norm: CriticNorm = "batch"
    targets: Targets = Targets()

    def build(self, image: ImageShape) -> Gan:
        """Build the pair and the objective."""
        pair = self.networks.build(image, self.z_dim, critic_norm=self.critic_norm)
        return Gan(*pair, LeastSquares(self.targets))


class LeastSquares(Objective):
    """Half the mean squared distance of scores to their targets, in both losses."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Real and fake images pass through the critic separately, so that batch statistics don't mix."""
        real_scores, fake_scores = critic(real).float(), critic(fake).float()
        on_real = 0.5 * (real_scores - self.targets.b).square().mean()
        on_fake = 0.5 * (fake_scores - self.targets.a).square().mean()
        loss = on_real + on_fake
        return loss, {
            "loss/critic": loss.detach(),
            "loss/critic_real": on_real.detach(),
            "loss/critic_fake": on_fake.detach(),
            "critic/real": real_scores.detach().mean(),
            "critic/fake": fake_scores.detach().mean(),
        }

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Half the mean squared distance to c."""
        loss = 0.5 * (critic(fake).float() - self.targets.c).square().mean()
        return loss, {"loss/generator": loss.detach()}

    def held_out_scalars(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Scalars:
        """Mean score of held-out images; far below `critic/real`, the critic has memorised its own."""
        return {"critic/held_out": critic(real).float().mean()}
