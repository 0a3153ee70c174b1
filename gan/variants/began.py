"""BEGAN. Berthelot et al., 2017, arXiv:1703.10717, section 3.

L(v) is the mean over pixels of |v - AE(v)|^eta, eta 1 or 2. The critic, an autoencoder, minimises
L(x) - k L(G(z_D)), the generator L(G(z_G)); after both, k moves by lambda_k (gamma L(x) - L(G(z_G))) and
is clipped to [0, 1] (section 3.3). M = L(x) + |gamma L(x) - L(G(z_G))| measures convergence (section
3.4.1), but not diversity.

Where paper and practice disagree: an ancestor (khanrc) draws one z for both and moves k with the energies
of the critic's step, before its update (`balance_from: critic_step`); the authors' code halves the rates
every 100,000 steps, the paper where M stalls (`stall`). The generator's output is linear and may leave [-1,
1]: images that seemed to turn white had been rescaled by their extremes. The share of pixels outside is
therefore logged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gan.contract import (
    Gan,
    ImageShape,
    Objective,
    Scalars,
    SchedulePoint,
    StrictModel,
    VariantParams,
    values_at,
)
from gan.networks import EquilibriumParams

if TYPE_CHECKING:
    from torch import Tensor, nn

MEMORY = 0.99  # of the running mean of M, which tells a stall


class Balance(SchedulePoint):
    """A point of the schedule that may change the balance too."""

    gamma: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    k_rate: NonNegativeFloat | None = None


class Stall(StrictModel):
    """Both rates are multiplied by `factor` when M hasn't fallen for `patience` steps."""

    factor: Annotated[float, Field(gt=0.0, lt=1.0)]
    patience: PositiveInt


class BEGANParams(VariantParams):
    """An autoencoder's losses on reals and fakes, held in balance by k."""

    paper: ClassVar[str] = "Berthelot et al., 2017, arXiv:1703.10717"
    loss: ClassVar[str] = "reconstruction losses, in a balance held by k"

    kind: Literal["began"]
    networks: EquilibriumParams
    exponent: Literal[1, 2] = 1
    gamma: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    k_rate: PositiveFloat = 0.001  # lambda_k
    balance_from: Literal["generator_step", "critic_step"] = "generator_step"
    stall: Stall | None = None
    schedule: Sequence[Balance] = []

    def build(self, image: ImageShape) -> Gan:
        """Build generator, autoencoder and objective."""
        pair = self.networks.build(image, self.z_dim, critic_norm="none")
        return Gan(*pair, BoundaryEquilibrium(self))


class Held:
    """A number that an update reads from its device, so that a recorded update sees it change."""

    def __init__(self, value: float) -> None:
        self.value = value
        self._tensor: Tensor | None = None

    def set(self, value: float) -> None:
        """Change it; on the device only if it is another one."""
        if self._tensor is not None and value != self.value:
            self._tensor.fill_(value)
        self.value = value

    def beside(self, other: Tensor) -> Tensor:
        """Give it as a 0-d float32 tensor, always the same one, on the device of another tensor."""
        import torch

        if self._tensor is None or self._tensor.device != other.device:
            self._tensor = torch.full((), self.value, device=other.device)
        return self._tensor

    def read(self) -> float:
        """Read it, with what updates have made of it; waits for the device."""
        return self.value if self._tensor is None else float(self._tensor)


class BoundaryEquilibrium(Objective):
    """Holds k, which stays on the device during training, and for `stall` the course of M."""

    def __init__(self, params: BEGANParams) -> None:
        self.params = params
        self.gamma, self.k_rate, self.k = Held(params.gamma), Held(params.k_rate), Held(0.0)
        self.plateau = Plateau()

    def begin_step(self, progress: float) -> None:
        """Set gamma and lambda_k."""
        initial = {"gamma": self.params.gamma, "k_rate": self.params.k_rate}
        values = values_at(initial, self.params.schedule, progress)
        self.gamma.set(values["gamma"])
        self.k_rate.set(values["k_rate"])

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """L(x) - k L(G(z))."""
        real_loss, fake_loss = self._loss(real, critic(real)), self._loss(fake, critic(fake))
        loss = real_loss - self.k.beside(real_loss) * fake_loss
        self._real, self._fake = real_loss.detach(), fake_loss.detach()
        return loss, {
            "loss/critic": loss.detach(),
            "critic/energy_real": self._real,
            "critic/energy_fake": self._fake,
        }

    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """L(G(z)), whose gradient flows through the image and through its reconstruction."""
        from gan.distributed import mean

        loss = self._loss(fake, critic(fake))
        if self.params.balance_from == "generator_step":
            self._fake = loss.detach()
        real_loss, fake_loss = mean(self._real), mean(self._fake)
        self._balance = self.gamma.beside(real_loss) * real_loss - fake_loss
        self._measure = real_loss + self._balance.abs()
        return loss, {
            "loss/generator": loss.detach(),
            "began/k": self.k.beside(loss).clone(),
            "began/balance": self._balance,
            "began/measure": self._measure,
            "generator/outside": (fake.detach().abs() > 1).float().mean(),
        }

    def after_generator_step(self) -> None:
        """Update k by the balance; follow M if the learning rates depend on it."""
        k = self.k.beside(self._balance)
        k.copy_((k + self.k_rate.beside(k) * self._balance).clamp(0, 1))
        if self.params.stall is not None:
            self.plateau.update(self._measure, self.params.stall)

    def held_out_scalars(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Scalars:
        """L of held-out images; far above `critic/energy_real`, the critic has memorised its own."""
        return {"critic/energy_held_out": self._loss(real, critic(real))}

    def rate_factor(self) -> float | Tensor:
        """Factor to which stalls of M have lowered the learning rates."""
        return 1.0 if self.params.stall is None else self.plateau.factor

    def state_dict(self) -> dict[str, float]:
        """Return k and the state of the plateau detector."""
        return {"k": self.k.read(), **self.plateau.state_dict()}

    def load_state_dict(self, saved: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""
        state = dict(saved)
        self.k = Held(state.pop("k"))
        self.plateau = Plateau(**state)

    def _loss(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        error = (images - reconstruction.float()).abs()
        return error.mean() if self.params.exponent == 1 else error.square().mean()


class Plateau:
    """Detects stalls of M, on its device, so that no update waits for a number.

    Holds the running mean of M, the lowest so far, the steps since then and the rates' factor, in float64.
    """

    NAMES = ("measure", "lowest", "waited", "factor")

    def __init__(
        self, measure: float = math.nan, lowest: float = math.inf, waited: float = 0, factor: float = 1.0
    ) -> None:
        self._before = (measure, lowest, waited, factor)
        self._values: Tensor | None = None

    @property
    def factor(self) -> float | Tensor:
        """Factor on the learning rates, 0-d once M has been measured."""
        return self._before[3] if self._values is None else self._values[3]

    def update(self, measure: Tensor, stall: Stall) -> None:
        """Add one step's M, 0-d; lower the factor when its mean hasn't fallen for `patience` steps."""
        import torch

        measure = measure.double()
        if self._values is None:
            self._values = torch.stack([torch.full_like(measure, value) for value in self._before])
        mean, lowest, waited, factor = self._values.unbind()
        before = torch.where(mean.isnan(), measure, mean)
        mean = MEMORY * before + (1 - MEMORY) * measure
        waited = torch.where(mean < lowest, 0, waited + 1)
        stalled = waited >= stall.patience
        factor = torch.where(stalled, factor * stall.factor, factor)
        waited = torch.where(stalled, 0, waited)
        self._values.copy_(torch.stack([mean, torch.minimum(mean, lowest), waited, factor]))

    def state_dict(self) -> dict[str, float]:
        """Read all four by name, as the constructor takes them; waits for the device."""
        values = self._before if self._values is None else self._values.tolist()
        return dict(zip(self.NAMES, values, strict=True))
