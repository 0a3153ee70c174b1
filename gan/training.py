"""Owns the training loop: its state, the two steps, the averaged generator.

The loop is a generator function that yields after every update of the generator; the caller decides when to
log, preview, save or stop. It knows no variant: the objective says what a step computes.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gan import distributed
from gan.contract import ExponentialDecay, Gan, ImageShape, Scalars, TrainParams, VariantParams, values_at
from gan.errors import TrainingDiverged
from gan.graphs import CudaRecorder, RecordedUpdate, Recorder, Update
from gan.networks.layers import forget_derived, keep_derived, lay_out
from gan.optimizers import new_optimizer, restore, set_rate
from gan.randomness import derive_seed
from gan.sampling import draw_noise, generate_images, reestimate_batch_statistics


@dataclass
class TrainState:
    """Everything that changes during a run, and the parameters of the run."""

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
        """Restore what `state_dict` returned."""
        for name, part in self._parts().items():
            if isinstance(part, torch.optim.Optimizer):
                restore(part, saved[name])
            else:
                part.load_state_dict(saved[name])
        self.step = saved["step"]
        self.batches_seen = saved["batches_seen"]
        self.images_seen = saved["images_seen"]

    def _parts(self) -> dict[str, Any]:
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
        """Seed torch for one update, independently of all others."""
        seed = derive_seed(self.seed, purpose, self.step, inner)
        # Of this device alone: torch.manual_seed also seeds every other, and without a GPU takes 370 us.
        if self.device.type == "cuda":
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            torch.cuda.default_generators[index].manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)

    def draw_fakes(self, n: int, *, with_graph: bool) -> Tensor:
        """Generate n images in float32, with or without a graph to the generator."""
        noise = distributed.draw_rows(
            lambda rows: draw_noise(rows, self.variant.z_dim, self.variant.noise, device=self.device), n
        )
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
    capturable: bool | None = None,
) -> TrainState:
    """Build networks, optimisers and the averaged generator of a run before its first step.

    capturable: hold learning rates as tensors, so that updates can be recorded; by default on all devices
    but CPUs, whether or not they are, since last bits differ.
    """
    if capturable is None:
        capturable = device.type != "cpu"
    torch.manual_seed(derive_seed(seed, "weights"))
    gan = variant.build(image)
    layout = torch.channels_last if params.channels_last else torch.contiguous_format
    for network in (gan.generator, gan.critic):
        lay_out(network, device, layout)
        distributed.broadcast(network)
    return TrainState(
        variant=variant,
        params=params,
        steps=steps,
        seed=seed,
        device=device,
        gan=gan,
        averaged=copy.deepcopy(gan.generator).requires_grad_(False),
        critic_optimizer=new_optimizer(variant.critic_optimizer, gan.critic, capturable=capturable),
        generator_optimizer=new_optimizer(variant.generator_optimizer, gan.generator, capturable=capturable),
    )


def training_steps(
    state: TrainState, batches: Iterator[Tensor], recorder: Recorder | None = None
) -> Iterator[Scalars]:
    """Train until `state.steps`, yielding the scalars of each step, which are valid until the next.

    batches: endless (B, C, H, W) in [-1, 1], this process's share of each, from `state.batches_seen` on.
    recorder: records the updates and replays them; by default on a GPU, where `cuda_graphs` is set.
    """
    if recorder is None and state.params.cuda_graphs and state.device.type == "cuda":
        recorder = CudaRecorder()
    alone, both, generator = (_bind(part, state, recorder) for part in (_critic, _both, _generator))
    fresh, repeated = state.variant.generator_noise == "fresh", state.variant.critic_batches == "repeated"
    layout = torch.channels_last if state.params.channels_last else torch.contiguous_format
    objective = state.gan.objective
    while state.step < state.steps:
        objective.begin_step(state.step / state.steps)
        set_learning_rates(state)
        scalars: Scalars = {}
        critic_steps = objective.critic_steps(state.step)
        with keep_derived():
            for inner in range(critic_steps):
                if inner == 0 or not repeated:
                    real = next(batches).to(state.device, memory_format=layout, non_blocking=True)
                    state.batches_seen += 1
                    state.images_seen += len(real) * distributed.world_size()
                state.seed_draws("critic", 0 if repeated else inner)
                last = inner == critic_steps - 1
                scalars |= both(real) if last and not fresh else alone(real)
            if fresh:
                state.seed_draws("generator")
                scalars |= generator(real)
            update_average(state)
        state.step += 1
        yield scalars


def _bind(
    part: Callable[[TrainState, Tensor], Scalars], state: TrainState, recorder: Recorder | None
) -> Update:
    """Make a function of a batch of a part of the step, recorded if there is a recorder."""
    update = partial(part, state)
    return update if recorder is None else RecordedUpdate(update, recorder)


def _critic(state: TrainState, real: Tensor) -> Scalars:
    """A critic step with fakes of its own."""
    return update_critic(state, real, state.draw_fakes(len(real), with_graph=False))


def _both(state: TrainState, real: Tensor) -> Scalars:
    """The last critic step and the generator's update, with the same fakes."""
    fake = state.draw_fakes(len(real), with_graph=True)
    if state.variant.generator_noise == "joint":
        scalars = compute_generator_gradients(state, fake) | update_critic(state, real, fake.detach())
    else:
        scalars = update_critic(state, real, fake.detach()) | compute_generator_gradients(state, fake)
    update_generator(state)
    return scalars


def _generator(state: TrainState, real: Tensor) -> Scalars:
    """The generator's update with fresh fakes, as many as there are real images."""
    scalars = compute_generator_gradients(state, state.draw_fakes(len(real), with_graph=True))
    update_generator(state)
    return scalars


def update_critic(state: TrainState, real: Tensor, fake: Tensor) -> Scalars:
    """Update the critic on real images and detached fakes."""
    gan = state.gan
    with state.autocast():
        loss, scalars = gan.objective.critic_loss(gan.critic, real, fake)
    state.critic_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    distributed.average_gradients(gan.critic.parameters())
    state.critic_optimizer.step()
    gan.objective.after_critic_step(gan.critic)
    forget_derived(gan.critic)
    return scalars


def compute_generator_gradients(state: TrainState, fake: Tensor) -> Scalars:
    """Compute the generator's gradients on these fakes, with the critic frozen."""
    gan = state.gan
    gan.critic.requires_grad_(False)
    with state.autocast():
        loss, scalars = gan.objective.generator_loss(gan.critic, fake)
    state.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gan.critic.requires_grad_(True)
    distributed.average_gradients(gan.generator.parameters())
    return scalars


def update_generator(state: TrainState) -> None:
    """Apply the computed gradients to the generator."""
    state.generator_optimizer.step()
    forget_derived(state.gan.generator)
    state.gan.objective.after_generator_step()


@torch.no_grad()
def update_average(state: TrainState) -> None:
    """Add the newest weights to the averaged generator, in float32.

    Step t, counted from 1, has weight 1 - (1 - 1/t)^exponent: the average spans about the last 1/exponent
    of the run, however long that is. Karras et al., 2024, arXiv:2312.02696, section 3.1.
    """
    weight = 1 - (1 - 1 / (state.step + 1)) ** state.params.ema_exponent
    averaged: list[Tensor] = list(state.averaged.parameters())
    newest: list[Tensor] = list(state.gan.generator.parameters())
    torch._foreach_lerp_(averaged, newest, weight)


def set_learning_rates(state: TrainState) -> None:
    """Set both learning rates for this step, from the schedule, the decay and the objective's factor."""
    variant, progress = state.variant, state.step / state.steps
    initial = {"generator_lr": variant.generator_optimizer.lr, "critic_lr": variant.critic_optimizer.lr}
    rates = values_at(initial, variant.schedule, progress)
    decay, factor = variant.rate_decay, state.gan.objective.rate_factor()
    if isinstance(factor, Tensor) and factor.is_cpu:
        factor = float(factor)
    decayed, floor = 1.0, 0.0
    if isinstance(decay, ExponentialDecay):
        decayed = decay.factor ** (state.step // decay.every)
        floor = decay.floor
    elif decay is not None:
        decayed = 1 - progress
    factor *= decayed
    for optimizer, rate in (
        (state.generator_optimizer, rates["generator_lr"]),
        (state.critic_optimizer, rates["critic_lr"]),
    ):
        lowest = min(rate, floor)
        scaled = rate * factor
        set_rate(optimizer, scaled.clamp(min=lowest) if isinstance(scaled, Tensor) else max(scaled, lowest))


def held_out_scalars(state: TrainState, real: Tensor) -> Scalars:
    """The objective's scalars on images that the critic is never trained on; the run isn't changed.

    real: (B, C, H, W) in [-1, 1]. The critic normalises them by their own statistics, as in training.
    """
    critic = state.gan.critic
    buffers = [*state.gan.generator.buffers(), *critic.buffers()]
    before = [buffer.clone() for buffer in buffers]
    state.seed_draws("held out")
    with torch.no_grad(), state.autocast():
        fake = state.draw_fakes(len(real), with_graph=False)
        scalars = state.gan.objective.held_out_scalars(critic, real.to(state.device), fake)
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
    return scalars


def read_scalars(scalars: Scalars, step: int) -> dict[str, float]:
    """Read a step's scalars, averaged over all processes, in one transfer.

    Raises TrainingDiverged naming the first that is not finite, with all of them as `values`.
    """
    names = list(scalars)
    means = distributed.mean(torch.stack([scalars[name].detach().float() for name in names])).tolist()
    values = dict(zip(names, means, strict=True))
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"{name} is {value} at step {step}; lower the learning rates or the penalty's weight", values
            )
    return values


def has_finite_weights(state: TrainState) -> bool:
    """Tell whether all weights and batch statistics of the generator and of its average are finite."""
    networks = (state.gan.generator, state.averaged)
    return all(
        bool(tensor.isfinite().all()) for network in networks for tensor in network.state_dict().values()
    )


def preview(state: TrainState, n: int = 64) -> Tensor:
    """Images (n, C, H, W), uint8, of the averaged generator, from the same noise all along a run."""
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


def evenly_spaced_steps(points: int, steps: int) -> set[int]:
    """Evenly spaced steps in [1, steps], at most `points` of them, the last one always included."""
    return {max(1, round(steps * index / points)) for index in range(1, points + 1)}
