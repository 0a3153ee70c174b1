"""Owns loss mathematics that several objectives share: plain functions of scores of shape (N,)."""

from torch import Tensor
from torch.nn import functional


def non_saturating_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean BCE(real, 1) + mean BCE(fake, 0) of logits (N,), summed and not halved.

    Goodfellow et al., 2014, arXiv:1406.2661, Algorithm 1, with
    -log(sigmoid(x)) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(x).
    """
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """Mean BCE(fake, 1) of logits (N,). Goodfellow et al., 2014, section 3, last paragraph."""
    return functional.softplus(-fake).mean()


def wasserstein_estimate(real: Tensor, fake: Tensor) -> Tensor:
    """Mean real score - mean fake score: what the critic maximises, W up to the critic's Lipschitz constant.

    Arjovsky et al., 2017, arXiv:1701.07875, equation 2. The critic's loss is its negative.
    """
    return real.mean() - fake.mean()
