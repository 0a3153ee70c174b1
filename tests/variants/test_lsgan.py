"""Least squares by hand, for both published sets of targets."""

import pytest
from torch.testing import assert_close

from gan.variants.lsgan import Targets
from tests.closed_forms import MeanCritic, objective_of, scores

REAL, FAKE = scores(0.5, 2.0), scores(-1.0, 3.0)
LABELS = {"a": 0.0, "b": 1.0, "c": 1.0}
PEARSON = {"a": -1.0, "b": 1.0, "c": 0.0}


@pytest.mark.parametrize(
    ("targets", "on_real", "on_fake", "of_generator"),
    [
        # (0.25 + 1) / 2 / 2;            (1 + 9) / 2 / 2;         (4 + 4) / 2 / 2
        (LABELS, 0.3125, 2.5, 2.0),
        # the same;                      (0 + 16) / 2 / 2;        (1 + 9) / 2 / 2
        (PEARSON, 0.3125, 4.0, 2.5),
    ],
)
def test_losses_are_half_mean_squares_of_raw_scores_against_a_b_and_c(
    targets, on_real, on_fake, of_generator
):
    objective = objective_of("lsgan", targets=Targets(**targets))
    loss, scalars = objective.critic_loss(MeanCritic(), REAL, FAKE)
    assert_close(loss.item(), on_real + on_fake, rtol=1e-6, atol=0)
    assert_close(scalars["loss/critic_real"].item(), on_real, rtol=1e-6, atol=0)
    assert_close(scalars["loss/critic_fake"].item(), on_fake, rtol=1e-6, atol=0)
    assert_close(scalars["critic/real"].item(), 1.25)
    assert_close(scalars["critic/fake"].item(), 1.0)
    loss, _ = objective.generator_loss(MeanCritic(), FAKE)
    assert_close(loss.item(), of_generator, rtol=1e-6, atol=0)


def test_every_entry_pulls_fakes_to_0_and_reals_to_1():
    for dataset, entry in [("mnist_tiny", "lsgan"), ("celeba", "lsgan"), ("celeba", "lsgan_seed")]:
        objective = objective_of(entry, dataset)
        assert objective.critic_loss(MeanCritic(), scores(1.0, 1.0), scores(0.0, 0.0))[0].item() == 0
        assert objective.generator_loss(MeanCritic(), scores(1.0, 1.0))[0].item() == 0


def test_a_score_far_beyond_its_label_is_pulled_back():
    # A squared sigmoid would be flat here.
    fake = scores(11.0).requires_grad_()
    objective_of("lsgan").generator_loss(MeanCritic(), fake)[0].backward()
    assert_close(fake.grad.item(), 10.0)
