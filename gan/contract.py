"""Owns the nouns that variants, training and configuration share. Loads no torch.

Shapes that everyone agrees on: images are (N, C, H, W) float32 in [-1, 1], uint8 only on disk and
before a feature extractor; noise is (N, z_dim) float32; a critic's score is (N,). "Critic" is the
word for every discriminator, and a "step" is one update of the generator.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from torch import nn

    from gan.objectives import Objective


class StrictModel(BaseModel):
    """Frozen, no unknown keys, no coercion: what params.yaml says is what runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ImageShape(NamedTuple):
    """Shape of one image, without the batch axis."""

    channels: int
    height: int
    width: int


class Gan(NamedTuple):
    """The three modules that one variant is made of."""

    generator: nn.Module
    critic: nn.Module
    objective: Objective


Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Betas = Annotated[tuple[Fraction, Fraction], Field(strict=False)]


class AdamParams(StrictModel):
    """Adam. Kingma & Ba, 2015, arXiv:1412.6980."""

    kind: Literal["adam"]
    lr: PositiveFloat
    betas: Betas


class RMSpropParams(StrictModel):
    """RMSprop as torch computes it: the second moment starts at 0, eps stands outside the root."""

    kind: Literal["rmsprop"]
    lr: PositiveFloat
    alpha: Fraction


OptimizerParams = Annotated[AdamParams | RMSpropParams, Field(discriminator="kind")]


class SchedulePoint(StrictModel):
    """From this fraction of the run on, these values hold; an absent one stays as it was."""

    begin: Annotated[float, Field(gt=0.0, lt=1.0, alias="from")]
    generator_lr: NonNegativeFloat | None = None
    critic_lr: NonNegativeFloat | None = None


class VariantParams(StrictModel):
    """What every variant has. A variant adds its own fields, and nothing here has a default.

    A default in code would be a hyperparameter that `dvc params diff` can't see.
    """

    paper: ClassVar[str]
    loss: ClassVar[str]

    kind: str
    z_dim: PositiveInt
    noise: Literal["normal", "uniform"]  # N(0, 1) or U[-1, 1], per component
    batch_size: Annotated[int, Field(ge=2)]
    generator_optimizer: OptimizerParams
    critic_optimizer: OptimizerParams
    # reuse: the generator learns on the fakes of the last critic step, with one forward pass;
    # fresh: it draws new noise, as the papers do.
    generator_noise: Literal["fresh", "reuse"]
    schedule: list[SchedulePoint]

    @abstractmethod
    def build(self, image: ImageShape) -> Gan:
        """Make untrained networks and the objective for images of this shape.

        Raises ConfigError when the networks can't make images of this shape.
        """


class TrainParams(StrictModel):
    """What every cell of a study has in common, and what its numeric mode is."""

    precision: Literal["fp32", "bf16"]
    num_threads: PositiveInt  # on a CPU; weights differ between 1 and 2 threads
    channels_last: bool
    ema_exponent: PositiveFloat  # memory of the averaged generator grows with the run
    log_points: PositiveInt  # rows of the history
    previews: PositiveInt  # sample grids along the run
