"""DRAGAN: the vanilla loss, and a penalty around real images on the gradient of logits."""

import math

import pytest
import torch
from torch.testing import assert_close

from tests.closed_forms import SHAPES, Linear, Quadratic, objective_of


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("norm", "expected"), [(3.0, 40.0), (1.0, 0.0), (0.5, 2.5)])
def test_the_penalty_is_added_to_the_cross_entropies(shape, norm, expected):
    critic, real, fake = Linear(shape, norm), torch.randn(4, *shape), torch.randn(4, *shape)
    loss, scalars = objective_of("dragan").critic_loss(critic, real, fake)
    on_real = [math.log1p(math.exp(-logit)) for logit in (real.flatten(1) @ critic.weight).tolist()]
    on_fake = [math.log1p(math.exp(logit)) for logit in (fake.flatten(1) @ critic.weight).tolist()]
    assert_close(loss.item(), sum(on_real) / 4 + sum(on_fake) / 4 + expected, rtol=1e-5, atol=1e-5)
    assert_close(scalars["critic/penalty"].item(), expected, rtol=1e-5, atol=1e-9)
    assert_close(scalars["critic/gradient_norm"].item(), norm, rtol=1e-5, atol=0)


def test_it_is_the_gradient_of_logits_which_does_not_vanish_where_the_critic_is_sure():
    shape = (1, 4, 4)
    critic = Linear(shape, 3.0)
    sure = 20 * critic.weight.detach().view(1, *shape).repeat(4, 1, 1, 1)  # logits 20 * |w|^2 = 180
    assert_close(critic(sure), torch.full((4,), 180.0), rtol=1e-5, atol=0)
    _, scalars = objective_of("dragan").critic_loss(critic, sure, sure)
    assert_close(scalars["critic/penalty"].item(), 40.0, rtol=1e-5, atol=0)


def test_points_lie_near_the_real_images_and_on_both_sides_of_them():
    critic = Quadratic()
    real = torch.linspace(-1, 1, 4 * 3 * 64).view(4, 3, 8, 8)
    objective_of("dragan").critic_loss(critic, real, torch.full_like(real, 9.0))
    moves = critic.seen[2] - real
    deviation = real.std(correction=0).item()  # of the whole batch
    assert 0.4 * deviation < moves.max() <= 0.5 * deviation + 1e-6
    assert -0.5 * deviation - 1e-6 <= moves.min() < -0.4 * deviation


def test_the_ancestors_entry_takes_columns_and_moves_whole_images():
    shape = (3, 64, 64)
    critic = Linear(shape, math.sqrt(192))
    _, scalars = objective_of("dragan_seed", "celeba").critic_loss(
        critic, torch.rand(2, *shape) - 0.5, torch.rand(2, *shape)
    )
    assert_close(scalars["critic/penalty"].item(), 0.0, rtol=0, atol=1e-8)  # content with norm 13.9
    assert_close(scalars["critic/gradient_norm"].item(), math.sqrt(192), rtol=1e-5, atol=0)
    moves = (critic.seen[2] - critic.seen[0]).flatten(1)
    assert bool(((moves >= 0).all(1) | (moves <= 0).all(1)).all())


def test_the_generator_pays_no_penalty():
    loss, scalars = objective_of("dragan").generator_loss(Linear((1, 2, 2), 3.0), torch.ones(4, 1, 2, 2))
    assert_close(loss.item(), math.log(2), rtol=1e-6, atol=0)  # logits 0
    assert set(scalars) == {"loss/generator"}
