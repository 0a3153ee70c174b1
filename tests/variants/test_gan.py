"""The vanilla loss on perceptrons and on the convolutional pair."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from tests.closed_forms import MeanCritic, method_of, objective_of, scores

REAL, FAKE = scores(0.0, math.log(3)), scores(math.log(3), -math.log(7))  # sigmoid 1/2, 3/4; 3/4, 1/8


@pytest.mark.parametrize("entry", ["gan", "dcgan"])
def test_the_critic_sums_two_mean_cross_entropies_on_logits(entry):
    loss, scalars = objective_of(entry).critic_loss(MeanCritic(), REAL, FAKE)
    expected = -(math.log(1 / 2) + math.log(3 / 4)) / 2 - (math.log(1 / 4) + math.log(7 / 8)) / 2
    assert_close(loss.item(), expected, rtol=1e-6, atol=0)
    assert_close(scalars["loss/critic"].item(), expected, rtol=1e-6, atol=0)
    assert_close(scalars["critic/real"].item(), math.log(3) / 2)
    assert_close(scalars["critic/fake"].item(), (math.log(3) - math.log(7)) / 2)
    assert "critic/penalty" not in scalars


@pytest.mark.parametrize("entry", ["gan", "dcgan"])
def test_the_generator_does_not_saturate(entry):
    loss, _ = objective_of(entry).generator_loss(MeanCritic(), FAKE)
    assert_close(loss.item(), -(math.log(3 / 4) + math.log(1 / 8)) / 2, rtol=1e-6, atol=0)
    # Where the critic is sure of a fake (D = sigmoid(-20)) the slope is that of the label, not 0.
    sure = scores(-20.0).requires_grad_()
    objective_of(entry).generator_loss(MeanCritic(), sure)[0].backward()
    assert_close(sure.grad.item(), -1.0, rtol=1e-6, atol=0)


def test_real_and_fake_go_through_the_critic_apart():
    critic = MeanCritic()
    objective_of("dcgan").critic_loss(critic, REAL, FAKE)
    assert [images.flatten().tolist() for images in critic.seen] == [
        REAL.flatten().tolist(),
        FAKE.flatten().tolist(),
    ]


def test_each_is_normalised_by_its_own_statistics():
    critic = method_of("dcgan").build(ImageShape(1, 28, 28)).critic
    counts = [module for module in critic.modules() if isinstance(module, nn.BatchNorm2d)]
    assert counts
    objective_of("dcgan").critic_loss(critic, torch.rand(4, 1, 28, 28), -torch.rand(4, 1, 28, 28))
    assert {int(module.num_batches_tracked) for module in counts} == {2}


def test_held_out_images_are_scored_and_nothing_else():
    found = objective_of("gan").held_out_scalars(MeanCritic(), REAL, FAKE)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"critic/held_out": math.log(3) / 2}
    )
