"""Coulomb GAN. Unterthiner et al., 2018, arXiv:1708.08819, sections 2 and 3.

Real images attract fakes and fakes repel one another under Plummer's kernel
k(a, b) = (|a - b|^2 + eps^2)^(-(d - 2)/2), where distances are between whole images. The potential at a is
P(a) = mean_j k(a, x_j) - mean_i k(a, G(z_i)), over the batch. The critic learns P, held constant, by least
squares, mean (D(x) - P(x))^2 + mean (D(G(z)) - P(G(z)))^2; the generator minimises -mean D(G(z)), which
moves fakes to where the potential is high.

d = 3 makes the kernel 1/r; it isn't the dimension of the images. An image of the batch is itself among the
x_j: this self term is 1/N, which in raw pixels is nearly all of P, since images lie far apart. The game is
then close to least squares with labels +-1/N; `exclude_self` leaves the self term out. `target_scale`
multiplies P: the critic's minimum is the same up to that factor, but Adam takes more steps to a larger
target, with less noise.

Written from the paper. Its authors' code has the opposite sign in both P and the generator's loss, which is
the same game.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import PositiveFloat

from gan.contract import Gan, ImageShape, Objective, Scalars, VariantParams
from gan.networks import CriticNorm, ScoreNetworks

if TYPE_CHECKING:
    from torch import Tensor, nn


class CoulombParams(VariantParams):
    """A field of potentials that the critic learns, and the kernel that makes it."""

    paper: ClassVar[str] = "Unterthiner et al., 2018, arXiv:1708.08819"
    loss: ClassVar[str] = "least squares of scores against Plummer potentials"

    kind: Literal["coulomb"]
    networks: ScoreNetworks
    critic_norm: CriticNorm = "batch"
    dimension: PositiveFloat = 3.0
    epsilon: PositiveFloat = 1.0
    exclude_self: bool = False
    target_scale: PositiveFloat = 1.0

    def build(self, image: ImageShape) -> Gan:
        """Build the pair and the objective."""
        pair = self.networks.build(image, self.z_dim, critic_norm=self.critic_norm)
        return Gan(*pair, PotentialField(self))


class Potentials(NamedTuple):
    """Potentials at real and at fake images, (N,) each."""

    real: Tensor
    fake: Tensor


class PotentialField(Objective):
    """Least squares of scores against potentials, through which no gradient flows."""

    def __init__(self, params: CoulombParams) -> None:
        self.params = params

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Sum of the mean squared differences to the scaled potentials of this batch."""
        from gan.distributed import gather_rows, own_rows

        params = self.params
        # The field is that of the whole batch, over all processes; each process learns it at its own images.
        with_self, without = potentials(
            gather_rows(real), gather_rows(fake), params.dimension, params.epsilon
        )
        target = without if params.exclude_self else with_self
        on_real = (critic(real).float() - params.target_scale * own_rows(target.real)).square().mean()
        on_fake = (critic(fake).float() - params.target_scale * own_rows(target.fake)).square().mean()
        loss = on_real + on_fake
        return loss, {
            "loss/critic": loss.detach(),
            "coulomb/potential_real": with_self.real.mean(),
            "coulomb/potential_fake": with_self.fake.mean(),
            "coulomb/field_real": without.real.mean(),
            "coulomb/field_fake": without.fake.mean(),
        }

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Negative mean of the learnt potential."""
        loss = -critic(fake).float().mean()
        return loss, {"loss/generator": loss.detach()}

    def held_out_scalars(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Scalars:
        """Mean score of held-out images."""
        return {"critic/held_out": critic(real).float().mean()}


def potentials(real: Tensor, fake: Tensor, dimension: float, epsilon: float) -> tuple[Potentials, Potentials]:
    """Potentials of two batches (N, ...) of equal size: with the self term, and as means over the others.

    Distances are computed from differences in float32; a matrix product would lose the small ones.
    Raises ValueError for N < 2, where an image has no other.
    """
    n = len(real)
    if n < 2 or len(fake) != n:
        raise ValueError(f"potentials need two equal batches of two images or more, not {n} and {len(fake)}")
    real, fake = real.detach().float().flatten(1), fake.detach().float().flatten(1)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        import torch

        squares = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
        return (squares + epsilon**2) ** (-(dimension - 2) / 2)

    def others(kernels: Tensor) -> Tensor:
        return (kernels.sum(1) - kernels.diagonal()) / (n - 1)

    attraction, repulsion, mixed = kernel(real, real), kernel(fake, fake), kernel(real, fake)
    with_self = Potentials(attraction.mean(1) - mixed.mean(1), mixed.mean(0) - repulsion.mean(1))
    without = Potentials(others(attraction) - mixed.mean(1), mixed.mean(0) - others(repulsion))
    return with_self, without
