"""EBGAN: energies and their units, the two hinges, the pulling-away term."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.networks.ebgan import Autoencoded
from gan.variants.ebgan import pulling_away
from tests.closed_forms import objective_of


class Scaling(nn.Module):
    """AE(x) = factor * x; codes as given, or the first two pixels."""

    def __init__(self, factor=0.0, codes=None):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.codes = codes

    def forward(self, images):
        codes = images.flatten(1)[:, :2] if self.codes is None else self.codes
        return Autoencoded(self.factor * images, codes)


def of_norms(*norms):
    """Two-pixel images of these norms, in the direction (3, 4) / 5."""
    return torch.tensor([[0.6 * norm, 0.8 * norm] for norm in norms]).view(-1, 1, 1, 2)


@pytest.mark.parametrize(
    ("energy", "expected"),
    [("norm", 5.0), ("mean_square", 12.5), ("sum_square", 25.0)],  # of the error (3, 4)
)
def test_the_energy_is_what_its_name_says(energy, expected):
    objective = objective_of("ebgan", energy=energy, margin=1.0)  # below all of them: no hinge
    loss, scalars = objective.critic_loss(Scaling(), of_norms(5.0, 5.0), of_norms(5.0, 5.0))
    assert_close(loss.item(), expected, rtol=1e-6, atol=0)
    assert_close(scalars["critic/energy_real"].item(), expected, rtol=1e-6, atol=0)
    assert_close(scalars["critic/energy_fake"].item(), expected, rtol=1e-6, atol=0)
    assert scalars["critic/below_margin"].item() == 0


def test_every_entry_takes_the_norm():
    # At 3x64x64 and a mean square of 0.3 that is 61: the margin of 20 bites only once something is learnt.
    images = torch.full((2, 3, 64, 64), math.sqrt(0.3))
    for entry in ("ebgan", "ebgan_pt", "ebgan_seed", "ebgan_pt_seed"):
        _, scalars = objective_of(entry, "celeba").critic_loss(Scaling(), images, images)
        assert_close(scalars["critic/energy_real"].item(), math.sqrt(0.3 * 12288), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("hinge", "expected"),
    [
        ("sample", 1.0 + 4.0),  # energies 2 and 18 under a margin of 10: (8 + 0) / 2
        ("batch", 1.0 + 0.0),  # mean energy 10: max(0, 10 - 10)
    ],
)
def test_the_hinge_is_per_sample_or_of_the_mean(hinge, expected):
    objective = objective_of("ebgan", margin=10.0, hinge=hinge)
    loss, scalars = objective.critic_loss(Scaling(), of_norms(0.5, 1.5), of_norms(2.0, 18.0))
    assert_close(loss.item(), expected, rtol=1e-6, atol=1e-6)
    assert_close(scalars["critic/energy_real"].item(), 1.0)
    assert_close(scalars["critic/energy_fake"].item(), 10.0)
    assert scalars["critic/below_margin"].item() == 0.5


def test_only_the_ancestors_entries_hinge_the_batch():
    hinges = {
        (dataset, entry): objective_of(entry, dataset).params.hinge
        for dataset in ("mnist_tiny", "celeba")
        for entry in ("ebgan", "ebgan_pt")
    }
    assert set(hinges.values()) == {"sample"}
    assert objective_of("ebgan_seed", "celeba").params.hinge == "batch"


def test_the_generators_loss_is_the_mean_energy_plus_the_weighted_term():
    codes = torch.tensor([[1.0, 0.0], [1.0, 1.0]])  # cosine 1 / sqrt 2, squared 1/2
    for entry, weight in [("ebgan", 0.0), ("ebgan_pt", 0.1)]:
        loss, scalars = objective_of(entry).generator_loss(Scaling(codes=codes), of_norms(2.0, 4.0))
        assert_close(loss.item(), 3.0 + weight * 0.5, rtol=1e-6, atol=0)
        assert_close(scalars["generator/pulling_away"].item(), 0.5, rtol=1e-6, atol=0)  # raw, always


def test_the_term_moves_codes_only_where_it_is_weighted():
    for entry, moves in [("ebgan", False), ("ebgan_pt", True)]:
        codes = torch.tensor([[1.0, 0.0], [1.0, 1.0]], requires_grad=True)
        objective_of(entry).generator_loss(Scaling(codes=codes), of_norms(2.0, 4.0).requires_grad_())[
            0
        ].backward()
        assert (codes.grad is not None and bool(codes.grad.any())) == moves


def test_the_critic_loss_has_no_such_term():
    alike = torch.ones(2, 2)
    first, _ = objective_of("ebgan").critic_loss(Scaling(codes=alike), of_norms(1.0, 1.0), of_norms(3.0, 3.0))
    second, _ = objective_of("ebgan_pt").critic_loss(
        Scaling(codes=alike), of_norms(1.0, 1.0), of_norms(3.0, 3.0)
    )
    assert first.item() == second.item()


def test_the_generators_gradient_flows_through_the_image_and_through_its_reconstruction():
    # E = |x - x/4| = 3/4 |x| has slope 3/4 along x; with the target detached it would be -1/4, with the
    # reconstruction detached 1.
    fake = of_norms(2.0, 4.0).requires_grad_()
    objective_of("ebgan").generator_loss(Scaling(0.25), fake)[0].backward()
    assert_close(fake.grad, 0.75 * of_norms(1.0, 1.0) / 2, rtol=1e-6, atol=0)


def test_held_out_images_have_an_energy():
    found = objective_of("ebgan").held_out_scalars(Scaling(), of_norms(1.0, 3.0), of_norms(9.0, 9.0))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"critic/energy_held_out": 2.0}
    )


class TestPullingAway:
    @pytest.mark.parametrize(
        ("codes", "expected"),
        [
            ([[1.0, 0.0], [0.0, 1.0]], 0.0),  # orthogonal
            ([[1.0, 2.0], [1.0, 2.0]], 1.0),  # equal
            ([[1.0, 2.0], [-1.0, -2.0]], 1.0),  # antiparallel: the cosine is squared
            ([[1.0, 0.0], [7.0, 7.0]], 0.5),  # 45 degrees, whatever the lengths
            ([[2.0, 0.0], [3.0, 0.0], [0.0, 5.0]], 1 / 3),  # one of three pairs is parallel
            ([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], (1 / 2 + 0 + 1 / 4) / 3),
        ],
    )
    def test_it_is_the_mean_squared_cosine_of_distinct_pairs(self, codes, expected):
        assert_close(pulling_away(torch.tensor(codes)).item(), expected, rtol=1e-6, atol=1e-7)

    def test_it_equals_a_loop_over_pairs(self):
        codes = torch.randn(7, 5, dtype=torch.float64)
        total = 0.0
        for i in range(7):
            for j in range(7):
                if i != j:
                    a, b = codes[i].tolist(), codes[j].tolist()
                    product = sum(x * y for x, y in zip(a, b, strict=True))
                    total += (product / math.hypot(*a) / math.hypot(*b)) ** 2
        assert_close(pulling_away(codes).item(), total / (7 * 6), rtol=1e-10, atol=0)

    def test_it_is_computed_in_float32_under_autocast(self):
        codes = torch.randn(7, 30)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = pulling_away(codes)
        assert_close(found, pulling_away(codes), rtol=1e-6, atol=0)

    def test_a_code_of_zeros_is_orthogonal_to_all_and_has_a_finite_gradient(self):
        codes = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
        term = pulling_away(codes)
        term.backward()
        assert term.item() == 0 and bool(codes.grad.isfinite().all())

    def test_one_code_has_no_pair(self):
        with pytest.raises(ValueError, match="not 1"):
            pulling_away(torch.ones(1, 3))
