"""Owns what an objective is, and those that several variants share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan import losses
from gan.penalties import Penalised

Scalars = dict[str, Tensor]  # detached, 0-d; reading one is a synchronisation, and the logger's business
Penalty = Callable[[nn.Module, Tensor, Tensor], Penalised]


class Objective(nn.Module):
    """The adversarial game of one variant: two losses, a schedule, a constraint, and any state.

    It is a module so that state is a registered buffer, and `state_dict`, `to` and resume come for
    free. It alone calls the critic. It is handed no optimiser, no device and no logger. Images are
    (N, C, H, W) in [-1, 1]; fakes reach `critic_loss` without a graph.
    """

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Loss that the critic descends, and what is worth logging of it."""
        raise NotImplementedError

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Loss that the generator descends, through a critic that stands still."""
        raise NotImplementedError

    def critic_steps(self, step: int) -> int:
        """Critic updates before the generator's update number `step`, counted from 0."""
        return 1

    def begin_step(self, progress: float) -> None:
        """Set what depends on the fraction of the run that is done, in [0, 1)."""

    def after_critic_step(self, critic: nn.Module) -> None:
        """Impose a constraint on the critic after its update."""

    def after_generator_step(self) -> None:
        """Update state that depends on both updates of a step."""


class NonSaturating(Objective):
    """Cross-entropy on logits, generator in its non-saturating form."""

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Real and fake go through the critic apart, so that batch statistics don't mix."""
        real_logits, fake_logits = critic(real).float(), critic(fake).float()
        loss = losses.non_saturating_critic_loss(real_logits, fake_logits)
        return loss, {
            "loss/critic": loss.detach(),
            "critic/real": real_logits.detach().mean(),
            "critic/fake": fake_logits.detach().mean(),
        }

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Mean BCE against the label of real images."""
        loss = losses.non_saturating_generator_loss(critic(fake).float())
        return loss, {"loss/generator": loss.detach()}


class Wasserstein(Objective):
    """Difference of mean scores under a clip of the critic's weights or a penalty on its gradient.

    clip: after each critic update all of the critic's parameters are clipped to [-clip, clip].
    warmup: 100 critic steps before each of the first 25 generator steps and before every 500th, as in
    the WGAN authors' code; the paper has `steps` throughout.
    """

    WARMUP_CRITIC_STEPS = 100

    def __init__(
        self,
        steps: int,
        *,
        clip: float | None = None,
        penalty: Penalty | None = None,
        warmup: bool = False,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.clip = clip
        self.penalty = penalty
        self.warmup = warmup

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """-W plus the penalty; W is logged with its natural sign, before the update."""
        real_scores, fake_scores = critic(real).float(), critic(fake).float()
        estimate = losses.wasserstein_estimate(real_scores, fake_scores)
        loss = -estimate
        scalars = {
            "critic/wasserstein": estimate.detach(),
            "critic/real": real_scores.detach().mean(),
            "critic/fake": fake_scores.detach().mean(),
        }
        if self.penalty is not None:
            penalty, norms = self.penalty(critic, real, fake)
            loss = loss + penalty
            scalars["critic/penalty"] = penalty.detach()
            scalars["critic/gradient_norm"] = norms.mean()
        return loss, {"loss/critic": loss.detach(), **scalars}

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
        """Clip the parameters, gains and biases of normalisation included, but no buffer."""
        if self.clip is not None:
            with torch.no_grad():
                for parameter in critic.parameters():
                    parameter.clamp_(-self.clip, self.clip)
