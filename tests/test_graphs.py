"""Recorded updates compute what updates that aren't recorded do, bit by bit, for every variant."""

import copy
from importlib import import_module
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan import training
from gan.config import load_params
from gan.contract import ImageShape, LinearDecay, SchedulePoint
from gan.graphs import WARM_UPS, RecordedUpdate
from gan.training import TrainState, new_train_state, training_steps
from gan.variants.began import Balance, Stall
from tests.tape import TapeRecorder

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
RECIPES = PARAMS.recipes["mnist_tiny"]
IMAGE = ImageShape(1, 28, 28)
BATCH = 4
STEPS = 8


@pytest.fixture(autouse=True)
def _rmsprop_on_a_cpu(monkeypatch):
    """Let torch's RMSprop hold its rate as a tensor on a CPU too, where nobody else needs it."""
    source = import_module("torch.optim.rmsprop")
    monkeypatch.setattr(source, "_get_capturable_supported_devices", lambda **_: ["cpu"])


def batches(start: int = 0):
    for number in count(start):
        stream = torch.Generator().manual_seed(number)
        yield torch.rand(BATCH, *IMAGE, generator=stream) * 2 - 1


def state_of(name: str, **changes) -> TrainState:
    method = RECIPES[name].method.model_copy(update={"batch_size": BATCH, **changes})
    device = torch.device("cpu")
    return new_train_state(method, IMAGE, PARAMS.train, steps=STEPS, seed=1, device=device, capturable=True)


def train(state: TrainState, recorder: TapeRecorder | None, steps: int = STEPS) -> list[dict[str, float]]:
    """Train up to a step, and return what was logged."""
    logged = []
    for scalars in training_steps(state, batches(state.batches_seen), recorder):
        logged.append({name: float(value) for name, value in scalars.items()})
        if state.step == steps:
            break
    return logged


def tensors_of(state: TrainState) -> dict[str, Tensor]:
    networks = {"generator": state.gan.generator, "critic": state.gan.critic, "averaged": state.averaged}
    return {
        f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()
    }


def assert_equal(state: TrainState, other: TrainState) -> None:
    found, wanted = tensors_of(state), tensors_of(other)
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []
    assert repr(state.gan.objective.state_dict()) == repr(other.gan.objective.state_dict())


@pytest.mark.parametrize("name", PARAMS.select.variants)
def test_replayed_updates_compute_what_updates_do(name):
    plain, replayed, recorder = state_of(name), state_of(name), TapeRecorder()
    assert train(replayed, recorder) == train(plain, None)
    assert recorder.tapes and all(tape.entries for tape in recorder.tapes)
    assert_equal(replayed, plain)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rates_and_balances_that_change_along_the_run_reach_a_replay(precision):
    changes = {
        "schedule": [Balance.model_validate({"from": 0.6, "gamma": 1.0, "k_rate": 0.2, "critic_lr": 1e-5})],
        "rate_decay": LinearDecay(kind="linear"),
        "stall": Stall(factor=0.5, patience=1),
        "k_rate": 0.5,
    }
    states = []
    for recorder in (None, TapeRecorder()):
        state = state_of("began", **changes)
        state.params = state.params.model_copy(update={"precision": precision})
        train(state, recorder)
        states.append(state)
    assert_equal(*states)
    assert float(states[0].gan.objective.rate_factor()) < 1  # M has stalled, else nothing is tested


@pytest.mark.parametrize("name", ["wgan", "began", "dcgan"])  # RMSprop, a state of its own, Adam
def test_a_resumed_run_records_anew_and_goes_on(name):
    whole, begun, resumed = state_of(name), state_of(name), state_of(name)
    train(whole, TapeRecorder())
    train(begun, TapeRecorder(), steps=4)
    resumed.load_state_dict(copy.deepcopy(begun.state_dict()))
    train(resumed, TapeRecorder())
    assert_equal(resumed, whole)


@pytest.mark.parametrize("noise", ["fresh", "reuse", "joint"])
def test_what_is_recorded_depends_on_whose_fakes_the_generator_takes(noise):
    state, recorder = state_of("wgan_gp", generator_noise=noise, critic_steps=2), TapeRecorder()
    plain = state_of("wgan_gp", generator_noise=noise, critic_steps=2)
    assert train(state, recorder) == train(plain, None)
    assert len(recorder.tapes) == 2  # a critic step, and the generator's with or without one
    assert_equal(state, plain)


def test_a_rate_from_python_would_be_found(monkeypatch):
    monkeypatch.setattr(
        "gan.training.set_rate", lambda optimizer, rate: optimizer.param_groups[0].update(lr=rate)
    )
    schedule = [SchedulePoint.model_validate({"from": 0.6, "generator_lr": 1e-5})]
    plain, replayed = (state_of("dcgan", schedule=schedule) for _ in range(2))
    train(plain, None)
    train(replayed, TapeRecorder())
    with pytest.raises(AssertionError):
        assert_equal(replayed, plain)


def test_a_read_of_a_value_would_be_found(monkeypatch):
    update = training.update_generator
    monkeypatch.setattr(
        "gan.training.update_generator",
        lambda state: update(state) if state.gan.critic.head.bias.sum() else None,
    )
    with pytest.raises(AssertionError, match="must not read"):
        train(state_of("dcgan"), TapeRecorder())


def test_inputs_are_copied_and_outputs_are_overwritten():
    recorder = TapeRecorder()
    update = RecordedUpdate(lambda batch: {"sum": (batch * 2).sum()}, recorder)
    found = [update(torch.full((2,), float(call))) for call in range(WARM_UPS + 2)]
    assert len(recorder.tapes) == 1
    assert [float(each["sum"]) for each in found[:WARM_UPS]] == [0, 4, 8]
    assert found[-1]["sum"] is found[-2]["sum"] and float(found[-1]["sum"]) == 4 * (WARM_UPS + 1)
