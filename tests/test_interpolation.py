import math

import pytest
import torch

from gan.interpolation import interpolate


def test_normal_noise_turns_a_quarter_in_two_equal_halves() -> None:
    found = interpolate(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 3, "normal")
    half = math.sqrt(0.5)
    torch.testing.assert_close(found, torch.tensor([[[1.0, 0.0], [half, half], [0.0, 1.0]]]))


def test_uniform_noise_goes_straight_and_stays_in_its_box() -> None:
    found = interpolate(torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, 1.0]]), 5, "uniform")
    assert found[0].tolist() == [[1.0, -1.0], [0.5, -0.5], [0.0, 0.0], [-0.5, 0.5], [-1.0, 1.0]]


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_both_ends_are_the_given_vectors(law: str) -> None:
    starts, ends = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0)).unbind()
    found = interpolate(starts, ends, 10, law)
    assert found.shape == (4, 10, 16)
    torch.testing.assert_close(found[:, 0], starts)
    torch.testing.assert_close(found[:, -1], ends)


def test_a_way_between_normal_vectors_keeps_their_length() -> None:
    starts, ends = torch.randn(2, 32, 100, generator=torch.Generator().manual_seed(1)).unbind()
    lengths = interpolate(starts, ends, 9, "normal").norm(dim=-1)
    straight = interpolate(starts, ends, 9, "uniform").norm(dim=-1)
    assert lengths.min() > 8.0  # of about 10
    assert straight[:, 4].max() < 8.5  # about 10 / sqrt(2) in the middle


def test_vectors_of_one_direction_are_joined_by_a_straight_way() -> None:
    found = interpolate(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]]), 3, "normal")
    assert found.tolist() == [[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]]


def test_a_way_needs_two_ends_of_one_shape() -> None:
    with pytest.raises(ValueError, match="can't interpolate in 1 steps"):
        interpolate(torch.zeros(1, 2), torch.zeros(1, 2), 1, "normal")
    with pytest.raises(ValueError, match="can't interpolate"):
        interpolate(torch.zeros(1, 2), torch.zeros(1, 3), 3, "normal")
