"""WGAN: the sign of W, the clip, the authors' schedule."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.training import new_train_state, update_critic
from gan.variants.wgan import clip_parameters
from tests.closed_forms import PARAMS, MeanCritic, method_of, objective_of, scores

REAL, FAKE = scores(4.0, 2.0), scores(1.0, -2.0)  # means 3 and -1/2


def test_the_critic_descends_minus_w_and_logs_w_with_real_high():
    loss, scalars = objective_of("wgan").critic_loss(MeanCritic(), REAL, FAKE)
    assert_close(loss.item(), -3.5, rtol=1e-6, atol=0)
    assert scalars["critic/wasserstein"].item() == 3.5
    assert (scalars["critic/real"].item(), scalars["critic/fake"].item()) == (3.0, -0.5)
    assert "critic/penalty" not in scalars


def test_the_generator_raises_the_score_of_its_fakes():
    loss, _ = objective_of("wgan").generator_loss(MeanCritic(), FAKE)
    assert_close(loss.item(), 0.5, rtol=1e-6, atol=0)


def test_w_of_held_out_images_has_the_sign_of_the_training_one():
    found = objective_of("wgan").held_out_scalars(MeanCritic(), REAL, FAKE)
    assert {name: value.item() for name, value in found.items()} == {"critic/wasserstein_held_out": 3.5}


def test_the_clip_covers_every_parameter_of_the_critic_and_no_buffer():
    critic = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(0.5)
        critic[0].bias.fill_(-0.5)
        critic[1].bias.fill_(-0.005)
    partial(clip_parameters, bound=0.01)(critic)
    assert critic[0].weight.unique().tolist() == pytest.approx([0.01])
    assert critic[0].bias.unique().tolist() == pytest.approx([-0.01])
    assert critic[1].weight.unique().tolist() == pytest.approx([0.01])  # the gain, crushed from 0.5
    assert critic[1].bias.unique().tolist() == pytest.approx([-0.005])  # inside: left alone
    assert critic[1].running_var.unique().tolist() == [1.0]


@pytest.mark.parametrize("bound", [0.01, 0.002])
def test_after_a_critic_step_every_weight_lies_inside_the_clip(bound):
    # Clipped before the update, weights would lie up to a step outside: RMSprop's first is 10 lr = 0.01.
    image = ImageShape(1, 28, 28)
    method = method_of("wgan", batch_size=4, clip=bound)
    state = new_train_state(method, image, PARAMS.train, steps=1, seed=0, device=torch.device("cpu"))
    assert max(weight.abs().max().item() for weight in state.gan.critic.parameters()) > bound
    update_critic(state, torch.rand(4, *image), state.draw_fakes(4, with_graph=False))
    for weight in state.gan.critic.parameters():
        assert weight.abs().max().item() <= bound * (1 + 1e-6)
    gains = [module.weight for module in state.gan.critic.modules() if isinstance(module, nn.BatchNorm2d)]
    assert gains and all(gain.unique().tolist() == pytest.approx([bound]) for gain in gains)
    variances = [
        module.running_var for module in state.gan.critic.modules() if hasattr(module, "running_var")
    ]
    assert all(variance.max().item() > bound for variance in variances)


def test_the_authors_schedule_is_100_for_25_steps_and_at_every_500th():
    objective = objective_of("wgan_paper")
    long = [step for step in range(1600) if objective.critic_steps(step) == 100]
    assert long == [*range(25), 500, 1000, 1500]
    assert {objective.critic_steps(step) for step in range(1600)} == {5, 100}


@pytest.mark.parametrize("entry", ["wgan", "wgan_mlp_seed"])
def test_without_it_every_step_has_the_same_number(entry):
    objective = objective_of(entry)
    assert {objective.critic_steps(step) for step in range(1600)} == {method_of(entry).critic_steps}
