"""Owns penalties on the critic's gradient: at which points it is taken, and which norm is penalised."""

from contextlib import nullcontext
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from gan.distributed import draw_rows, mean

Perturbation = Literal["two_sided", "per_image", "notebook", "gaussian"]


class Penalised(NamedTuple):
    """A penalty as it is added to the loss, and the gradient norms (N,) behind it, detached."""

    penalty: Tensor
    norms: Tensor


def gradient(critic: nn.Module, points: Tensor) -> Tensor:
    """Gradient of the critic's scores at each point, (N, C, H, W), differentiable.

    points: (N, C, H, W), detached here. Under autocast a GPU leaves it, and has TF32; a CPU has none, and
    stays: the penalty's gradient to the weights is off by 1 to 2 %, that of the scores by 3 to 4 %.
    """
    points = points.detach().float().requires_grad_()
    with nullcontext() if points.is_cpu else torch.autocast(points.device.type, enabled=False):
        (gradients,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return gradients.float()


def norm_of(gradients: Tensor) -> Tensor:
    """Norm of each sample's gradient over all of its numbers: (N, ...) -> (N,).

    The smallest norm is 1e-6, since the root's own gradient is infinite at 0.
    """
    return (gradients.flatten(1).square().sum(1) + 1e-12).sqrt()


def gradient_norm(critic: nn.Module, points: Tensor) -> Tensor:
    """Norm of the critic's gradient at each point, (N, C, H, W) -> (N,), differentiable."""
    return norm_of(gradient(critic, points))


def column_norms(gradients: Tensor) -> Tensor:
    """Norm over the height alone, one for each sample, channel and column: (N, C, H, W) -> (N, C, W).

    An ancestor's mistake (khanrc's DRAGAN): with each of them pulled to 1, an image's whole gradient is
    pulled to sqrt(C * W), 13.9 at 64x64x3. For profile `seed` only.
    """
    return (gradients.square().sum(2) + 1e-12).sqrt()


def interpolate(real: Tensor, fake: Tensor) -> Tensor:
    """Points between real and fake images, (N, C, H, W) each, with one epsilon from U[0, 1] per sample."""
    epsilon = draw_rows(lambda n: torch.rand(n, 1, 1, 1, device=real.device), len(real))
    return epsilon * real + (1 - epsilon) * fake


def interpolated_gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, *, weight: float
) -> Penalised:
    """Weight * mean (norm - 1)^2 at points between real and fake images, (N, C, H, W) each.

    Gulrajani et al., 2017, arXiv:1704.00028, Algorithm 1, lines 4 to 7.
    """
    norms = gradient_norm(critic, interpolate(real, fake))
    return Penalised(weight * (norms - 1).square().mean(), norms.detach())


def perturbed_gradient_penalty(
    critic: nn.Module,
    real: Tensor,
    fake: Tensor,
    *,
    weight: float,
    perturbation: Perturbation,
    scale: float,
    columns: bool,
) -> Penalised:
    """Weight * mean (norm - 1)^2 at points near real images, (N, C, H, W); fakes have no part in it.

    columns: penalise `column_norms` in place of the norm of each sample's gradient.
    Kodali et al., 2017, arXiv:1705.07215, section 2.3 and Algorithm 1.
    """
    gradients = gradient(critic, perturb(real, perturbation, scale))
    penalised = column_norms(gradients) if columns else norm_of(gradients)
    return Penalised(weight * (penalised - 1).square().mean(), norm_of(gradients).detach())


def perturb(real: Tensor, perturbation: Perturbation, scale: float) -> Tensor:
    """Points near real images, (N, C, H, W), drawn with torch's global generator.

    std is one number: the standard deviation of all pixels of the batch, over all processes.

    two_sided: x + scale * std * U[-1, 1], per pixel. What the paper's figure means.
    per_image: x + a * scale * std * U[0, 1], a from U[-1, 1] for each image, clipped to [-1, 1]: all
    pixels of an image move the same way (khanrc).
    notebook: x + a * scale * std * U[0, 1], a from U[0, 1] for each image: upwards only. The authors'
    first notebook, which they have called obsolete.
    gaussian: x + N(0, scale^2), per pixel, the paper's text; scale is in pixel units, not in std.
    """

    def uniform(*shape: int) -> Tensor:
        return draw_rows(lambda n: torch.rand(n, *shape, device=real.device), len(real))

    pixels = real.shape[1:]
    if perturbation == "gaussian":
        return real + scale * draw_rows(lambda n: torch.randn(n, *pixels, device=real.device), len(real))
    step = scale * (mean(real.square().mean()) - mean(real.mean()).square()).clamp_min(0).sqrt()
    if perturbation == "two_sided":
        return real + step * (2 * uniform(*pixels) - 1)
    if perturbation == "notebook":
        return real + uniform(1, 1, 1) * step * uniform(*pixels)
    return (real + (2 * uniform(1, 1, 1) - 1) * step * uniform(*pixels)).clamp(-1, 1)
