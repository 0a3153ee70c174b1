"""Owns the types that variants, training and configuration share. Doesn't import torch.

Conventions: images are (N, C, H, W) float32 in [-1, 1], uint8 only on disk and as input of a feature
extractor; noise is (N, z_dim) float32; a critic's scores are (N,). Every discriminator is called "critic",
and a "step" is one update of the generator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from torch import Tensor, nn

# Detached and 0-d. Reading one waits for the device, so only the logger does it.
Scalars: TypeAlias = "dict[str, Tensor]"


class StrictModel(BaseModel):
    """Frozen, no unknown keys, no coercion: what params.yaml says is what runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ImageShape(NamedTuple):
    """Shape of one image, without the batch axis."""

    channels: int
    height: int
    width: int


class Objective(ABC):
    """The adversarial game of one variant: two losses, a schedule, a constraint, and any state.

    Only an objective calls the critic, and it never sees an optimiser, a device or a logger. Images are (N,
    C, H, W) in [-1, 1]; fakes are detached before `critic_loss`. It is a plain class, so that an objective
    can be defined in its variant's file, which is imported without torch.

    Losses and what follows an update read no value of a tensor, which would wait for the device, and keep
    what changes between updates in tensors, so that a GPU can replay an update (gan.graphs).
    """

    @abstractmethod
    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Loss that the critic minimises, and scalars to log."""

    @abstractmethod
    def generator_loss(self, critic: nn.Module, fake: Tensor) -> tuple[Tensor, Scalars]:
        """Loss that the generator minimises while the critic is frozen, and scalars to log."""

    def critic_steps(self, step: int) -> int:
        """Number of critic updates before generator update `step`, which counts from 0."""
        return 1

    def begin_step(self, progress: float) -> None:
        """Set values that depend on `progress`, the fraction of the run that is done, in [0, 1)."""
        return None

    def after_critic_step(self, critic: nn.Module) -> None:
        """Impose a constraint on the critic after its update."""
        return None

    def after_generator_step(self) -> None:
        """Update state that depends on both updates of a step."""
        return None

    def rate_factor(self) -> float | Tensor:
        """Factor on both learning rates, for objectives that adapt them to a measurement.

        A 0-d tensor where reading it would wait for the device.
        """
        return 1.0

    def held_out_scalars(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Scalars:
        """Scalars of held-out images, computed without gradients; none by default."""
        return {}

    def state_dict(self) -> dict[str, float]:
        """State that a resumed run needs."""
        return {}

    def load_state_dict(self, saved: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""
        return None


class Gan(NamedTuple):
    """The two networks and the objective of one variant."""

    generator: nn.Module
    critic: nn.Module
    objective: Objective


Noise = Literal["normal", "uniform", "unit"]  # N(0, 1), U[-1, 1] or U[0, 1], per component
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Betas = Annotated[tuple[Fraction, Fraction], Field(strict=False)]


class AdamParams(StrictModel):
    """Adam. Kingma & Ba, 2015, arXiv:1412.6980. weight_decay: L2 on kernels only; absent: none."""

    kind: Literal["adam"]
    lr: PositiveFloat
    betas: Betas
    weight_decay: PositiveFloat | None = None


class RMSpropParams(StrictModel):
    """RMSprop as torch computes it: the second moment starts at 0, eps stands outside the root."""

    kind: Literal["rmsprop"]
    lr: PositiveFloat
    alpha: Fraction


class RMSpropTFParams(StrictModel):
    """RMSprop as TensorFlow 1 computes it: the second moment starts at 1, eps stands inside the root."""

    kind: Literal["rmsprop_tf"]
    lr: PositiveFloat
    alpha: Fraction


OptimizerParams = Annotated[AdamParams | RMSpropParams | RMSpropTFParams, Field(discriminator="kind")]


class SchedulePoint(StrictModel):
    """Values that hold from this fraction of the run on; an absent one doesn't change."""

    begin: Annotated[float, Field(gt=0.0, lt=1.0, alias="from")]
    generator_lr: NonNegativeFloat | None = None
    critic_lr: NonNegativeFloat | None = None


def values_at(
    initial: Mapping[str, float], points: Sequence[SchedulePoint], progress: float
) -> dict[str, float]:
    """Values that hold at this fraction of the run: a function of it alone, with no state to save."""
    values = dict(initial)
    for point in sorted(points, key=lambda point: point.begin):
        if point.begin <= progress:
            given = {name: getattr(point, name) for name in values}
            values |= {name: value for name, value in given.items() if value is not None}
    return values


class LinearDecay(StrictModel):
    """Both rates fall linearly to 0 at the end of the run."""

    kind: Literal["linear"]


class ExponentialDecay(StrictModel):
    """Both rates are multiplied by `factor` after each `every` steps, and stay above `floor`."""

    kind: Literal["exponential"]
    factor: Annotated[float, Field(gt=0.0, lt=1.0)]
    every: PositiveInt
    floor: NonNegativeFloat


RateDecay = Annotated[LinearDecay | ExponentialDecay, Field(discriminator="kind")]


class VariantParams(StrictModel):
    """Parameters of every variant; each variant adds its own.

    Defaults are what papers do unless they say otherwise. Training depends on the resolved method, so that a
    changed default retrains the entries that don't set the value.
    """

    paper: ClassVar[str]
    loss: ClassVar[str]

    kind: str
    z_dim: PositiveInt = 100
    noise: Noise = "normal"
    batch_size: Annotated[int, Field(ge=2)]
    generator_optimizer: OptimizerParams
    critic_optimizer: OptimizerParams
    # fresh: the generator's update draws its own noise, as in the papers. reuse: it takes the fakes of the
    # last critic step, which saves a forward pass. joint: it takes those fakes and the critic from before
    # that step, so that both networks update at once.
    generator_noise: Literal["fresh", "reuse", "joint"] = "fresh"
    # repeated: all critic steps before a generator step share one batch and one sample of noise.
    critic_batches: Literal["fresh", "repeated"] = "fresh"
    schedule: Sequence[SchedulePoint] = []
    rate_decay: RateDecay | None = None
    # record: a run that diverges ends successfully, with its last finite weights.
    on_divergence: Literal["stop", "record"] = "stop"

    @abstractmethod
    def build(self, image: ImageShape) -> Gan:
        """Make untrained networks and the objective for images of this shape.

        Raises ConfigError when the networks can't make images of this shape.
        """


# Where a recipe's settings come from: a label, which doesn't affect the weights.
Profile = Literal["paper", "tuned", "seed", "claim"]


# fp32: products of full float32. tf32: on a GPU, products of float32 rounded to 10 bits of mantissa, summed
# in float32; on a CPU the same as fp32. bf16: networks in bfloat16 by autocast; the critic's penalty too on a
# CPU, and on a GPU in float32 with products in tf32.
Precision = Literal["fp32", "tf32", "bf16"]


class TrainParams(StrictModel):
    """Settings that all cells of a study share, those of numerics among them."""

    precision: Precision
    num_threads: PositiveInt  # on a CPU; weights differ between 1 and 2 threads
    channels_last: bool
    ema_exponent: PositiveFloat  # memory of the averaged generator grows with the run
    log_points: PositiveInt  # rows of the history
    previews: PositiveInt  # sample grids along the run
    # Neither changes a number. Neither has run on a GPU yet, so both are off; a CPU ignores them.
    cuda_graphs: bool = False  # record each update once on the GPU, and replay it
    resident_data: bool = False  # keep the data set on the GPU, if a quarter of its memory holds it
