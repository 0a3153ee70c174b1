"""Laws that every entry of params.yaml obeys: small images in full, 64x64x3 without arithmetic."""

import copy
import math
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.config import load_params
from gan.contract import ImageShape, Objective
from gan.training import (
    compute_generator_gradients,
    held_out_scalars,
    new_train_state,
    read_scalars,
    training_steps,
    update_critic,
    update_generator,
)
from gan.variants import Variant
from pipeline.claims.vocabulary import history_scalars

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
# Entries of single claims put together what others have; tests/pipeline/claims/test_claims.py builds them.
GREY = {name: recipe for name, recipe in PARAMS.recipes["mnist_tiny"].items() if recipe.profile != "claim"}
COLOUR = PARAMS.recipes["celeba"]
IMAGE = ImageShape(1, 28, 28)
CPU = torch.device("cpu")
ROSTER = {
    "gan",
    "dcgan",
    "lsgan",
    "wgan",
    "wgan_gp",
    "wgan_gp_resnet",
    "ebgan",
    "ebgan_pt",
    "began",
    "dragan",
    "coulomb",
    "wgan_l2",
    "wgan_gauss",
    "wgan_merged",
}
PENALISED = {"wgan_gp", "wgan_penalty", "dragan"}  # the kinds whose critic loss has a penalty per sample


@pytest.fixture(params=sorted(GREY))
def method(request):
    # The authors' warm-up of 100 critic steps has a test of its own; the laws hold without it too.
    recipe = GREY[request.param].method
    changes = {"batch_size": 4} | ({"warmup": "none"} if hasattr(recipe, "warmup") else {})
    return recipe.model_copy(update=changes)


@pytest.fixture(params=sorted(COLOUR))
def colour(request):
    return COLOUR[request.param]


def new_state(method, *, steps=4, seed=0, precision="fp32"):
    train = PARAMS.train.model_copy(update={"precision": precision})
    return new_train_state(method, IMAGE, train, steps=steps, seed=seed, device=CPU)


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


def is_wide(method) -> bool:
    """Tell the two Keras ancestors' networks, of 13 million weights, from the others."""
    return method.networks.kind == "dcgan" and method.networks.generator.hidden is not None


def has_batch_statistics(network: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def test_shapes_are_those_everyone_agrees_on(method):
    gan = method.build(IMAGE)
    with torch.no_grad():
        images = gan.generator(torch.randn(4, method.z_dim))
        judged = gan.critic(images)
    assert images.shape == (4, *IMAGE) and images.dtype == torch.float32
    if method.kind == "ebgan":
        assert judged.reconstruction.shape == (4, *IMAGE)
        assert judged.code.dim() == 2 and len(judged.code) == 4
    elif method.kind == "began":  # linear output: images may leave [-1, 1]
        assert judged.shape == (4, *IMAGE)
    else:
        assert judged.shape == (4,)
    if method.kind != "began":
        assert images.abs().max() <= 1


def test_a_critic_step_moves_the_whole_critic_and_nothing_of_the_generator(method):
    state = new_state(method)
    critic, generator = snapshot(state.gan.critic), snapshot(state.gan.generator)
    fake = state.draw_fakes(4, with_graph=False)
    update_critic(state, next(batches(method)), fake)
    # What adds a constant to all scores cancels in a difference of means, but for rounding: the last bias,
    # and in the residual critic those of its last block, which no activation follows.
    may_stand = {list(critic)[-1], "blocks.2.second.bias", "blocks.2.shortcut.bias"}
    still = set(critic) - moved(state.gan.critic, critic)
    assert still <= (may_stand if ignores_a_constant(state, fake) else set())
    assert moved(state.gan.generator, generator) == set()
    assert all(parameter.grad is None for parameter in state.gan.generator.parameters())


def ignores_a_constant(state, fake):
    """Whether the critic's loss stays as it is when a constant is added to all scores."""
    if state.variant.kind in ("began", "ebgan"):
        return False
    real, losses = next(batches(state.variant)), []
    for constant in (0.0, 0.01):
        torch.manual_seed(0)
        hook = state.gan.critic.register_forward_hook(lambda *call, c=constant: call[-1] + c)
        losses.append(state.gan.objective.critic_loss(state.gan.critic, real, fake)[0])
        hook.remove()
    return torch.isclose(*losses, rtol=1e-6, atol=1e-6).item()


def test_a_generator_step_moves_the_whole_generator_and_nothing_of_the_critic(method):
    state = new_state(method)
    update_critic(state, next(batches(method)), state.draw_fakes(4, with_graph=False))
    critic, generator = snapshot(state.gan.critic), snapshot(state.gan.generator)
    state.critic_optimizer.zero_grad()
    # Gains begin at 1, where a small recipe's first update may be lost in rounding.
    state.generator_optimizer.param_groups[0]["lr"] = 0.1
    compute_generator_gradients(state, state.draw_fakes(4, with_graph=True))
    update_generator(state)
    assert moved(state.gan.critic, critic) == set()
    assert moved(state.gan.generator, generator) == set(generator)
    assert all(parameter.grad is None for parameter in state.gan.critic.parameters())
    assert all(parameter.requires_grad for parameter in state.gan.critic.parameters())


def test_critic_and_generator_move_on_schedule(method):
    state = new_state(method, steps=2)
    counts = [state.gan.objective.critic_steps(step) for step in range(2)]
    generator, critic = snapshot(state.gan.generator), snapshot(state.gan.critic)
    order = []
    state.critic_optimizer.register_step_post_hook(lambda *_: order.append("critic"))
    state.generator_optimizer.register_step_post_hook(lambda *_: order.append("generator"))
    for _ in training_steps(state, batches(method)):
        assert moved(state.gan.generator, generator) and moved(state.gan.critic, critic)
        generator, critic = snapshot(state.gan.generator), snapshot(state.gan.critic)
    assert order == [name for count in counts for name in ["critic"] * count + ["generator"]]
    assert all(parameter.requires_grad for parameter in state.gan.critic.parameters())
    assert (state.batches_seen, state.images_seen) == (sum(counts), 4 * sum(counts))


def test_every_step_logs_the_same_finite_scalars(method):
    state = new_state(method, steps=2)
    rows = [read_scalars(scalars, state.step) for scalars in training_steps(state, batches(method))]
    assert {"loss/critic", "loss/generator"} <= set(rows[0])
    assert len({tuple(row) for row in rows}) == 1
    held_out = held_out_scalars(state, next(batches(method)))
    offers = type(state.gan.objective).held_out_scalars is not Objective.held_out_scalars
    assert bool(held_out) == offers
    assert all(value.dim() == 0 and bool(value.isfinite()) for value in held_out.values())
    assert not set(held_out) & set(rows[0])
    assert {*rows[0], *held_out} == set(history_scalars(method))  # what claims may name


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(method):
    steps, stops = (2, [1]) if is_wide(method) else (4, [1, 3])
    straight, saved = new_state(method, steps=steps), {}
    for _ in training_steps(straight, batches(method)):
        saved[straight.step] = copy.deepcopy(straight.state_dict())
    for stop in stops:
        torch.manual_seed(99)  # whatever else drew in between
        resumed = new_state(method, steps=steps)
        resumed.load_state_dict(saved[stop])
        for _ in training_steps(resumed, batches(method, start=resumed.batches_seen)):
            pass
        assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0, equal_nan=True)
        # A part that `state_dict` leaves out is left out on both sides, so each is looked at by itself.
        for name in ("generator", "critic"):
            found, wanted = (getattr(state.gan, name).state_dict() for state in (resumed, straight))
            assert_close(found, wanted, rtol=0, atol=0)
        assert_close(resumed.averaged.state_dict(), straight.averaged.state_dict(), rtol=0, atol=0)
        games = [state.gan.objective.state_dict() for state in (resumed, straight)]
        assert repr(games[0]) == repr(games[1])  # as text, since what hasn't been measured is NaN


def test_another_seed_gives_other_weights(method):
    states = [new_state(method, steps=1, seed=seed) for seed in (0, 1)]
    first, second = (snapshot(state.gan.generator) for state in states)
    kernels = [name for name, weight in first.items() if weight.dim() > 1]
    assert kernels and not any(torch.equal(first[name], second[name]) for name in kernels)


def test_bf16_runs_and_keeps_weights_in_float32(method):
    state = new_state(method, steps=2, precision="bf16")
    for scalars in training_steps(state, batches(method)):
        read_scalars(scalars, state.step)
    for network in (state.gan.generator, state.gan.critic, state.averaged):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", sorted(GREY))
def test_no_critic_under_a_penalty_has_batch_statistics_but_in_profile_seed(name):
    recipe = GREY[name]
    if recipe.method.kind in PENALISED:
        critic = recipe.method.build(IMAGE).critic
        assert not has_batch_statistics(critic) or recipe.profile == "seed"
        if not has_batch_statistics(critic):
            images = torch.rand(4, *IMAGE)
            assert_close(critic(images)[:1], critic(images[:1]))  # no sample knows of another


def test_every_kind_of_the_roster_is_in_params():
    members = get_args(get_args(Variant)[0])
    kinds = {get_args(member.model_fields["kind"].annotation)[0] for member in members}
    assert kinds == {recipe.method.kind for recipe in GREY.values()}


@pytest.mark.parametrize("dataset", ["mnist_tiny", "mnist", "celeba"])
def test_the_fourteen_entries_stand_on_every_data_set(dataset):
    assert set(PARAMS.recipes[dataset]) >= ROSTER
    profiles = {PARAMS.recipes[dataset][name].profile for name in ROSTER}
    assert profiles == ({"paper"} if dataset == "celeba" else {"tuned"})


@pytest.mark.parametrize("dataset", ["mnist_tiny", "celeba"])
def test_a_name_tells_the_profile_of_a_further_entry(dataset):
    for name, recipe in PARAMS.recipes[dataset].items():
        suffix = {"seed": ("_seed", "_as_coded"), "paper": ("_paper",)}.get(recipe.profile)
        if suffix and name not in ROSTER:
            assert name.endswith(suffix)
        if recipe.profile == "tuned":
            assert not name.endswith(("_seed", "_as_coded", "_paper"))


def test_at_64x64x3_shapes_are_those_everyone_agrees_on(colour):
    image = PARAMS.datasets["celeba"].shape
    with torch.device("meta"):
        gan = colour.method.build(image)
        images = gan.generator(torch.randn(4, colour.method.z_dim))
        judged = gan.critic(images)
    assert image == (3, 64, 64) and images.shape == (4, 3, 64, 64)
    if colour.method.kind == "ebgan":
        assert judged.reconstruction.shape == images.shape and len(judged.code) == 4
    else:
        assert judged.shape == (images.shape if colour.method.kind == "began" else (4,))


def test_at_64x64x3_no_critic_under_a_penalty_has_batch_statistics(colour):
    with torch.device("meta"):
        critic = colour.method.build(ImageShape(3, 64, 64)).critic
    assert not (colour.method.kind in PENALISED and has_batch_statistics(critic))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_at_64x64x3_every_entry_trains_two_steps_with_its_published_widths(colour, precision):
    image = ImageShape(3, 64, 64)
    changes = {"batch_size": 4} | ({"warmup": "none"} if hasattr(colour.method, "warmup") else {})
    method = colour.method.model_copy(update=changes)
    train = PARAMS.train.model_copy(update={"precision": precision})
    state = new_train_state(method, image, train, steps=2, seed=0, device=CPU)
    before = snapshot(state.gan.generator)
    real = torch.rand(4, *image, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = [read_scalars(scalars, state.step) for scalars in training_steps(state, iter(lambda: real, None))]
    assert len(rows) == 2 and rows[0].keys() == rows[1].keys()
    assert all(math.isfinite(value) for row in rows for value in row.values())
    # RMSprop of TensorFlow begins with lr * g, which rounding swallows in a gain of exactly 1.
    assert moved(state.gan.generator, before) >= {n for n, weight in before.items() if (weight != 1).any()}
    if method.kind == "wgan":
        assert max(parameter.abs().max().item() for parameter in state.gan.critic.parameters()) <= 0.01
