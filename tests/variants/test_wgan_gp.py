"""WGAN-GP: the penalty within the loss."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from tests.closed_forms import (
    SHAPES,
    Linear,
    Quadratic,
    Smooth,
    assert_gradient_is_a_finite_difference,
    gradients_one_by_one,
    objective_of,
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("norm", "expected"), [(3.0, 40.0), (1.0, 0.0), (0.5, 2.5)])
def test_the_penalty_is_added_to_minus_w(shape, norm, expected):
    critic, real, fake = Linear(shape, norm), torch.randn(4, *shape), torch.randn(4, *shape)
    loss, scalars = objective_of("wgan_gp").critic_loss(critic, real, fake)
    estimate = ((real - fake).flatten(1) @ critic.weight).mean().item()
    assert_close(loss.item(), expected - estimate, rtol=1e-5, atol=1e-5)
    assert_close(scalars["loss/critic"].item(), expected - estimate, rtol=1e-5, atol=1e-5)
    assert_close(scalars["critic/wasserstein"].item(), estimate, rtol=1e-5, atol=1e-5)
    assert_close(scalars["critic/penalty"].item(), expected, rtol=1e-5, atol=1e-9)
    assert_close(scalars["critic/gradient_norm"].item(), norm, rtol=1e-5, atol=0)


def test_the_generator_pays_no_penalty():
    loss, scalars = objective_of("wgan_gp").generator_loss(Linear((1, 2, 2), 3.0), torch.ones(4, 1, 2, 2))
    assert_close(loss.item(), 0.0, rtol=0, atol=1e-6)  # alternating signs: each score is 0
    assert set(scalars) == {"loss/generator"}


def test_the_points_are_those_between_real_and_fake_after_the_two_passes():
    critic = Quadratic()
    objective_of("wgan_gp").critic_loss(critic, torch.ones(4, 1, 2, 2), -torch.ones(4, 1, 2, 2))
    real, fake, between = critic.seen
    assert (real.unique().tolist(), fake.unique().tolist()) == ([1.0], [-1.0])
    assert between.abs().max() < 1 and len(between.unique()) == 4  # one place per sample


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_the_whole_loss_is_a_finite_difference(shape):
    critic, real, fake = Smooth(ImageShape(*shape)), torch.randn(3, *shape), torch.randn(3, *shape)
    loss, _ = objective_of("wgan_gp").critic_loss(critic, real, fake)
    points = critic.seen[2].double()

    def formula(twin: nn.Module) -> torch.Tensor:
        norms = gradients_one_by_one(twin, points).norm(dim=1)
        estimate = twin(real.double()).mean() - twin(fake.double()).mean()
        return 10 * ((norms - 1) ** 2).mean() - estimate.detach()

    assert_gradient_is_a_finite_difference(loss, critic, formula)


def test_the_networks_of_the_generator_get_no_gradient_from_the_penalty():
    image = ImageShape(1, 2, 2)
    generator, critic = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, image)), Smooth(image)
    fake = generator(torch.randn(5, 3))
    objective = objective_of("wgan_gp")
    objective.penalty(critic, torch.randn(5, *image), fake).penalty.backward()
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_five_critic_steps_in_the_paper_and_one_by_the_ancestor():
    assert objective_of("wgan_gp_paper").critic_steps(0) == 5
    assert objective_of("wgan_gp", "celeba").critic_steps(7) == 5
    assert objective_of("wgan_gp_seed", "celeba").critic_steps(7) == 1
