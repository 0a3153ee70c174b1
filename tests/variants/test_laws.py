"""Laws that every entry of params.yaml obeys, on every data set that lists it."""

import copy
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.config import load_params
from gan.contract import ImageShape
from gan.objectives import Wasserstein
from gan.training import critic_step, generator_step, new_train_state, read_scalars, training_steps
from gan.variants import Variant

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
ENTRIES = sorted(PARAMS.recipes["mnist_tiny"])
IMAGE = ImageShape(1, 28, 28)
CPU = torch.device("cpu")


@pytest.fixture(params=ENTRIES)
def method(request):
    # The authors' warm-up of 100 critic steps has a test of its own; the laws hold without it too.
    recipe = PARAMS.recipes["mnist_tiny"][request.param].method
    changes = {"batch_size": 4} | ({"warmup": "none"} if hasattr(recipe, "warmup") else {})
    return recipe.model_copy(update=changes)


def new_state(method, *, steps=6, seed=0, **train):
    return new_train_state(
        method, IMAGE, PARAMS.train.model_copy(update=train), steps=steps, seed=seed, device=CPU
    )


def batches(method, start=0):
    position = start
    while True:
        stream = torch.Generator().manual_seed(position)
        yield torch.rand(method.batch_size, *IMAGE, generator=stream) * 2 - 1
        position += 1


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.named_parameters()}


def moved(network: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in network.named_parameters() if not torch.equal(tensor, before[name])}


def test_shapes_are_those_everyone_agrees_on(method):
    gan = method.build(IMAGE)
    images = gan.generator(torch.randn(4, method.z_dim))
    assert images.shape == (4, *IMAGE) and images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert gan.critic(images).shape == (4,)


def test_a_critic_step_moves_the_whole_critic_and_nothing_of_the_generator(method):
    state = new_state(method)
    critic, generator = snapshot(state.gan.critic), snapshot(state.gan.generator)
    fake = state.draw_fakes(4, with_graph=False)
    critic_step(state, next(batches(method)), fake)
    # A constant added to all scores cancels in a difference of means.
    still = {"head.bias"} if isinstance(state.gan.objective, Wasserstein) else set()
    assert moved(state.gan.critic, critic) == set(critic) - still
    assert moved(state.gan.generator, generator) == set()
    assert all(parameter.grad is None for parameter in state.gan.generator.parameters())


def test_a_generator_step_moves_the_whole_generator_and_nothing_of_the_critic(method):
    state = new_state(method)
    critic, generator = snapshot(state.gan.critic), snapshot(state.gan.generator)
    generator_step(state, state.draw_fakes(4, with_graph=True))
    assert moved(state.gan.critic, critic) == set()
    assert moved(state.gan.generator, generator) == set(generator)
    assert all(parameter.grad is None for parameter in state.gan.critic.parameters())
    assert all(parameter.requires_grad for parameter in state.gan.critic.parameters())


def test_critic_and_generator_move_on_schedule(method):
    state = new_state(method, steps=3)
    before = snapshot(state.gan.generator)
    taken = 0

    def counted():
        nonlocal taken
        for batch in batches(method):
            if taken % method_critic_steps(state) != 0:
                assert moved(state.gan.generator, before) == set()  # between its turns it stands still
            taken += 1
            yield batch

    for _ in training_steps(state, counted()):
        assert moved(state.gan.generator, before) != set()
        before = snapshot(state.gan.generator)
    assert taken == 3 * method_critic_steps(state)
    assert (state.batches_seen, state.images_seen) == (taken, taken * 4)


def method_critic_steps(state):
    return state.gan.objective.critic_steps(1)


def test_every_step_logs_the_same_finite_scalars(method):
    state = new_state(method)
    rows = [read_scalars(scalars, state.step) for scalars in training_steps(state, batches(method))]
    assert {"loss/critic", "loss/generator"} <= set(rows[0])
    assert len({tuple(row) for row in rows}) == 1


@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(method, stop):
    straight = new_state(method)
    for _ in training_steps(straight, batches(method)):
        pass
    first = new_state(method)
    for _ in training_steps(first, batches(method)):
        if first.step == stop:
            break
    saved = copy.deepcopy(first.state_dict())
    torch.manual_seed(99)  # whatever else drew in between
    second = new_state(method)
    second.load_state_dict(saved)
    for _ in training_steps(second, batches(method, start=second.batches_seen)):
        pass
    wanted, found = straight.state_dict(), second.state_dict()
    assert wanted.keys() == found.keys()
    assert_close(found, wanted, rtol=0, atol=0)


def test_another_seed_gives_other_weights(method):
    states = [new_state(method, steps=1, seed=seed) for seed in (0, 1)]
    for state in states:
        next(training_steps(state, batches(method)))
    first, second = (state.gan.generator.state_dict() for state in states)
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_bf16_runs_and_keeps_weights_in_float32(method):
    state = new_state(method, steps=2, precision="bf16")
    for scalars in training_steps(state, batches(method)):
        read_scalars(scalars, state.step)
    for network in (state.gan.generator, state.gan.critic, state.averaged):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_no_critic_under_a_penalty_has_batch_statistics(method):
    if hasattr(method, "penalty_weight"):
        critic = method.build(IMAGE).critic
        assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in critic.modules())


def test_a_score_does_not_depend_on_the_batch_under_a_penalty(method):
    if hasattr(method, "penalty_weight"):
        critic = method.build(IMAGE).critic
        images = torch.rand(4, *IMAGE)
        assert_close(critic(images)[:1], critic(images[:1]))


def test_every_kind_of_the_roster_is_in_params():
    members = get_args(get_args(Variant)[0])
    kinds = {get_args(member.model_fields["kind"].annotation)[0] for member in members}
    assert kinds == {recipe.method.kind for recipe in PARAMS.recipes["mnist_tiny"].values()}
