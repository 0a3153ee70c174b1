"""A step on a device mixes no devices and reads no value, for every recipe: proven on the meta device.

The meta device computes shapes and no numbers, so that every operation of a step runs as it would on a GPU,
and a read of a value can't succeed. Autocast, which it lacks, is left out, and Adam is torch's own for many
tensors in place of the fused one. It can't see what depends on a device's name, on cuDNN or on how a GPU
draws random numbers.
"""

from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan.config import load_params
from gan.contract import ImageShape
from gan.objectives import penalties
from gan.training import TrainState, new_train_state, training_steps

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
META = torch.device("meta")
BATCH = 4
# One data set for each file of recipes and each kind of image in it.
KINDS = ("mnist_tiny", "mixture", "stacked_tiny", "celeba", "celeba_128")
ROSTER = {
    (kind, name)
    for kind in ("mnist_tiny", "mixture", "celeba")
    for name in PARAMS.select.variants
    if name in PARAMS.recipes[kind]
}
CASES = [
    pytest.param(kind, name, marks=() if (kind, name) in ROSTER else pytest.mark.slow)
    for kind in KINDS
    for name in PARAMS.recipes[kind]
]


class Watch(TorchDispatchMode):
    """Raises where an operation's tensors lie on two devices, or where a value is read."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.equal):
            raise AssertionError(f"{func} reads a value")
        found = func(*args, **(kwargs or {}))
        devices = {leaf.device for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, Tensor)}
        if len(devices) > 1:
            raise AssertionError(f"{func} mixes {sorted(map(str, devices))}")
        return found


@pytest.fixture
def _meta_as_a_gpu(monkeypatch):
    adam = torch.optim.Adam
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(
        torch.optim, "Adam", lambda *groups, fused, **given: adam(*groups, foreach=True, **given)
    )
    for module in ("adam", "rmsprop"):
        source = import_module(f"torch.optim.{module}")  # torch.optim hides its modules' names
        monkeypatch.setattr(source, "_get_capturable_supported_devices", lambda **_: ["meta"])


def state_of(kind: str, name: str) -> TrainState:
    """A run past any warm-up of the critic."""
    shape = PARAMS.datasets[kind].shape
    method = PARAMS.recipes[kind][name].method.model_copy(update={"batch_size": BATCH})
    image = ImageShape(shape.channels, shape.height, shape.width)
    state = new_train_state(method, image, PARAMS.train, steps=10**6, seed=0, device=META)
    state.step = 100
    return state


def watch(state: TrainState, kind: str) -> None:
    """Take two steps under watch: the first has an optimiser's state to make, the second doesn't."""
    shape = PARAMS.datasets[kind].shape
    batch = torch.empty(BATCH, shape.channels, shape.height, shape.width, device=META)
    steps = training_steps(state, iter(lambda: batch, None))
    with Watch():
        for _ in range(2):
            next(steps)


@pytest.mark.usefixtures("_meta_as_a_gpu")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_step_mixes_no_devices_and_reads_no_value(kind, name):
    watch(state_of(kind, name), kind)


def plant_noise_on_the_cpu(monkeypatch):
    from gan import training

    draw = training.draw_noise
    monkeypatch.setattr(training, "draw_noise", lambda *given, device: draw(*given).to(device))


def plant_interpolation_on_the_cpu(monkeypatch):
    def interpolate(real: Tensor, fake: Tensor) -> Tensor:
        epsilon = torch.rand(len(real), 1, 1, 1)
        return epsilon * real + (1 - epsilon) * fake

    monkeypatch.setattr(penalties, "interpolate", interpolate)


def plant_a_number_on_the_cpu(monkeypatch):
    norm_of = penalties.norm_of
    monkeypatch.setattr(penalties, "norm_of", lambda gradients: norm_of(gradients) * torch.tensor(1.0))


def plant_a_branch_on_a_value(monkeypatch):
    norm_of = penalties.norm_of

    def branching(gradients: Tensor) -> Tensor:
        norms = norm_of(gradients)
        return norms if norms.mean() > 0 else -norms

    monkeypatch.setattr(penalties, "norm_of", branching)


@pytest.mark.usefixtures("_meta_as_a_gpu")
@pytest.mark.parametrize(
    "plant",
    [
        plant_noise_on_the_cpu,
        plant_interpolation_on_the_cpu,
        plant_a_number_on_the_cpu,
        plant_a_branch_on_a_value,
    ],
)
def test_planted_faults_are_found(monkeypatch, plant):
    plant(monkeypatch)
    with pytest.raises((AssertionError, RuntimeError), match="mixes|reads|meta"):
        watch(state_of("mnist_tiny", "wgan_gp"), "mnist_tiny")
