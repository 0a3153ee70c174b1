"""Whether a device computes what the mathematics says: first gradients against a CPU's in float64.

Weights and all random numbers are drawn on the CPU in float32, so that both sides have the same ones.
Dropout is off, since its mask is drawn inside a kernel. Rectifiers are replaced by SiLU: a unit whose input
is within rounding of 0 may have either slope, and one such unit moved a gradient of batch 4 by 0.7 %.
"""

import copy
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from benchmarks import plain
from benchmarks.gpu_parts.runs import (
    DIGITS,
    FACES,
    Case,
    Check,
    Options,
    Row,
    Setting,
    method_of,
    prepare,
    train_params,
    variants,
)
from gan.contract import Precision, VariantParams
from gan.sampling import draw_noise
from gan.training import TrainState, new_train_state, training_steps

PART = "parity"
# Bounds on the relative norm of a network's gradient's error; of a loss after a few steps, ten times that.
BOUNDS: dict[Precision, float] = {"fp32": 1e-4, "tf32": 3e-3, "bf16": 3e-2}
STEPS = 3
TINY_RATE = 1e-7  # so small that Adam's division by small moments amplifies no rounding
CPU = torch.device("cpu")


def checks(setting: Setting) -> Iterator[Check]:
    """Each variant on small images, then on large ones."""
    batch = setting.sizes.gradient_batch
    for dataset, side in ((DIGITS, 28), (FACES, setting.sizes.large)):
        for variant in reversed(variants()):  # the study has the longest first
            if dataset == FACES and variant in setting.sizes.too_large:
                continue
            case = Case(dataset, variant, side, batch)
            yield Check(
                PART, f"{variant} {side}", lambda setting, c=case: compare(c, setting.sizes.precisions)
            )


class Comparable(TorchFunctionMode):
    """Draws on the CPU in float32 whatever is drawn; no dropout, SiLU for rectifiers.

    `.float()` casts to `dtype`: with float64 the losses of `gan`, which cast to float32, are in float64 too.
    """

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.stream = torch.Generator().manual_seed(seed)
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.rand, torch.randn):
            device = kwargs.pop("device", None)
            return func(*args, **kwargs | {"generator": self.stream}).to(device or CPU, self.dtype)
        if func is Tensor.normal_:
            return args[0].copy_(torch.empty(args[0].shape).normal_(*args[1:], generator=self.stream))
        if func is Tensor.float:
            return args[0].to(self.dtype)
        if func in (functional.relu, functional.leaky_relu):
            return functional.silu(args[0])
        if func is functional.dropout:
            return args[0]
        return func(*args, **kwargs)


class Found(NamedTuple):
    """What one side computes."""

    critic: Tensor  # gradient of all weights, one after the other, in float64 on the CPU
    generator: Tensor
    losses: list[dict[str, float]]  # of the first steps at a tiny rate


def compare(case: Case, precisions: Sequence[Precision]) -> Iterator[Row]:
    """Compare a case in each precision with float64 on the CPU, which uses torch's own layers."""
    method = method_of(
        case, warmup="none", critic_steps=1, schedule=[], rate_decay=None, on_divergence="stop"
    )
    expected = compute(method, case, Options(), CPU, torch.float64)
    for precision in precisions:
        options = Options(precision=precision)
        found = compute(method, case, options, prepare(options), torch.float32)
        bound = BOUNDS[precision]
        for side in ("critic", "generator"):
            error = relative_error(getattr(found, side), getattr(expected, side))
            yield {
                "what": f"gradient of the {side}, {precision}",
                "value": error,
                "unit": "relative norm of the error",
                "ok": error < bound,
            }
        error = largest_error(found.losses, expected.losses)
        yield {
            "what": f"losses of {steps_of(case)} steps, {precision}",
            "value": error,
            "unit": "largest relative error",
            "ok": error < 10 * bound,
        }


def compute(
    method: VariantParams, case: Case, options: Options, device: torch.device, dtype: torch.dtype
) -> Found:
    """Compute first gradients, then the losses of a few steps from the same weights."""
    double = dtype == torch.float64
    if double and torch.cuda.is_available():  # the GPU waits for the reference
        torch.set_num_threads(os.cpu_count() or 1)
    state = new_state(method, case, options, device, double=double)
    stream = torch.Generator().manual_seed(1)
    steps = steps_of(case)
    batches = [torch.rand(case.batch, *case.image, generator=stream) * 2 - 1 for _ in range(steps)]
    reals = [batch.to(device, dtype) for batch in batches]
    critic, generator = first_gradients(state, reals[0], dtype)
    state = new_state(_slowly(method), case, options, device, double=double)
    with Comparable(2, dtype):
        losses = []
        for _, scalars in zip(range(steps), training_steps(state, iter(reals)), strict=False):
            losses.append({name: float(value) for name, value in scalars.items() if name.startswith("loss/")})
    return Found(critic, generator, losses)


def steps_of(case: Case) -> int:
    """Steps whose losses are compared: one on large images, where the reference takes long."""
    return STEPS if case.dataset == DIGITS else 1


def new_state(
    method: VariantParams, case: Case, options: Options, device: torch.device, *, double: bool
) -> TrainState:
    """Make a run; for the reference in float64, of torch's own layers."""
    state = new_train_state(method, case.image, train_params(options), steps=100, seed=0, device=device)
    for network in (state.gan.generator, state.gan.critic, state.averaged) if double else ():
        plain.use_torchs_layers(network)
        network.double()
    return state


def _slowly(method: VariantParams) -> VariantParams:
    rates = {
        name: getattr(method, name).model_copy(update={"lr": TINY_RATE})
        for name in ("generator_optimizer", "critic_optimizer")
    }
    return method.model_copy(update=rates)


def first_gradients(state: TrainState, real: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Gradients of the critic's loss and then of the generator's, before any update."""
    gan, method = state.gan, state.variant
    gan.objective.begin_step(0.0)
    with Comparable(1, dtype):
        noise = draw_noise(len(real), method.z_dim, method.noise, device=state.device)
        with state.autocast():
            fake = gan.generator(noise).float()
            loss, _ = gan.objective.critic_loss(gan.critic, real, fake.detach())
        loss.backward()
        gan.critic.requires_grad_(False)
        with state.autocast():
            loss, _ = gan.objective.generator_loss(gan.critic, fake)
        loss.backward()
        gan.critic.requires_grad_(True)
    return _gradient(gan.critic), _gradient(gan.generator)


def _gradient(network: nn.Module) -> Tensor:
    gradients = [
        torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in network.parameters()
    ]
    return torch.cat([copy.copy(gradient).cpu().double().reshape(-1) for gradient in gradients])


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((found - expected).norm() / expected.norm())


def largest_error(found: Sequence[dict[str, float]], expected: Sequence[dict[str, float]]) -> float:
    """Largest error of any loss, relative to it, or absolute where it is smaller than 1."""
    return max(
        abs(a[name] - b[name]) / max(1.0, abs(b[name]))
        for a, b in zip(found, expected, strict=True)
        for name in b
    )
