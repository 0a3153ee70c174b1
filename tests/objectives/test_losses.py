"""Losses against values computed by hand."""

import math

import torch
from torch.testing import assert_close

from gan.objectives import losses


def test_non_saturating_critic_loss_is_the_sum_of_two_mean_cross_entropies():
    real, fake = torch.tensor([0.0, math.log(3)]), torch.tensor([math.log(3), -math.log(7)])
    # sigmoid: real 1/2 and 3/4, fake 3/4 and 1/8
    expected = -(math.log(1 / 2) + math.log(3 / 4)) / 2 - (math.log(1 / 4) + math.log(7 / 8)) / 2
    assert_close(losses.non_saturating_critic_loss(real, fake).item(), expected, rtol=1e-6, atol=0)


def test_non_saturating_generator_loss_is_the_cross_entropy_against_real():
    fake = torch.tensor([math.log(3), -math.log(7)])  # sigmoid 3/4 and 1/8
    expected = -(math.log(3 / 4) + math.log(1 / 8)) / 2
    assert_close(losses.non_saturating_generator_loss(fake).item(), expected, rtol=1e-6, atol=0)


def test_non_saturating_losses_stay_finite_for_logits_of_a_thousand():
    far = torch.tensor([1000.0, -1000.0])
    assert_close(losses.non_saturating_critic_loss(far, far).item(), 1000.0)
    assert_close(losses.non_saturating_generator_loss(far).item(), 500.0)


def test_wasserstein_estimate_is_high_when_real_scores_are():
    assert losses.wasserstein_estimate(torch.tensor([4.0, 2.0]), torch.tensor([1.0, -2.0])).item() == 3.5
