"""Penalties against closed forms on linear critics, and against finite differences."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.penalties import gradient_norm, interpolated_gradient_penalty

SHAPES = [(1, 4, 4), (3, 4, 4), (1, 2, 5), (3, 5, 2)]


class Linear(nn.Module):
    """D(x) = w . x with all weights equal, so that |w| is what is asked for."""

    def __init__(self, shape: tuple[int, int, int], norm: float) -> None:
        super().__init__()
        pixels = math.prod(shape)
        self.weight = nn.Parameter(torch.full((pixels,), norm / math.sqrt(pixels), dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).to(self.weight.dtype) @ self.weight


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_norm_of_a_linear_critic_is_the_norm_of_its_weights(shape):
    norms = gradient_norm(Linear(shape, 3.0), torch.randn(5, *shape, dtype=torch.float64))
    assert_close(norms, torch.full((5,), 3.0, dtype=torch.float64))


def test_gradient_norm_is_taken_per_sample():
    # D(x) = |x|^2 / 2 has gradient x.
    points = torch.tensor([[3.0, 4.0], [6.0, 8.0]]).view(2, 1, 1, 2)
    norms = gradient_norm(lambda x: x.flatten(1).square().sum(1) / 2, points)
    assert_close(norms, torch.tensor([5.0, 10.0]))


def test_gradient_norm_at_a_flat_point_has_a_finite_second_derivative():
    weight = torch.zeros(4, requires_grad=True)
    gradient_norm(lambda x: x.flatten(1) @ weight, torch.randn(2, 1, 2, 2)).sum().backward()
    assert weight.grad is not None and bool(weight.grad.isfinite().all())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("norm", "expected"), [(3.0, 40.0), (1.0, 0.0), (0.5, 2.5)])
def test_penalty_on_a_linear_critic_is_weight_times_the_squared_excess_over_one(shape, norm, expected):
    real, fake = torch.randn(4, *shape), torch.randn(4, *shape)
    penalty, norms = interpolated_gradient_penalty(Linear(shape, norm), real, fake, weight=10.0)
    assert_close(penalty.item(), expected, rtol=1e-5, atol=1e-9)
    assert_close(norms.double(), torch.full((4,), norm, dtype=torch.float64), rtol=1e-5, atol=0)


def test_penalty_is_taken_on_the_line_between_real_and_fake_at_one_place_per_sample():
    seen = []

    def critic(points):
        seen.append(points.detach())
        return points.flatten(1).sum(1)

    interpolated_gradient_penalty(critic, torch.ones(64, 2, 3, 3), torch.zeros(64, 2, 3, 3), weight=1.0)
    places = seen[0].flatten(1)
    assert_close(places, places[:, :1].expand_as(places))  # one per sample, not one per pixel
    assert len(places[:, 0].unique()) == 64  # and not one per batch
    assert 0 <= places.min() < 0.2 < 0.8 < places.max() <= 1  # U[0, 1]


def test_penalty_reaches_the_critic_but_not_the_images():
    critic = Linear((1, 2, 2), 3.0)
    real = torch.randn(3, 1, 2, 2, requires_grad=True)
    fake = torch.randn(3, 1, 2, 2, requires_grad=True)
    interpolated_gradient_penalty(critic, real, fake, weight=10.0).penalty.backward()
    assert critic.weight.grad is not None and critic.weight.grad.abs().sum() > 0
    assert real.grad is None and fake.grad is None


def test_gradient_of_the_penalty_equals_a_finite_difference():
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 2 * 1, 1), nn.Flatten(0)
    ).double()
    points = torch.randn(3, 2, 4, 3, dtype=torch.float64)

    def penalty() -> torch.Tensor:
        return (gradient_norm(critic, points) - 1).square().mean()

    penalty().backward()
    weight = critic[0].weight
    for index in [(0, 0, 0, 0), (3, 1, 2, 1), (1, 0, 2, 2)]:
        with torch.no_grad():
            weight[index] += 1e-6
        above = penalty().item()
        with torch.no_grad():
            weight[index] -= 2e-6
        below = penalty().item()
        with torch.no_grad():
            weight[index] += 1e-6
        assert weight.grad is not None
        assert_close(weight.grad[index].item(), (above - below) / 2e-6, rtol=1e-4, atol=1e-8)
