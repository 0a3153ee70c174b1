"""Three experiments on the WGAN critic's penalty, after SunnerLi/WGAN-tensorlayer (2017); no paper.

All are WGAN-GP with another `constraint`, and keep its schedule: the ancestor's trainer gave its baseline
five critic steps to a generator step and the experiments one to two, so that its verdicts compare
schedules. Each was coded otherwise than described; both are here.

unit_norm ("L2-normalised weights", as described): no penalty; after each critic step every weight tensor is
scaled to L2 norm 1.
weight_decay (as coded): 0.5e-8 times the sum of the critic's squared weights is added to its loss, which
constrains nothing.

saturating ("Gaussian transform", repaired): weight * mean t(|grad D(x_hat)| - 1) with
t(u) = 1 - exp(-(u/e)^2): near norm 1 it is (norm - 1)^2 / e^2, far away it lets go.
saturating_estimate (as the text argues): t of the difference of mean scores, so that the critic gains
nothing from driving them further apart than a few e.
saturating_gradient (as coded): weight * (mean over all gradient components of t - 1)^2. The mean of t is 1
only where every component is infinite: the optimum rewards exploding gradients, and near 0 the penalty is a
constant 10. It does not bound the Lipschitz constant.

endpoints ("merged batch", repaired): weight * mean (norm - 1)^2 over real images and fakes together, the
points that the loss evaluates anyway, in place of third ones between them. merged_gradient (as coded):
saturating_gradient's penalty of e grad D(G(z)) + (1 - e) grad D(x), with one e from N(0, 1) for the batch:
a mixture of gradients at unrelated points, which is the gradient at no point.
"""

from __future__ import annotations

from functools import partial
from math import e
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from gan.contract import Gan, ImageShape, VariantParams
from gan.networks import CriticNorm, ScoreNetworks

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gan.objectives.penalties import Penalised

WEIGHT_DECAY = 0.5e-8
LOSSES = {
    "unit_norm": "every weight tensor scaled to norm 1 after each critic step",
    "weight_decay": "0.5e-8 times the critic's squared weights",
    "saturating": "1 - exp(-((|grad| - 1)/e)^2) between real and fake images",
    "saturating_estimate": "1 - exp(-(./e)^2) of the difference",
    "saturating_gradient": "its mean over gradient components pulled to 1",
    "endpoints": "gradient norms of 1 at real and at fake images",
    "merged_gradient": "a mixture of the gradients at both, its saturated mean pulled to 1",
}


class WGANPenaltyParams(VariantParams):
    """WGAN-GP's game under another constraint on the critic."""

    paper: ClassVar[str] = "SunnerLi/WGAN-tensorlayer, 2017; after arXiv:1704.00028"

    kind: Literal["wgan_penalty"]
    networks: ScoreNetworks
    critic_norm: CriticNorm = "layer"
    critic_steps: PositiveInt = 5
    constraint: Literal[
        "unit_norm",
        "weight_decay",
        "saturating",
        "saturating_estimate",
        "saturating_gradient",
        "endpoints",
        "merged_gradient",
    ]
    penalty_weight: PositiveFloat = 10.0

    @property
    def loss(self) -> str:  # type: ignore[override]  # differs by constraint
        """The loss in one line."""
        return f"difference of mean scores; {LOSSES[self.constraint]}"

    def build(self, image: ImageShape) -> Gan:
        """Build the pair and the Wasserstein objective under the constraint."""
        from gan.objectives.games import Wasserstein

        pair = self.networks.build(image, self.z_dim, critic_norm=self.critic_norm)
        if self.constraint == "unit_norm":
            return Gan(*pair, Wasserstein(self.critic_steps, constraint=scale_to_unit_norm))
        if self.constraint == "saturating_estimate":
            return Gan(*pair, Wasserstein(self.critic_steps, transform=saturate))
        penalty = partial(PENALTIES[self.constraint], weight=self.penalty_weight)
        return Gan(*pair, Wasserstein(self.critic_steps, penalty=penalty))


def scale_to_unit_norm(critic: nn.Module) -> None:
    """Scale each weight tensor to L2 norm 1; biases and gains, which have one axis, are not changed."""
    for parameter in critic.parameters():
        if parameter.dim() > 1:
            parameter.data.div_(parameter.data.norm().clamp_min(1e-12))


def saturate(values: Tensor) -> Tensor:
    """t(u) = 1 - exp(-(u/e)^2), e being Euler's number: even, 0 at 0, 1 far away."""
    return -(-(values / e).square()).expm1()


def weight_decay_penalty(critic: nn.Module, real: Tensor, fake: Tensor, *, weight: float) -> Penalised:
    """0.5e-8 * sum of squares of all critic parameters, as coded; `weight` is not used."""
    import torch

    from gan.objectives.penalties import Penalised, gradient_norm

    decay = torch.stack([parameter.square().sum() for parameter in critic.parameters()]).sum()
    return Penalised(WEIGHT_DECAY * decay, gradient_norm(critic, real).detach())


def saturating_penalty(critic: nn.Module, real: Tensor, fake: Tensor, *, weight: float) -> Penalised:
    """Weight * mean t(norm - 1) at WGAN-GP's points, with one epsilon per sample."""
    from gan.objectives.penalties import Penalised, gradient_norm, interpolate

    norms = gradient_norm(critic, interpolate(real, fake))
    return Penalised(weight * saturate(norms - 1).mean(), norms.detach())


def saturating_gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, *, weight: float) -> Penalised:
    """Weight * (mean t - 1)^2 over gradient components, as coded: one epsilon per batch, from N(0, 1)."""
    from gan.objectives.penalties import gradient

    epsilon = _draw_epsilon(real)
    return _pull_to_one(gradient(critic, epsilon * fake + (1 - epsilon) * real), weight)


def endpoints_penalty(critic: nn.Module, real: Tensor, fake: Tensor, *, weight: float) -> Penalised:
    """Weight * mean (norm - 1)^2 over real images and fakes together."""
    import torch

    from gan.objectives.penalties import Penalised, gradient_norm

    norms = torch.cat([gradient_norm(critic, images) for images in (real, fake)])
    return Penalised(weight * (norms - 1).square().mean(), norms.detach())


def merged_gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, *, weight: float) -> Penalised:
    """Weight * (mean t - 1)^2 over components of a mixture of the gradients at both, as coded."""
    from gan.objectives.penalties import gradient

    epsilon = _draw_epsilon(real)
    merged = epsilon * gradient(critic, fake) + (1 - epsilon) * gradient(critic, real)
    return _pull_to_one(merged, weight)


def _draw_epsilon(like: Tensor) -> Tensor:
    """Draw one number from N(0, 1) for the whole batch, the same on every process."""
    return like.new_empty(()).normal_()


def _pull_to_one(gradients: Tensor, weight: float) -> Penalised:
    from gan.objectives.penalties import Penalised, norm_of

    # The ancestor adds its 1e-8 to the components, where it doesn't guard the root's infinite slope.
    return Penalised(weight * (saturate(gradients + 1e-8).mean() - 1).square(), norm_of(gradients).detach())


PENALTIES = {
    "weight_decay": weight_decay_penalty,
    "saturating": saturating_penalty,
    "saturating_gradient": saturating_gradient_penalty,
    "endpoints": endpoints_penalty,
    "merged_gradient": merged_gradient_penalty,
}
