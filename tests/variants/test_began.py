"""BEGAN: its losses, the balance held by k, and rates that fall when it stalls."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.training import new_train_state, set_learning_rates, training_steps
from gan.variants.began import Balance, BoundaryEquilibrium, Held, Plateau, Stall
from tests.closed_forms import PARAMS, method_of, objective_of


class Fixed(nn.Module):
    """AE(x) = x - error: every image has this error in every pixel, which may be changed."""

    def __init__(self, error=0.0):
        super().__init__()
        self.error = error

    def forward(self, images):
        return images - self.error


class Scaling(nn.Module):
    """AE(x) = factor * x."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        return self.factor * images


def game(**changes) -> BoundaryEquilibrium:
    values = {"exponent": 1, "gamma": 0.5, "k_rate": 0.1, "schedule": [], "stall": None}
    return objective_of("began", **values | changes)


def images(*values):
    return torch.tensor(values).view(-1, 1, 1, 1)


def play(objective, real, of_critic, of_generator):
    """One step in which all energies are given: L(x), L(G(z)) of the critic's and of the generator's step."""
    critic = Pair(real, of_critic)
    objective.critic_loss(critic, torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2))
    _, scalars = objective.generator_loss(Fixed(of_generator), torch.zeros(2, 1, 2, 2))
    objective.after_generator_step()
    return scalars


class Pair(nn.Module):
    """The first call has one error, the second another."""

    def __init__(self, *errors):
        super().__init__()
        self.errors = list(errors)

    def forward(self, images):
        return images - self.errors.pop(0)


@pytest.mark.parametrize(("exponent", "of_real", "of_fake"), [(1, 0.75, 1.5), (2, 0.625, 2.5)])
def test_the_loss_is_the_mean_over_pixels_of_the_error_to_a_power(exponent, of_real, of_fake):
    # Errors of x/2: reals 0.5 and 1.0, fakes 1.0 and 2.0.
    objective = game(exponent=exponent)
    objective.k = Held(0.3)
    loss, scalars = objective.critic_loss(Scaling(0.5), images(1.0, -2.0), images(2.0, 4.0))
    assert_close(loss.item(), of_real - 0.3 * of_fake, rtol=1e-6, atol=0)
    assert_close(scalars["critic/energy_real"].item(), of_real)
    assert_close(scalars["critic/energy_fake"].item(), of_fake)
    loss, _ = objective.generator_loss(Scaling(0.5), images(2.0, 4.0))
    assert_close(loss.item(), of_fake, rtol=1e-6, atol=0)


def test_the_generators_gradient_flows_through_the_image_and_through_its_reconstruction():
    # |x - x/4| has slope 3/4; with the target detached -1/4.
    objective, fake = game(), images(2.0, 4.0).requires_grad_()
    objective.critic_loss(Scaling(0.25), images(1.0), images(1.0))
    objective.generator_loss(Scaling(0.25), fake)[0].backward()
    assert_close(fake.grad.flatten(), torch.tensor([0.375, 0.375]))  # the mean over two


def test_k_follows_the_balance_of_the_generators_step():
    objective = game()
    scalars = play(objective, real=1.0, of_critic=9.0, of_generator=0.2)
    assert scalars["began/k"].item() == 0  # before the update
    assert_close(scalars["began/balance"].item(), 0.5 * 1.0 - 0.2)
    assert_close(scalars["began/measure"].item(), 1.0 + 0.3)
    assert_close(objective.k.read(), 0.1 * 0.3)
    scalars = play(objective, real=0.4, of_critic=9.0, of_generator=0.3)
    assert_close(scalars["began/k"].item(), 0.03)
    assert_close(scalars["began/balance"].item(), 0.2 - 0.3)
    assert_close(scalars["began/measure"].item(), 0.4 + 0.1)  # the balance's size, not its sign
    assert_close(objective.k.read(), 0.03 - 0.1 * 0.1)


def test_k_follows_the_critics_step_where_the_ancestor_has_it():
    objective = game(balance_from="critic_step")
    scalars = play(objective, real=1.0, of_critic=0.2, of_generator=9.0)
    assert_close(scalars["began/balance"].item(), 0.5 * 1.0 - 0.2)
    assert_close(objective.k.read(), 0.1 * 0.3)
    assert objective_of("began_seed", "celeba").params.balance_from == "critic_step"
    assert objective_of("began", "celeba").params.balance_from == "generator_step"


def test_k_stays_in_zero_to_one():
    objective = game(k_rate=10.0)
    play(objective, real=1.0, of_critic=0.0, of_generator=0.2)  # 0 + 10 * 0.3
    assert objective.k.read() == 1
    play(objective, real=1.0, of_critic=0.0, of_generator=0.9)  # 1 - 10 * 0.4
    assert objective.k.read() == 0
    play(objective, real=1.0, of_critic=0.0, of_generator=0.45)  # 0 + 10 * 0.05
    assert_close(objective.k.read(), 0.5, rtol=1e-6, atol=0)


def test_the_critic_descends_with_the_k_that_was_reached():
    objective = game(k_rate=1.0)
    play(objective, real=1.0, of_critic=0.0, of_generator=0.2)  # k = 0.3
    loss, _ = objective.critic_loss(Pair(2.0, 5.0), images(0.0), images(0.0))
    assert_close(loss.item(), 2.0 - 0.3 * 5.0, rtol=1e-6, atol=0)


def test_gamma_and_the_rate_of_k_change_along_the_run():
    point = Balance.model_validate({"from": 0.33, "gamma": 1.0, "k_rate": 0.2})
    objective = game(schedule=[point])
    objective.begin_step(0.32)
    assert (objective.gamma.value, objective.k_rate.value) == (0.5, 0.1)
    objective.begin_step(0.33)
    scalars = play(objective, real=1.0, of_critic=0.0, of_generator=0.2)
    assert_close(scalars["began/balance"].item(), 1.0 - 0.2)
    assert_close(objective.k.read(), 0.2 * 0.8)


def test_the_share_of_pixels_outside_is_logged():
    objective = game()
    objective.critic_loss(Fixed(1.0), images(0.0), images(0.0))
    _, scalars = objective.generator_loss(Fixed(1.0), images(0.5, -1.0, 1.01, -3.0))
    assert scalars["generator/outside"].item() == 0.5  # 1 itself is inside


def test_held_out_images_have_an_energy():
    found = game().held_out_scalars(Scaling(0.5), images(1.0, 2.0), images(9.0))
    assert {name: value.item() for name, value in found.items()} == {"critic/energy_held_out": 0.75}


def test_a_saved_game_has_k_and_what_is_known_of_m():
    objective = game(stall=Stall(factor=0.5, patience=3))
    for generator in (0.2, 0.3, 0.1):
        play(objective, real=1.0, of_critic=0.0, of_generator=generator)
    twin = game(stall=Stall(factor=0.5, patience=3))
    twin.load_state_dict(objective.state_dict())
    assert twin.k.read() == objective.k.read() == pytest.approx(0.1 * (0.3 + 0.2 + 0.4))
    assert twin.plateau.state_dict() == objective.plateau.state_dict()
    after = [play(each, real=1.0, of_critic=0.0, of_generator=0.4) for each in (objective, twin)]
    assert twin.k.read() == objective.k.read()
    assert after[0] == after[1] and twin.plateau.state_dict() == objective.plateau.state_dict()


def test_a_resumed_run_goes_on_with_its_k():
    image, method = ImageShape(1, 28, 28), method_of("began", batch_size=4, k_rate=0.5)

    def batches(start):
        while True:
            yield torch.rand(4, *image, generator=torch.Generator().manual_seed(start)) * 2 - 1
            start += 1

    def state_of():
        return new_train_state(method, image, PARAMS.train, steps=2, seed=0, device=torch.device("cpu"))

    straight = state_of()
    running = training_steps(straight, batches(0))
    next(running)
    saved = copy.deepcopy(straight.state_dict())
    assert 0 < saved["objective"]["k"] < 1
    next(running)
    resumed = state_of()
    resumed.load_state_dict(saved)
    next(training_steps(resumed, batches(1)))
    assert resumed.gan.objective.k.read() == straight.gan.objective.k.read()
    for one, other in zip(resumed.gan.critic.parameters(), straight.gan.critic.parameters(), strict=True):
        assert torch.equal(one, other)


class TestStall:
    def test_the_running_mean_of_m_begins_with_the_first_and_moves_by_a_hundredth(self):
        plateau, stall = Plateau(), Stall(factor=0.5, patience=100)
        plateau.update(torch.tensor(2.0), stall)
        assert plateau.state_dict() == {"measure": 2.0, "lowest": 2.0, "waited": 0, "factor": 1}
        plateau.update(torch.tensor(1.0), stall)
        mean = pytest.approx(0.99 * 2.0 + 0.01 * 1.0)
        assert plateau.state_dict() == {"measure": mean, "lowest": mean, "waited": 0, "factor": 1}

    def test_the_rates_are_halved_after_so_many_steps_without_a_new_low(self):
        plateau, stall = Plateau(), Stall(factor=0.5, patience=3)
        factors = []
        for measure in [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 2.0, 2.0, 2.0]:
            plateau.update(torch.tensor(measure), stall)
            factors.append(float(plateau.factor))
        # 1.0 is no new low after itself: waits of 1, 2, 3 halve, then again; two falls begin anew.
        assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.125]

    def test_both_rates_follow_the_factor(self):
        method = method_of("began", stall=Stall(factor=0.5, patience=1), batch_size=2, schedule=[])
        state = new_train_state(
            method, ImageShape(1, 28, 28), PARAMS.train, steps=4, seed=0, device=torch.device("cpu")
        )
        for measure, expected in [(1.0, 1e-3), (1.0, 5e-4), (2.0, 2.5e-4)]:
            state.gan.objective.plateau.update(torch.tensor(measure), method.stall)
            set_learning_rates(state)
            for optimizer in (state.generator_optimizer, state.critic_optimizer):
                assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)

    def test_m_is_followed_only_where_rates_depend_on_it(self):
        objective = game()
        play(objective, real=1.0, of_critic=0.0, of_generator=0.2)
        assert math.isnan(objective.plateau.state_dict()["measure"]) and objective.rate_factor() == 1
        objective = game(stall=Stall(factor=0.5, patience=1))
        for _ in range(2):
            play(objective, real=1.0, of_critic=0.0, of_generator=0.2)
        assert objective.plateau.state_dict()["measure"] == pytest.approx(1.3)
        assert objective.rate_factor() == 0.5
