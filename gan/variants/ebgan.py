"""EBGAN, with and without the pulling-away term. Zhao et al., 2017, arXiv:1609.03126.

The critic is an autoencoder; an image's energy E is the distance to its reconstruction. The critic
minimises mean [E(x) + max(0, m - E(G(z)))], hinged per sample (equation 1), the generator mean E(G(z)) + w
* PT (equation 2, section 2.4), where PT is the mean squared cosine between the codes of different fakes.
The generator's gradient flows through both terms of x - Dec(Enc(x)).

What the margin m means depends on how energy is defined, so `energy` is a parameter beside it: at 28x28 the
norm of an untrained autoencoder's error is about 15, the mean of squares below 1.

Where paper and practice disagree: an ancestor (khanrc) hinges the mean energy of the batch (`hinge: batch`),
which differs whenever fakes lie on both sides of the margin; ports forget the square of the cosine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from gan.contract import Gan, ImageShape, Objective, Scalars, VariantParams
from gan.networks import EnergyParams

if TYPE_CHECKING:
    from torch import Tensor, nn


class EBGANParams(VariantParams):
    """Energies of an autoencoder, a margin, and the weight of the pulling-away term."""

    paper: ClassVar[str] = "Zhao et al., 2017, arXiv:1609.03126"
    loss: ClassVar[str] = "reconstruction energies with a margin; pulling-away term if weighted"

    kind: Literal["ebgan"]
    networks: EnergyParams
    critic_norm: Literal["none", "batch"] = "batch"
    energy: Literal["norm", "mean_square", "sum_square"] = "norm"
    margin: PositiveFloat
    hinge: Literal["sample", "batch"] = "sample"
    pull_away_weight: NonNegativeFloat = 0.0

    def build(self, image: ImageShape) -> Gan:
        """Build generator, autoencoder and objective."""
        pair = self.networks.build(image, self.z_dim, critic_norm=self.critic_norm)
        return Gan(*pair, EnergyBased(self))


class EnergyBased(Objective):
    """The critic lowers real energies and raises fake ones to the margin; the generator lowers those."""

    def __init__(self, params: EBGANParams) -> None:
        self.params = params

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Real and fake images pass through the critic separately, so that batch statistics don't mix."""
        real_energy = self._energy(real, critic(real).reconstruction)
        fake_energy = self._energy(fake, critic(fake).reconstruction)
        level = fake_energy.mean() if self.params.hinge == "batch" else fake_energy
        loss = real_energy.mean() + (self.params.margin - level).clamp_min(0).mean()
        return loss, {
            "loss/critic": loss.detach(),
            "critic/energy_real": real_energy.detach().mean(),
            "critic/energy_fake": fake_energy.detach().mean(),
            "critic/below_margin": (fake_energy.detach() < self.params.margin).float().mean(),
        }

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Mean energy plus the weighted pulling-away term, which is logged without its weight."""
        reconstruction, code = critic(fake)
        weight = self.params.pull_away_weight
        pulling = pulling_away(code.float() if weight > 0 else code.detach().float())
        loss = self._energy(fake, reconstruction).mean() + weight * pulling
        return loss, {"loss/generator": loss.detach(), "generator/pulling_away": pulling.detach()}

    def held_out_scalars(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Scalars:
        """Mean energy of held-out images; far above `critic/energy_real`, the critic memorises."""
        return {"critic/energy_held_out": self._energy(real, critic(real).reconstruction).mean()}

    def _energy(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """Energy of each image, (N,), over all of its numbers."""
        error = (images - reconstruction.float()).flatten(1)
        if self.params.energy == "norm":
            energy: Tensor = error.norm(dim=1)
        else:
            squares = error.square()
            energy = squares.mean(1) if self.params.energy == "mean_square" else squares.sum(1)
        return energy


def pulling_away(codes: Tensor) -> Tensor:
    """Mean squared cosine between distinct codes of a batch.

    codes: (N, D), N >= 2. Returns a scalar in [0, 1]; 0 when all codes are orthogonal, 1 when they are
    parallel. Zhao et al., 2017, section 2.4. Raises ValueError for N < 2, where no pair exists.
    """
    import torch

    n = len(codes)
    if n < 2:
        raise ValueError(f"the pulling-away term needs two codes or more, not {n}")
    directions = codes / codes.norm(dim=1, keepdim=True).clamp_min(1e-12)
    with torch.autocast(codes.device.type, enabled=False):  # in bfloat16 the term would be 0.4 % off
        squares = (directions @ directions.T).square()
    term: Tensor = (squares.sum() - squares.diagonal().sum()) / (n * (n - 1))
    return term
