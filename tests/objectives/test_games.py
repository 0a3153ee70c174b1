"""Objectives: what they compute with a critic, when they train it, how they constrain it."""

import math

import torch
from torch import nn
from torch.testing import assert_close

from gan.objectives.games import NonSaturating, Wasserstein
from gan.objectives.penalties import Penalised


class MeanCritic(nn.Module):
    """D(x) = the mean of x."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).mean(1)


REAL = torch.tensor([0.0, math.log(3)]).view(2, 1, 1, 1)
FAKE = torch.tensor([math.log(3), -math.log(7)]).view(2, 1, 1, 1)


def test_non_saturating_logs_the_mean_logits_of_both_sides():
    loss, scalars = NonSaturating().critic_loss(MeanCritic(), REAL, FAKE)
    expected = -(math.log(1 / 2) + math.log(3 / 4)) / 2 - (math.log(1 / 4) + math.log(7 / 8)) / 2
    assert_close(loss.item(), expected)
    assert_close(scalars["critic/real"].item(), math.log(3) / 2)
    assert_close(scalars["critic/fake"].item(), (math.log(3) - math.log(7)) / 2)


def test_wasserstein_critic_descends_fake_minus_real_and_logs_real_minus_fake():
    loss, scalars = Wasserstein(1).critic_loss(MeanCritic(), REAL, FAKE)
    estimate = math.log(3) / 2 - (math.log(3) - math.log(7)) / 2
    assert_close(loss.item(), -estimate)
    assert_close(scalars["critic/wasserstein"].item(), estimate)


def test_wasserstein_adds_its_penalty_to_the_loss_and_not_to_the_estimate():
    def penalty(critic, real, fake):
        return Penalised(torch.tensor(7.0), torch.tensor([2.0, 4.0]))

    loss, scalars = Wasserstein(1, penalty=penalty).critic_loss(MeanCritic(), REAL, FAKE)
    estimate = math.log(7) / 2
    assert_close(loss.item(), 7.0 - estimate)
    assert_close(scalars["loss/critic"].item(), 7.0 - estimate)
    assert_close(scalars["critic/wasserstein"].item(), estimate)
    assert scalars["critic/penalty"].item() == 7.0
    assert scalars["critic/gradient_norm"].item() == 3.0


def test_wasserstein_generator_raises_the_score_of_its_fakes():
    loss, _ = Wasserstein(1).generator_loss(MeanCritic(), FAKE)
    assert_close(loss.item(), -(math.log(3) - math.log(7)) / 2)


def test_non_saturating_adds_its_penalty_to_the_loss():
    def penalty(critic, real, fake):
        return Penalised(torch.tensor(7.0), torch.tensor([2.0, 4.0]))

    loss, scalars = NonSaturating(penalty=penalty).critic_loss(MeanCritic(), REAL, FAKE)
    without, _ = NonSaturating().critic_loss(MeanCritic(), REAL, FAKE)
    assert_close(loss.item(), without.item() + 7.0)
    assert_close(scalars["loss/critic"].item(), without.item() + 7.0)
    assert scalars["critic/penalty"].item() == 7.0
    assert scalars["critic/gradient_norm"].item() == 3.0


def test_wasserstein_gains_the_transform_of_its_estimate_and_logs_the_estimate():
    objective = Wasserstein(1, transform=lambda estimate: 10 * estimate)
    loss, scalars = objective.critic_loss(MeanCritic(), REAL, FAKE)
    assert_close(loss.item(), -10 * math.log(7) / 2)
    assert_close(scalars["critic/wasserstein"].item(), math.log(7) / 2)


def test_wasserstein_imposes_its_constraint_on_the_critic_when_it_has_one():
    imposed = []
    Wasserstein(1, constraint=imposed.append).after_critic_step(critic := MeanCritic())
    Wasserstein(1).after_critic_step(critic)
    assert imposed == [critic]


def test_scalars_carry_no_graph():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.Flatten(0))
    for objective in (NonSaturating(), Wasserstein(1)):
        _, scalars = objective.critic_loss(critic, REAL, FAKE)
        _, more = objective.generator_loss(critic, FAKE)
        assert not any(value.requires_grad for value in {**scalars, **more}.values())
