"""Owns the training loop: its state, the two steps, the averaged generator.

The loop is a generator function that yields after every update of the generator; whoever iterates
decides when to log, preview, save or stop. It knows no variant: what a step computes is the
objective's, how it is done is here.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan.contract import AdamParams, Gan, ImageShape, OptimizerParams, TrainParams, VariantParams
from gan.errors import TrainingDiverged
from gan.objectives import Scalars
from gan.randomness import derive_seed
from gan.sampling import draw_noise, generate_images, reestimate_batch_statistics


@dataclass
class TrainState:
    """All that changes during a run, and the parameters that say how."""

    variant: VariantParams
    params: TrainParams
    steps: int
    seed: int
    device: torch.device
    gan: Gan
    averaged: nn.Module
    critic_optimizer: torch.optim.Optimizer
    generator_optimizer: torch.optim.Optimizer
    step: int = 0
    batches_seen: int = 0
    images_seen: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and plain numbers."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "step": self.step,
            "batches_seen": self.batches_seen,
            "images_seen": self.images_seen,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.step = saved["step"]
        self.batches_seen = saved["batches_seen"]
        self.images_seen = saved["images_seen"]

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "generator": self.gan.generator,
            "critic": self.gan.critic,
            "objective": self.gan.objective,
            "averaged": self.averaged,
            "critic_optimizer": self.critic_optimizer,
            "generator_optimizer": self.generator_optimizer,
        }

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision in bfloat16, which needs no scaling of the loss; or none."""
        bf16 = self.params.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16)

    def seed_draws(self, purpose: str, inner: int = 0) -> None:
        """Begin the stream of random numbers that belongs to one update."""
        torch.manual_seed(derive_seed(self.seed, purpose, self.step, inner))

    def draw_fakes(self, n: int, *, with_graph: bool) -> Tensor:
        """Generate n images in float32, with or without a graph to the generator."""
        noise = draw_noise(n, self.variant.z_dim, self.variant.noise, device=self.device)
        with torch.set_grad_enabled(with_graph), self.autocast():
            # Without .float() a penalty's interpolation of float32 reals and bfloat16 fakes raises.
            fake: Tensor = self.gan.generator(noise).float()
        return fake


def new_train_state(
    variant: VariantParams,
    image: ImageShape,
    params: TrainParams,
    *,
    steps: int,
    seed: int,
    device: torch.device,
) -> TrainState:
    """Build networks, optimisers and the averaged generator of a run that stands before its first step."""
    torch.manual_seed(derive_seed(seed, "weights"))
    gan = variant.build(image)
    layout = torch.channels_last if params.channels_last else torch.contiguous_format
    for network in gan:
        network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    return TrainState(
        variant=variant,
        params=params,
        steps=steps,
        seed=seed,
        device=device,
        gan=gan,
        averaged=copy.deepcopy(gan.generator).requires_grad_(False),
        critic_optimizer=new_optimizer(variant.critic_optimizer, gan.critic),
        generator_optimizer=new_optimizer(variant.generator_optimizer, gan.generator),
    )


def new_optimizer(params: OptimizerParams, network: nn.Module) -> torch.optim.Optimizer:
    """Make the optimiser that a recipe names."""
    if isinstance(params, AdamParams):
        return torch.optim.Adam(network.parameters(), lr=params.lr, betas=params.betas, fused=True)
    return torch.optim.RMSprop(network.parameters(), lr=params.lr, alpha=params.alpha)


def training_steps(state: TrainState, batches: Iterator[Tensor]) -> Iterator[Scalars]:
    """Train until `state.steps`, yielding the scalars of each step.

    batches: endless (B, C, H, W) in [-1, 1], standing at `state.batches_seen`.
    """
    reuse = state.variant.generator_noise == "reuse"
    layout = torch.channels_last if state.params.channels_last else torch.contiguous_format
    objective = state.gan.objective
    while state.step < state.steps:
        objective.begin_step(state.step / state.steps)
        set_learning_rates(state)
        scalars: Scalars = {}
        critic_steps = objective.critic_steps(state.step)
        for inner in range(critic_steps):
            real = next(batches).to(state.device, memory_format=layout, non_blocking=True)
            state.seed_draws("critic", inner)
            # The fakes of the last critic step keep their graph where the generator learns on them.
            fake = state.draw_fakes(len(real), with_graph=reuse and inner == critic_steps - 1)
            scalars = critic_step(state, real, fake.detach())
            state.batches_seen += 1
            state.images_seen += len(real)
        state.seed_draws("generator")
        if not reuse:
            fake = state.draw_fakes(len(real), with_graph=True)
        scalars |= generator_step(state, fake)
        state.step += 1
        yield scalars


def critic_step(state: TrainState, real: Tensor, fake: Tensor) -> Scalars:
    """Update the critic on real and fake images without a graph to the generator."""
    gan = state.gan
    with state.autocast():
        loss, scalars = gan.objective.critic_loss(gan.critic, real, fake)
    state.critic_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.critic_optimizer.step()
    gan.objective.after_critic_step(gan.critic)
    return scalars


def generator_step(state: TrainState, fake: Tensor) -> Scalars:
    """Update the generator, and its average, through a critic that is frozen meanwhile."""
    gan = state.gan
    gan.critic.requires_grad_(False)
    with state.autocast():
        loss, scalars = gan.objective.generator_loss(gan.critic, fake)
    state.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gan.critic.requires_grad_(True)
    state.generator_optimizer.step()
    gan.objective.after_generator_step()
    update_average(state)
    return scalars


@torch.no_grad()
def update_average(state: TrainState) -> None:
    """Let the newest weights enter the averaged generator, in float32.

    Step t, counted from 1, enters with 1 - (1 - 1/t)^exponent: the memory grows with the run and
    spans about its last 1/exponent. Karras et al., 2024, arXiv:2312.02696, section 3.1.
    """
    weight = 1 - (1 - 1 / (state.step + 1)) ** state.params.ema_exponent
    averaged: list[Tensor] = list(state.averaged.parameters())
    newest: list[Tensor] = list(state.gan.generator.parameters())
    torch._foreach_lerp_(averaged, newest, weight)


def set_learning_rates(state: TrainState) -> None:
    """Set the rates that hold at this step: a function of the step, so that nothing has to be saved."""
    progress = state.step / state.steps
    rates = {
        "generator_lr": state.variant.generator_optimizer.lr,
        "critic_lr": state.variant.critic_optimizer.lr,
    }
    for point in sorted(state.variant.schedule, key=lambda point: point.begin):
        if point.begin <= progress:
            given = {name: getattr(point, name) for name in rates}
            rates |= {name: rate for name, rate in given.items() if rate is not None}
    for optimizer, name in (
        (state.generator_optimizer, "generator_lr"),
        (state.critic_optimizer, "critic_lr"),
    ):
        for group in optimizer.param_groups:
            group["lr"] = rates[name]


def read_scalars(scalars: Scalars, step: int) -> dict[str, float]:
    """Read a step's scalars, in one go, and see that they are finite.

    Raises TrainingDiverged naming the first that is not.
    """
    names = list(scalars)
    values = dict(zip(names, torch.stack([scalars[name].float() for name in names]).tolist(), strict=True))
    for name, value in values.items():
        if not -float("inf") < value < float("inf"):
            raise TrainingDiverged(
                f"{name} is {value} at step {step}; lower the learning rates or the penalty's weight"
            )
    return values


def preview(state: TrainState, n: int = 64) -> Tensor:
    """Images (n, C, H, W), uint8, of the averaged generator; the same noise all along a run."""
    finish_average(state)
    stream = torch.Generator().manual_seed(derive_seed(state.seed, "preview"))
    return generate_images(state.averaged, draw_noise(n, state.variant.z_dim, state.variant.noise, stream))


def finish_average(state: TrainState) -> None:
    """Give the averaged generator batch statistics of its own, from noise that training never sees."""
    reestimate_batch_statistics(
        state.averaged,
        state.variant.z_dim,
        state.variant.noise,
        seed=derive_seed(state.seed, "batch statistics"),
    )


def spread(points: int, steps: int) -> set[int]:
    """At most `points` steps in [1, steps], evenly spread, the last one always among them."""
    return {max(1, round(steps * index / points)) for index in range(1, points + 1)}


def pick_device() -> torch.device:
    """The CUDA device with most free memory, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    return torch.device("cuda", free.index(max(free)))
