"""Owns the objectives that several variants share."""

from collections.abc import Callable

from torch import Tensor, nn

from gan.contract import Objective, Scalars
from gan.objectives import losses
from gan.objectives.penalties import Penalised

Penalty = Callable[[nn.Module, Tensor, Tensor], Penalised]
Constraint = Callable[[nn.Module], None]


class NonSaturating(Objective):
    """Cross-entropy on logits, generator in its non-saturating form; a penalty on the critic, if any."""

    def __init__(self, *, penalty: Penalty | None = None) -> None:
        self.penalty = penalty

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Real and fake images pass through the critic separately, so that batch statistics don't mix."""
        real_logits, fake_logits = critic(real).float(), critic(fake).float()
        loss = losses.non_saturating_critic_loss(real_logits, fake_logits)
        loss, penalised = _penalise(loss, self.penalty, critic, real, fake)
        return loss, {
            "loss/critic": loss.detach(),
            "critic/real": real_logits.detach().mean(),
            "critic/fake": fake_logits.detach().mean(),
            **penalised,
        }

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Mean BCE against the label of real images."""
        loss = losses.non_saturating_generator_loss(critic(fake).float())
        return loss, {"loss/generator": loss.detach()}

    def held_out_scalars(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Scalars:
        """Mean logit of held-out images; far below `critic/real`, the critic has memorised its own."""
        return {"critic/held_out": critic(real).float().mean()}


class Wasserstein(Objective):
    """Difference of mean scores under a constraint on the critic's weights or a penalty on its gradient.

    constraint: applied to the critic after each of its updates.
    transform: function of the difference that the critic maximises; by default the difference itself.
    warmup: 100 critic steps before each of the first 25 generator steps and before every 500th, as in
    the WGAN authors' code; the paper has `steps` throughout.
    """

    WARMUP_CRITIC_STEPS = 100

    def __init__(
        self,
        steps: int,
        *,
        constraint: Constraint | None = None,
        penalty: Penalty | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
        warmup: bool = False,
    ) -> None:
        self.steps = steps
        self.constraint = constraint
        self.penalty = penalty
        self.transform = transform
        self.warmup = warmup

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """-W plus the penalty; W is logged with its natural sign, before the update."""
        real_scores, fake_scores = critic(real).float(), critic(fake).float()
        estimate = losses.wasserstein_estimate(real_scores, fake_scores)
        gain = estimate if self.transform is None else self.transform(estimate)
        loss, penalised = _penalise(-gain, self.penalty, critic, real, fake)
        return loss, {
            "loss/critic": loss.detach(),
            "critic/wasserstein": estimate.detach(),
            "critic/real": real_scores.detach().mean(),
            "critic/fake": fake_scores.detach().mean(),
            **penalised,
        }

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Negative mean score."""
        loss = -critic(fake).float().mean()
        return loss, {"loss/generator": loss.detach()}

    def critic_steps(self, step: int) -> int:
        """`steps`, or the authors' schedule."""
        if self.warmup and (step < 25 or step % 500 == 0):
            return self.WARMUP_CRITIC_STEPS
        return self.steps

    def after_critic_step(self, critic: nn.Module) -> None:
        """Apply the constraint, if there is one."""
        if self.constraint is not None:
            self.constraint(critic)

    def held_out_scalars(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Scalars:
        """W on held-out images; far below `critic/wasserstein`, the critic has memorised its own.

        Gulrajani et al., 2017, arXiv:1704.00028, figure 5b.
        """
        return {
            "critic/wasserstein_held_out": losses.wasserstein_estimate(
                critic(real).float(), critic(fake).float()
            )
        }


def _penalise(
    loss: Tensor, penalty: Penalty | None, critic: nn.Module, real: Tensor, fake: Tensor
) -> tuple[Tensor, Scalars]:
    """Add the penalty, if there is one, to the loss; return the sum and scalars to log."""
    if penalty is None:
        return loss, {}
    value, norms = penalty(critic, real, fake)
    return loss + value, {"critic/penalty": value.detach(), "critic/gradient_norm": norms.mean()}
