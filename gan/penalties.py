"""Owns penalties on the critic's gradient: where it is taken, and what of it is penalised."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Penalised(NamedTuple):
    """A penalty as it enters the loss, and the gradient norms (N,) that it was made of, detached."""

    penalty: Tensor
    norms: Tensor


def gradient_norm(critic: nn.Module, points: Tensor) -> Tensor:
    """Norm of the critic's gradient at each point, over all of the point's numbers, differentiable.

    points: (N, C, H, W), any graph of theirs is cut. Returns (N,). The smallest norm is 1e-6, since
    the root's own gradient is infinite at 0.
    """
    points = points.detach().requires_grad_()
    scores = critic(points)
    (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
    return (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()


def interpolated_gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, *, weight: float
) -> Penalised:
    """Weight * mean (norm - 1)^2 at points between real and fake images, (N, C, H, W) each.

    One place on the line per sample, drawn from U[0, 1] out of torch's global generator. Computed in
    float32, outside of any autocast. Gulrajani et al., 2017, arXiv:1704.00028, Algorithm 1, lines 4 to 7.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, fake = real.float(), fake.float()
        place = torch.rand(len(real), 1, 1, 1, device=real.device)
        norms = gradient_norm(critic, place * real + (1 - place) * fake)
        return Penalised(weight * (norms - 1).square().mean(), norms.detach())
