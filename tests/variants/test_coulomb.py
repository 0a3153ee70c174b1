"""Coulomb GAN: the field against a loop over pairs, and what the critic learns of it."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.variants.coulomb import potentials
from tests.closed_forms import MeanCritic, objective_of

N = 5


def kernel(a, b, dimension, epsilon):
    squares = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return (squares + epsilon**2) ** (-(dimension - 2) / 2)


def potential(place, index, own, real, fake, dimension, epsilon, *, exclude_self):
    """Potential at a place, which is number `index` of the images of its `own` kind, by loops of floats."""
    total = 0.0
    for sign, kind, others in ((1, "real", real), (-1, "fake", fake)):
        kept = [b for j, b in enumerate(others) if not (exclude_self and kind == own and j == index)]
        total += sign * sum(kernel(place, b, dimension, epsilon) for b in kept) / len(kept)
    return total


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(("dimension", "epsilon"), [(3.0, 1.0), (3.0, 0.3), (5.0, 2.0)])
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 5)])
def test_potentials_equal_a_loop_over_pairs(exclude_self, dimension, epsilon, shape):
    torch.manual_seed(0)
    real, fake = torch.randn(N, *shape), torch.randn(N, *shape) + 0.5
    found = potentials(real, fake, dimension, epsilon)[int(exclude_self)]
    lists = [images.flatten(1).double().tolist() for images in (real, fake)]
    for own, places, values in (("real", lists[0], found.real), ("fake", lists[1], found.fake)):
        expected = [
            potential(place, i, own, *lists, dimension, epsilon, exclude_self=exclude_self)
            for i, place in enumerate(places)
        ]
        assert max(map(abs, expected)) > 5e-4
        assert_close(values.tolist(), expected, rtol=1e-5, atol=1e-6)


def test_alone_with_far_fakes_the_self_term_is_one_in_n():
    # Images a thousand and more apart: all kernels but those of an image with itself are below 1/1000.
    real = 1000 * torch.eye(4).view(4, 1, 2, 2)
    with_self, without = potentials(real, real + 5000, 3.0, 1.0)
    for found, sign in ((with_self.real, 1), (with_self.fake, -1)):  # fakes repel
        assert_close(found, torch.full((4,), sign / 4), rtol=0, atol=1e-3)
    for found in without:
        assert 0 < found.abs().max() < 1e-3


def pixels(*counts):
    """Images of 24 pixels, so many of them 1 and the others 0: squared distances are differences."""
    return torch.stack([(torch.arange(24) < count).float().view(1, 4, 6) for count in counts])


# Reals with 0 and 24, fakes with 3 and 8 pixels; k = 1 / sqrt(difference + 1).
REAL, FAKE = pixels(0, 24), pixels(3, 8)
OF_REAL = [
    (1 + 1 / 5) / 2 - (1 / 2 + 1 / 3) / 2,
    (1 + 1 / 5) / 2 - (1 / math.sqrt(22) + 1 / math.sqrt(17)) / 2,
]
OF_FAKE = [
    (1 / 2 + 1 / math.sqrt(22)) / 2 - (1 + 1 / math.sqrt(6)) / 2,
    (1 / 3 + 1 / math.sqrt(17)) / 2 - (1 + 1 / math.sqrt(6)) / 2,
]
FIELD_OF_REAL = [1 / 5 - (1 / 2 + 1 / 3) / 2, 1 / 5 - (1 / math.sqrt(22) + 1 / math.sqrt(17)) / 2]
FIELD_OF_FAKE = [
    (1 / 2 + 1 / math.sqrt(22)) / 2 - 1 / math.sqrt(6),
    (1 / 3 + 1 / math.sqrt(17)) / 2 - 1 / math.sqrt(6),
]


def mean_square(scores, targets):
    return sum((score - target) ** 2 for score, target in zip(scores, targets, strict=True)) / len(targets)


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize(
    ("exclude_self", "of_real", "of_fake"), [(False, OF_REAL, OF_FAKE), (True, FIELD_OF_REAL, FIELD_OF_FAKE)]
)
def test_the_critic_learns_the_scaled_potential_by_least_squares(exclude_self, of_real, of_fake, scale):
    objective = objective_of("coulomb", exclude_self=exclude_self, target_scale=scale)
    loss, scalars = objective.critic_loss(MeanCritic(), REAL, FAKE)
    expected = mean_square([0, 1], [scale * p for p in of_real])
    expected += mean_square([3 / 24, 8 / 24], [scale * p for p in of_fake])
    assert_close(loss.item(), expected, rtol=2e-6, atol=0)
    logged = {
        "coulomb/potential_real": OF_REAL,
        "coulomb/potential_fake": OF_FAKE,
        "coulomb/field_real": FIELD_OF_REAL,
        "coulomb/field_fake": FIELD_OF_FAKE,
    }
    for name, values in logged.items():  # both, raw, whatever is learnt
        assert_close(scalars[name].item(), sum(values) / 2, rtol=1e-6, atol=1e-7)


def test_potentials_are_high_at_reals_and_the_generator_raises_the_learnt_one():
    assert min(OF_REAL) > 0 > max(OF_FAKE)
    loss, _ = objective_of("coulomb").generator_loss(MeanCritic(), FAKE)
    assert_close(loss.item(), -(3 + 8) / 48, rtol=1e-6, atol=0)


class Nothing(nn.Module):
    """D(x) = 0, whose gradient is 0 too."""

    def forward(self, images):
        return 0 * images.flatten(1).sum(1)


def test_the_potential_is_a_constant():
    # With D = 0 all of the loss is P^2; a gradient of the images could come from P alone.
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    loss, _ = objective_of("coulomb").critic_loss(Nothing(), real, fake)
    assert loss.item() > 1
    loss.backward()
    assert not real.grad.any() and not fake.grad.any()


def test_small_distances_between_bright_images_are_not_lost():
    # |a - b|^2 = 16 * 1e-6 beside |a|^2 = 16e4: a product of matrices in float32 would give 0 or noise.
    real = torch.full((2, 1, 4, 4), 100.0)
    real[1] += 2**-10
    _, without = potentials(real, real - 1e6, 3.0, 1e-3)
    expected = 1 / math.sqrt(16 * 2**-20 + 1e-6)
    assert_close(without.real.tolist(), [expected, expected], rtol=1e-5, atol=0)


def test_one_image_has_no_other_and_batches_are_of_one_size():
    with pytest.raises(ValueError, match="not 1 and 1"):
        potentials(REAL[:1], FAKE[:1], 3.0, 1.0)
    with pytest.raises(ValueError, match="not 2 and 1"):
        potentials(REAL, FAKE[:1], 3.0, 1.0)


def test_the_paper_s_entries_learn_the_raw_potential_of_1_over_r():
    for entry in ("coulomb", "coulomb_seed"):
        params = objective_of(entry, "celeba").params
        assert (params.target_scale, params.dimension, params.epsilon) == (1.0, 3.0, 1.0)
        assert params.exclude_self is False
