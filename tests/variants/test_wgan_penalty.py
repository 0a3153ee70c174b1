"""The seven constraints of the penalty experiments, described and coded."""

import math
from math import e

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.variants.wgan_penalty import PENALTIES, saturate, scale_to_unit_norm
from tests.closed_forms import (
    SHAPES,
    Linear,
    MeanCritic,
    Quadratic,
    Smooth,
    assert_gradient_is_a_finite_difference,
    gradients_one_by_one,
    method_of,
    objective_of,
    scores,
)


def t(value):
    return 1 - math.exp(-((value / e) ** 2))


def penalty_of(constraint, critic, real, fake, weight=10.0):
    """The penalty, and the one number from N(0, 1) that it may have drawn first."""
    torch.manual_seed(3)
    place = torch.empty(()).normal_().item()
    torch.manual_seed(3)
    return PENALTIES[constraint](critic, real, fake, weight=weight), place


def test_the_entries_take_the_repaired_forms_and_the_further_ones_the_coded():
    constraints = {
        "wgan_l2": "unit_norm",
        "wgan_gauss": "saturating",
        "wgan_merged": "endpoints",
        "wgan_l2_as_coded": "weight_decay",
        "wgan_gauss_as_coded": "saturating_gradient",
        "wgan_gauss_on_em_seed": "saturating_estimate",
        "wgan_merged_as_coded": "merged_gradient",
    }
    assert {entry: method_of(entry).constraint for entry in constraints} == constraints
    schedules = {objective_of(entry).critic_steps(0) for entry in [*constraints, "wgan_gp"]}
    assert schedules == {2}  # the baseline's


class TestTransform:
    def test_it_is_even_from_0_at_0_to_1_far_away(self):
        values = torch.tensor([0.0, e, -e, 2.0, 100.0])
        expected = [0.0, 1 - 1 / e, 1 - 1 / e, t(2.0), 1.0]
        assert_close(saturate(values).tolist(), expected, rtol=1e-6, atol=1e-7)

    def test_near_0_it_is_the_square_over_e_squared_without_cancellation(self):
        assert_close(saturate(torch.tensor([1e-5])).item(), 1e-10 / e**2, rtol=1e-5, atol=0)


class TestUnitNorm:
    def test_after_a_critic_step_every_weight_tensor_has_norm_1_and_biases_stay(self):
        critic = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(4, 1))
        for parameter in critic.parameters():
            parameter.data.fill_(0.5)
        objective_of("wgan_l2").after_critic_step(critic)
        # 18 equal weights of square sum 1, 4 of them
        assert critic[0].weight.unique().tolist() == pytest.approx([1 / math.sqrt(18)])
        assert critic[3].weight.unique().tolist() == pytest.approx([1 / 2])
        for vector in (critic[0].bias, critic[1].weight, critic[1].bias, critic[3].bias):
            assert vector.unique().tolist() == [0.5]

    def test_weights_of_zero_stay_zero(self):
        critic = nn.Linear(2, 2, bias=False)
        critic.weight.data.zero_()
        scale_to_unit_norm(critic)
        assert critic.weight.unique().tolist() == [0]

    def test_there_is_no_penalty(self):
        loss, scalars = objective_of("wgan_l2").critic_loss(MeanCritic(), scores(4.0, 2.0), scores(1.0, 1.0))
        assert loss.item() == -2 and "critic/penalty" not in scalars


class TestWeightDecay:
    def test_it_is_half_a_hundred_millionth_of_all_squares_whatever_the_weight(self):
        critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0))
        critic[1].weight.data.copy_(torch.tensor([[1e4, -2e4, 0.0, 3e4]]))
        critic[1].bias.data.fill_(4e4)  # biases too
        for weight in (10.0, 1000.0):
            penalised, _ = penalty_of("weight_decay", critic, torch.ones(2, 1, 2, 2), None, weight)
            assert_close(penalised.penalty.item(), 0.5e-8 * 30e8, rtol=1e-6, atol=0)
            assert_close(penalised.norms.tolist(), [math.sqrt(14e8)] * 2, rtol=1e-6, atol=0)

    def test_its_gradient_is_a_finite_difference(self):
        critic = Smooth(ImageShape(1, 2, 3))
        for parameter in critic.parameters():
            parameter.data.mul_(1e7)
        penalised, _ = penalty_of("weight_decay", critic, torch.randn(2, 1, 2, 3), None)

        def formula(twin):
            return 0.5e-8 * sum((weight**2).sum() for weight in twin.parameters())

        loss = penalised.penalty
        loss.backward()
        for parameter in critic.parameters():
            assert_close(parameter.grad, 1e-8 * parameter.detach())
        assert_close(loss.double(), formula(critic).double(), rtol=1e-5, atol=0)


class TestSaturating:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("norm", [3.0, 1.0, 0.5, 40.0])
    def test_a_linear_critic_pays_weight_times_t_of_the_excess(self, shape, norm):
        critic = Linear(shape, norm)
        penalised, _ = penalty_of("saturating", critic, torch.randn(4, *shape), torch.randn(4, *shape))
        assert_close(penalised.penalty.item(), 10 * t(norm - 1), rtol=2e-5, atol=1e-9)
        assert_close(penalised.norms, torch.full((4,), norm), rtol=1e-5, atol=0)

    def test_it_is_taken_at_one_place_per_sample_between_real_and_fake(self):
        critic = Quadratic()
        penalty_of("saturating", critic, torch.ones(64, 1, 2, 2), torch.zeros(64, 1, 2, 2))
        places = critic.seen[0].flatten(1)
        assert bool((places == places[:, :1]).all()) and len(places[:, 0].unique()) == 64
        assert 0 <= places.min() < 0.2 < 0.8 < places.max() <= 1

    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_gradient_is_a_finite_difference(self, shape):
        critic = Smooth(ImageShape(*shape))
        penalised, _ = penalty_of("saturating", critic, torch.randn(3, *shape), torch.randn(3, *shape))
        points = critic.seen[0].double()

        def formula(twin):
            norms = gradients_one_by_one(twin, points).norm(dim=1)
            return 10 * (1 - torch.exp(-(((norms - 1) / e) ** 2))).mean()

        assert_gradient_is_a_finite_difference(penalised.penalty, critic, formula)


class TestSaturatingEstimate:
    def test_the_critic_gains_t_of_w_and_logs_w(self):
        objective = objective_of("wgan_gauss_on_em_seed")
        loss, scalars = objective.critic_loss(MeanCritic(), scores(4.0, 2.0), scores(1.0, 1.0))
        assert_close(loss.item(), -t(2.0), rtol=1e-6, atol=0)
        assert scalars["critic/wasserstein"].item() == 2 and "critic/penalty" not in scalars


class TestSaturatingGradient:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("norm", [3.0, 0.5, 100.0])
    def test_a_linear_critic_pays_for_the_distance_of_t_of_each_component_from_1(self, shape, norm):
        component = norm / math.sqrt(math.prod(shape))
        penalised, _ = penalty_of(
            "saturating_gradient", Linear(shape, norm), torch.randn(4, *shape), torch.randn(4, *shape)
        )
        assert_close(penalised.penalty.item(), 10 * (t(component) - 1) ** 2, rtol=1e-5, atol=1e-12)
        assert_close(penalised.norms, torch.full((4,), norm), rtol=1e-5, atol=0)

    def test_at_a_flat_point_it_is_a_constant_and_far_away_nothing(self):
        images = torch.randn(2, 1, 2, 2)
        flat, _ = penalty_of("saturating_gradient", Linear((1, 2, 2), 0.0), images, images)
        steep, _ = penalty_of("saturating_gradient", Linear((1, 2, 2), 1e3), images, images)
        assert_close(flat.penalty.item(), 10.0, rtol=1e-6, atol=0)
        assert steep.penalty.item() == 0

    def test_it_is_taken_at_one_place_from_n01_for_the_whole_batch(self):
        critic = Quadratic()
        _, place = penalty_of("saturating_gradient", critic, torch.zeros(8, 1, 2, 2), torch.ones(8, 1, 2, 2))
        assert critic.seen[0].unique().tolist() == pytest.approx([place])  # place * fake

    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_gradient_is_a_finite_difference(self, shape):
        critic = Smooth(ImageShape(*shape))
        penalised, _ = penalty_of(
            "saturating_gradient", critic, torch.randn(3, *shape), torch.randn(3, *shape)
        )
        points = critic.seen[0].double()

        def formula(twin):
            found = gradients_one_by_one(twin, points)
            return 10 * ((1 - torch.exp(-((found / e) ** 2))).mean() - 1) ** 2

        assert_gradient_is_a_finite_difference(penalised.penalty, critic, formula)


class TestEndpoints:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize(("norm", "expected"), [(3.0, 40.0), (1.0, 0.0), (0.5, 2.5)])
    def test_a_linear_critic_pays_weight_times_the_squared_excess(self, shape, norm, expected):
        penalised, _ = penalty_of(
            "endpoints", Linear(shape, norm), torch.randn(4, *shape), torch.randn(4, *shape)
        )
        assert_close(penalised.penalty.item(), expected, rtol=1e-5, atol=1e-9)

    def test_it_is_the_mean_over_real_and_fake_images_together(self):
        # |grad| = |x|: 2 and 4 at reals, 3 and 7 at fakes; squared excesses 1, 9, 4, 36
        real, fake = (torch.tensor(norms).view(2, 1, 1, 1) for norms in ([2.0, 4.0], [3.0, -7.0]))
        penalised, _ = penalty_of("endpoints", Quadratic(), real, fake)
        assert_close(penalised.penalty.item(), 10 * (1 + 9 + 4 + 36) / 4, rtol=1e-5, atol=0)
        assert_close(penalised.norms.tolist(), [2.0, 4.0, 3.0, 7.0], rtol=1e-6, atol=0)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_gradient_is_a_finite_difference(self, shape):
        critic, real, fake = Smooth(ImageShape(*shape)), torch.randn(3, *shape), torch.randn(3, *shape)
        penalised, _ = penalty_of("endpoints", critic, real, fake)
        points = torch.cat([real, fake]).double()

        def formula(twin):
            return 10 * ((gradients_one_by_one(twin, points).norm(dim=1) - 1) ** 2).mean()

        assert_gradient_is_a_finite_difference(penalised.penalty, critic, formula)


class TestMergedGradient:
    def test_it_is_of_a_mixture_of_the_gradients_at_both_with_one_place(self):
        # gradient = x: place * fake + (1 - place) * real
        real, fake = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1), torch.tensor([4.0, -3.0]).view(2, 1, 1, 1)
        penalised, place = penalty_of("merged_gradient", Quadratic(), real, fake)
        mixed = [place * 4 + (1 - place) * 1, place * -3 + (1 - place) * 2]
        expected = 10 * ((t(mixed[0]) + t(mixed[1])) / 2 - 1) ** 2
        assert_close(penalised.penalty.item(), expected, rtol=1e-5, atol=0)
        assert_close(penalised.norms.tolist(), [abs(value) for value in mixed], rtol=1e-5, atol=0)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_linear_critic_pays_what_it_pays_anywhere(self, shape):
        component = 3 / math.sqrt(math.prod(shape))
        penalised, _ = penalty_of(
            "merged_gradient", Linear(shape, 3.0), torch.randn(4, *shape), torch.randn(4, *shape)
        )
        assert_close(penalised.penalty.item(), 10 * (t(component) - 1) ** 2, rtol=1e-5, atol=0)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_gradient_is_a_finite_difference(self, shape):
        critic, real, fake = Smooth(ImageShape(*shape)), torch.randn(3, *shape), torch.randn(3, *shape)
        penalised, place = penalty_of("merged_gradient", critic, real, fake)

        def formula(twin):
            at_fake, at_real = (gradients_one_by_one(twin, images.double()) for images in (fake, real))
            mixed = place * at_fake + (1 - place) * at_real
            return 10 * ((1 - torch.exp(-((mixed / e) ** 2))).mean() - 1) ** 2

        assert_gradient_is_a_finite_difference(penalised.penalty, critic, formula)
