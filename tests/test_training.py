"""The loop's own arithmetic: the average, the schedule, the marks, the guard against divergence."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from gan.contract import Gan, ImageShape, SchedulePoint, TrainParams, VariantParams
from gan.errors import TrainingDiverged
from gan.networks.layers import derive_once
from gan.objectives.games import NonSaturating
from gan.randomness import derive_seed
from gan.training import (
    evenly_spaced_steps,
    finish_average,
    held_out_scalars,
    new_train_state,
    preview,
    read_scalars,
    set_learning_rates,
    training_steps,
    update_average,
    update_critic,
)

TRAIN = TrainParams(
    precision="fp32", num_threads=1, channels_last=False, ema_exponent=2.0, log_points=2, previews=1
)


class Toy(VariantParams):
    """One weight on each side: G(z) = w z, D(x) = v x."""

    def build(self, image: ImageShape) -> Gan:
        generator = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Unflatten(1, (1, 1, 1)))
        critic = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Flatten(0))
        return Gan(generator, critic, NonSaturating())


def toy_state(steps=10, kind_of=Toy, **changes):
    adam = {"kind": "adam", "lr": 0.1, "betas": (0.0, 0.9)}
    method = kind_of.model_validate(
        {
            "kind": "toy",
            "z_dim": 1,
            "noise": "normal",
            "batch_size": 2,
            "generator_optimizer": adam,
            "critic_optimizer": adam,
            "generator_noise": "fresh",
            "critic_batches": "fresh",
            "schedule": [],
            "rate_decay": None,
            "on_divergence": "stop",
            **changes,
        }
    )
    return new_train_state(
        method, ImageShape(1, 1, 1), TRAIN, steps=steps, seed=0, device=torch.device("cpu")
    )


def ones():
    while True:
        yield torch.ones(2, 1, 1, 1)


def noise_batches(n):
    stream = torch.Generator().manual_seed(0)
    while True:
        yield torch.randn(n, 1, 1, 1, generator=stream)


def test_the_first_step_replaces_the_average_and_later_ones_enter_with_the_stated_weight():
    state = toy_state()
    averaged, newest = state.averaged[0].weight, state.gan.generator[0].weight
    expected = []
    for step, value in enumerate([5.0, 1.0, 2.0]):
        state.step = step
        newest.data.fill_(value)
        update_average(state)
        expected.append(averaged.item())
    # exponent 2: weights 1 - 0, 1 - 1/4, 1 - 4/9
    second = 5.0 + (1.0 - 5.0) * 3 / 4
    assert expected == pytest.approx([5.0, second, second + (2.0 - second) * 5 / 9])


def test_scheduled_rates_hold_from_their_fraction_of_the_run_on():
    points = [{"from": 0.5, "critic_lr": 0.02}, {"from": 0.25, "generator_lr": 0.03}]
    state = toy_state(steps=8, schedule=points)
    seen = []
    for state.step in range(8):
        set_learning_rates(state)
        seen.append(
            (state.generator_optimizer.param_groups[0]["lr"], state.critic_optimizer.param_groups[0]["lr"])
        )
    assert seen == [(0.1, 0.1)] * 2 + [(0.03, 0.1)] * 2 + [(0.03, 0.02)] * 4


def test_a_rate_that_a_point_leaves_out_stays_as_it_was():
    point = SchedulePoint.model_validate({"from": 0.5, "critic_lr": 0.0})
    assert point.generator_lr is None and point.critic_lr == 0.0


@pytest.mark.parametrize("law", ["fresh", "reuse"])
def test_generator_noise_decides_whether_the_generator_draws_its_own(law):
    state = toy_state(generator_noise=law)
    drawn = []
    state.gan.generator.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0]))
    next(training_steps(state, ones()))
    assert len(drawn) == (2 if law == "fresh" else 1)
    if law == "fresh":
        assert not torch.equal(drawn[0], drawn[1])


def test_reused_fakes_give_the_generator_the_gradient_of_its_loss():
    state = toy_state(generator_noise="reuse")
    w = state.gan.generator[0].weight.item()
    drawn = []
    state.gan.generator.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0]))
    next(training_steps(state, ones()))
    noise, v = drawn[0].flatten(), state.gan.critic[1].weight.item()
    # L = mean softplus(-v w z), dL/dw = mean -v z sigmoid(-v w z), at the critic's new weight
    expected = (-v * noise * torch.sigmoid(-v * w * noise)).mean()
    assert_close(state.gan.generator[0].weight.grad.flatten()[0], expected)


class Patient(NonSaturating):
    """Three critic steps to a generator step."""

    def critic_steps(self, step: int) -> int:
        return 3


class Inner(Toy):
    def build(self, image: ImageShape) -> Gan:
        return super().build(image)._replace(objective=Patient())


def watched(state):
    """Images that the critic's loss was given, and noise that the generator was given, in order."""
    reals, noises, critic_loss = [], [], state.gan.objective.critic_loss

    def watching(critic, real, fake):
        reals.append(real.clone())
        return critic_loss(critic, real, fake)

    state.gan.objective.critic_loss = watching
    state.gan.generator.register_forward_pre_hook(lambda _, inputs: noises.append(inputs[0]))
    return reals, noises


def test_each_critic_step_has_a_batch_and_a_noise_of_its_own():
    state = toy_state(kind_of=Inner, generator_noise="reuse")
    reals, noises = watched(state)
    next(training_steps(state, noise_batches(2)))
    assert len(reals) == len(noises) == 3
    for seen in (reals, noises):
        assert not any(torch.equal(seen[i], seen[j]) for i, j in [(0, 1), (0, 2), (1, 2)])
    assert (state.batches_seen, state.images_seen) == (3, 6)


def test_repeated_batches_give_all_critic_steps_one_batch_and_one_noise():
    state = toy_state(kind_of=Inner, generator_noise="reuse", critic_batches="repeated")
    reals, noises = watched(state)
    running = training_steps(state, noise_batches(2))
    next(running)
    assert len(reals) == len(noises) == 3
    for seen in (reals, noises):
        assert torch.equal(seen[0], seen[1]) and torch.equal(seen[1], seen[2])
    assert (state.batches_seen, state.images_seen) == (1, 2)
    next(running)
    assert not torch.equal(reals[3], reals[2]) and not torch.equal(noises[3], noises[2])


def test_a_joint_step_moves_both_networks_by_gradients_at_the_same_point():
    state = toy_state(generator_noise="joint")
    generator, critic = state.gan.generator[0].weight, state.gan.critic[1].weight
    w, v = generator.item(), critic.item()
    _, noises = watched(state)
    next(training_steps(state, ones()))
    (noise,) = noises  # one forward pass
    z = noise.flatten()
    # At the old v: dL_G/dw = mean -v z sigmoid(-v w z); at the old w, real 1:
    # dL_D/dv = -sigmoid(-v) + mean w z sigmoid(v w z)
    assert_close(generator.grad.flatten()[0], (-v * z * torch.sigmoid(-v * w * z)).mean())
    at_real = -torch.sigmoid(torch.tensor(-v))
    assert_close(critic.grad.flatten()[0], at_real + (w * z * torch.sigmoid(v * w * z)).mean())
    assert generator.item() != w and critic.item() != v
    assert critic.requires_grad


def test_a_reused_noise_meets_the_critic_after_its_update_and_a_joint_one_before():
    gradients = {}
    for law in ("reuse", "joint"):
        state = toy_state(generator_noise=law)
        next(training_steps(state, ones()))
        gradients[law] = state.gan.generator[0].weight.grad.item()
    assert gradients["reuse"] != pytest.approx(gradients["joint"], rel=1e-2)


def test_the_generator_is_updated_once_after_all_critic_steps_and_the_critic_is_left_trainable():
    state, order = toy_state(kind_of=Inner), []
    state.critic_optimizer.register_step_post_hook(lambda *_: order.append("critic"))
    state.generator_optimizer.register_step_post_hook(lambda *_: order.append("generator"))
    running = training_steps(state, ones())
    for _ in range(2):
        next(running)
        assert state.gan.critic[1].weight.requires_grad
    assert order == (["critic"] * 3 + ["generator"]) * 2


def test_a_critic_step_learns_from_its_own_batch_alone_and_leaves_the_generator_without_gradient():
    state = toy_state()
    weight = state.gan.critic[1].weight
    for real, fake in [(1.0, 5.0), (2.0, -3.0)]:
        v = weight.detach().clone()
        images = state.draw_fakes(2, with_graph=False) * 0 + fake
        update_critic(state, torch.full((2, 1, 1, 1), real), images)
        # d/dv [softplus(-v real) + softplus(v fake)]
        expected = -real * torch.sigmoid(-v * real) + fake * torch.sigmoid(v * fake)
        assert_close(weight.grad, expected)
    assert state.gan.generator[0].weight.grad is None


@pytest.mark.parametrize("law", ["fresh", "reuse", "joint"])
def test_a_resumed_run_draws_what_an_uninterrupted_one_draws(law):
    straight = toy_state(steps=4, kind_of=Normalised, batch_size=8, generator_noise=law)
    running = training_steps(straight, constant(8))
    for _ in range(2):
        next(running)
    saved = copy.deepcopy(straight.state_dict())
    for _ in running:
        pass
    resumed = toy_state(steps=4, kind_of=Normalised, batch_size=8, generator_noise=law)
    resumed.load_state_dict(saved)
    torch.manual_seed(99)  # whatever else drew in between
    for _ in training_steps(resumed, constant(8)):
        pass
    assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


def test_an_update_draws_what_torch_draws_from_the_seed_of_its_purpose():
    state = toy_state(steps=4, kind_of=Normalised, batch_size=8)
    state.seed_draws("critic", 1)
    drawn = torch.rand(5)
    torch.manual_seed(derive_seed(state.seed, "critic", state.step, 1))
    assert torch.equal(drawn, torch.rand(5))


def constant(n):
    while True:
        yield torch.linspace(-1, 1, n).view(n, 1, 1, 1)


def rates(state):
    set_learning_rates(state)
    return tuple(
        optimizer.param_groups[0]["lr"] for optimizer in (state.generator_optimizer, state.critic_optimizer)
    )


def test_linear_decay_falls_to_zero_at_the_end_of_the_run():
    point = {"from": 0.5, "critic_lr": 0.02}
    state = toy_state(steps=4, rate_decay={"kind": "linear"}, schedule=[point])
    seen = []
    for state.step in range(4):
        seen.append(rates(state))
    # generator 0.1 * (1 - step / 4); critic the same until its base falls to 0.02
    assert seen == [
        pytest.approx(pair) for pair in [(0.1, 0.1), (0.075, 0.075), (0.05, 0.01), (0.025, 0.005)]
    ]


def test_exponential_decay_falls_at_every_so_many_steps_and_not_below_its_floor():
    decay = {"kind": "exponential", "factor": 0.5, "every": 3, "floor": 0.02}
    state = toy_state(steps=20, rate_decay=decay)
    seen = []
    for state.step in range(12):
        seen.append(rates(state)[0])
    assert seen == pytest.approx([0.1] * 3 + [0.05] * 3 + [0.025] * 3 + [0.02] * 3)  # not 0.0125


def test_a_rate_below_the_floor_is_not_lifted_to_it():
    decay = {"kind": "exponential", "factor": 0.5, "every": 3, "floor": 0.02}
    state = toy_state(steps=20, rate_decay=decay, schedule=[{"from": 0.5, "critic_lr": 0.01}])
    state.step = 12
    assert rates(state) == pytest.approx((0.02, 0.01))


def test_rates_follow_what_the_objective_has_measured():
    state = toy_state()
    state.gan.objective.rate_factor = lambda: 0.25
    assert rates(state) == pytest.approx((0.025, 0.025))


def test_training_sets_the_rates_before_each_step():
    state = toy_state(steps=4, schedule=[{"from": 0.5, "generator_lr": 0.0}])
    weights = [state.gan.generator[0].weight.item()]
    for _ in training_steps(state, ones()):
        weights.append(state.gan.generator[0].weight.item())
    assert len(set(weights[:3])) == 3 and len(set(weights[2:])) == 1  # it stands still from the third step on


def test_the_objective_is_told_how_far_the_run_has_come():
    told = []
    state = toy_state(steps=4)
    state.gan.objective.begin_step = told.append
    for _ in training_steps(state, ones()):
        pass
    assert told == [0.0, 0.25, 0.5, 0.75]


def test_the_objective_is_called_after_each_update():
    state, called = toy_state(kind_of=Inner), []
    state.gan.objective.after_critic_step = lambda critic: called.append("critic")
    state.gan.objective.after_generator_step = lambda: called.append("generator")
    next(training_steps(state, ones()))
    assert called == ["critic"] * 3 + ["generator"]


def test_a_state_holds_the_average_and_the_games_own_state():
    state = toy_state()
    state.gan.objective.state_dict = lambda: {"k": 0.5}
    next(training_steps(state, ones()))
    saved, twin = copy.deepcopy(state.state_dict()), toy_state()
    taken = []
    twin.gan.objective.load_state_dict = taken.append
    twin.load_state_dict(saved)
    assert taken == [{"k": 0.5}]
    assert torch.equal(twin.averaged[0].weight, state.averaged[0].weight)
    assert torch.equal(twin.gan.generator[0].weight, state.gan.generator[0].weight)
    assert (twin.step, twin.batches_seen, twin.images_seen) == (1, 1, 2)


def test_marks_are_evenly_spread_and_end_with_the_last_step():
    assert sorted(evenly_spaced_steps(4, 10)) == [2, 5, 8, 10]
    assert sorted(evenly_spaced_steps(200, 3)) == [1, 2, 3]
    assert max(evenly_spaced_steps(7, 1000)) == 1000 and len(evenly_spaced_steps(7, 1000)) == 7


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_scalar_that_is_not_finite_stops_the_run_and_is_named(value):
    with pytest.raises(TrainingDiverged, match="loss/critic is .* at step 7"):
        read_scalars({"loss/generator": torch.tensor(1.0), "loss/critic": torch.tensor(value)}, 7)


def test_previews_show_the_same_noise_and_change_nothing_of_the_run():
    with_previews, without = toy_state(), toy_state()
    for _ in training_steps(with_previews, ones()):
        preview(with_previews)
    for _ in training_steps(without, ones()):
        pass
    assert_close(with_previews.state_dict(), without.state_dict(), rtol=0, atol=0)
    assert torch.equal(preview(with_previews), preview(without))


class Normalised(Toy):
    """The same, with batch normalisation and dropout on both sides."""

    def build(self, image: ImageShape) -> Gan:
        generator = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Unflatten(1, (1, 1, 1)))
        critic = nn.Sequential(
            nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(1, 1), nn.Flatten(0)
        )
        return Gan(generator, critic, NonSaturating())


def test_held_out_scalars_change_nothing_of_the_run():
    looked, left = (toy_state(kind_of=Normalised, batch_size=8) for _ in range(2))
    for _ in training_steps(looked, noise_batches(8)):
        before = copy.deepcopy(looked.state_dict())
        assert held_out_scalars(looked, torch.full((8, 1, 1, 1), 3.0)).keys() == {"critic/held_out"}
        assert_close(looked.state_dict(), before, rtol=0, atol=0)  # weights, buffers, moments, counts
    for _ in training_steps(left, noise_batches(8)):
        pass
    assert_close(looked.state_dict(), left.state_dict(), rtol=0, atol=0)
    assert looked.gan.critic[0].running_mean.item() != 0  # training does move the statistics
    assert looked.gan.generator[1].running_mean.item() != 0


def test_the_average_gets_the_batch_statistics_of_its_own_weights_and_the_raw_generator_keeps_its_own():
    state = toy_state(kind_of=Normalised, batch_size=8)
    for _ in training_steps(state, noise_batches(8)):
        pass
    raw = copy.deepcopy(state.gan.generator.state_dict())
    finish_average(state)
    linear, norm = state.averaged[0], state.averaged[1]
    # w z + b with z from N(0, 1), over 2,000 draws
    assert_close(norm.running_mean, linear.bias, rtol=0, atol=0.1 * linear.weight.abs().item())
    assert_close(norm.running_var, linear.weight[0] ** 2, rtol=0.15, atol=0)
    assert_close(state.gan.generator.state_dict(), raw, rtol=0, atol=0)


@pytest.mark.parametrize("law", ["fresh", "reuse", "joint"])
def test_both_networks_are_in_training_mode_whenever_they_run(law):
    state, modes = toy_state(kind_of=Normalised, batch_size=8, generator_noise=law), []
    for network in (state.gan.generator, state.gan.critic):
        for module in network.modules():
            module.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    for _ in training_steps(state, noise_batches(8)):
        held_out_scalars(state, torch.ones(8, 1, 1, 1))
        preview(state)  # of the average, which is a network of its own
    assert modes and all(modes)


class Derived(nn.Linear):
    """A layer that keeps something derived from its weight, as the fast convolutions do."""

    def forward(self, rows):
        return functional.linear(rows, derive_once(self.weight, lambda: self.weight * 2))


class Deriving(Inner):
    """Both networks keep what they derive, and the critic takes several steps."""

    def build(self, image: ImageShape) -> Gan:
        generator = nn.Sequential(Derived(1, 1, bias=False), nn.Unflatten(1, (1, 1, 1)))
        critic = nn.Sequential(nn.Flatten(), Derived(1, 1, bias=False), nn.Flatten(0))
        return Gan(generator, critic, Patient())


@pytest.mark.parametrize("noise", ["fresh", "reuse", "joint"])
@pytest.mark.parametrize(
    "optimizer",
    [{"kind": "adam", "lr": 0.1, "betas": (0.0, 0.9)}, {"kind": "rmsprop", "lr": 0.1, "alpha": 0.9}],
)
def test_what_is_derived_from_a_weight_is_derived_again_after_its_update(monkeypatch, noise, optimizer):
    # Neither fused Adam nor clipping counts in a tensor's version, so that a stale kernel wouldn't show.
    rows = []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr("gan.training.keep_derived", nullcontext)
        state = toy_state(
            4, Deriving, generator_noise=noise, generator_optimizer=optimizer, critic_optimizer=optimizer
        )
        rows.append([read_scalars(scalars, 1) for scalars in training_steps(state, noise_batches(2))])
    assert rows[0] == rows[1]
