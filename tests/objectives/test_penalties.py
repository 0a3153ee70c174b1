"""Penalties against closed forms on linear critics, and against finite differences."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.objectives.penalties import (
    column_norms,
    gradient,
    gradient_norm,
    interpolate,
    interpolated_gradient_penalty,
    norm_of,
    perturb,
    perturbed_gradient_penalty,
)
from tests.closed_forms import (
    SHAPES,
    Linear,
    Quadratic,
    Smooth,
    assert_gradient_is_a_finite_difference,
    gradients_one_by_one,
)


def around(critic, real, *, columns=False, weight=10.0, perturbation="two_sided", scale=0.5):
    return perturbed_gradient_penalty(
        critic,
        real,
        torch.full_like(real, math.nan),  # fakes have no part in it
        weight=weight,
        perturbation=perturbation,
        scale=scale,
        columns=columns,
    )


class TestGradientNorm:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_of_a_linear_critic_it_is_the_norm_of_its_weights(self, shape):
        norms = gradient_norm(Linear(shape, 3.0), torch.randn(5, *shape))
        assert_close(norms, torch.full((5,), 3.0), rtol=1e-6, atol=0)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_it_is_taken_per_sample_over_all_pixels_and_channels(self, shape):
        points = torch.randn(4, *shape)
        expected = [math.sqrt(sum(value**2 for value in point.flatten().tolist())) for point in points]
        assert_close(gradient_norm(Quadratic(), points), torch.tensor(expected), rtol=1e-6, atol=0)

    def test_at_a_flat_point_it_is_a_millionth_with_a_finite_second_derivative(self):
        weight = torch.zeros(4, requires_grad=True)
        norms = gradient_norm(lambda x: x.flatten(1) @ weight, torch.randn(2, 1, 2, 2))
        assert_close(norms, torch.full((2,), 1e-6), rtol=1e-5, atol=0)
        norms.sum().backward()
        assert weight.grad is not None and bool(weight.grad.isfinite().all())

    def test_under_bf16_the_gradient_is_of_float32_and_near_it_and_so_is_its_own_gradient(self):
        torch.manual_seed(0)
        critic, points = Smooth(ImageShape(1, 4, 4)), torch.randn(64, 1, 4, 4)
        gradients, of_weights = [], []
        for enabled in (True, False):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                gradients.append(gradient(critic, points))
            loss = (norm_of(gradients[-1]) - 1).square().mean()
            found = torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True)
            of_weights.append(torch.cat([part.flatten() for part in found if part is not None]))
        for one, wanted in (gradients, of_weights):
            assert one.dtype == torch.float32
            assert 0 < (one - wanted).norm() < 0.03 * wanted.norm()

    def test_on_another_device_than_a_cpu_the_gradient_is_taken_outside_of_autocast(self, monkeypatch):
        asked = []
        monkeypatch.setattr(
            torch, "autocast", lambda *given, **named: asked.append((given, named)) or nullcontext()
        )
        for device in ("cpu", "meta"):
            gradient(lambda points: points.flatten(1).sum(1), torch.zeros(2, 1, 4, 4, device=device))
        assert asked == [(("meta",), {"enabled": False})]


class TestBetweenRealAndFake:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize(("norm", "expected"), [(3.0, 40.0), (1.0, 0.0), (0.5, 2.5)])
    def test_a_linear_critic_pays_weight_times_the_squared_excess_over_one(self, shape, norm, expected):
        real, fake = torch.randn(4, *shape), torch.randn(4, *shape)
        penalty, norms = interpolated_gradient_penalty(Linear(shape, norm), real, fake, weight=10.0)
        assert_close(penalty.item(), expected, rtol=1e-5, atol=1e-9)
        assert_close(norms, torch.full((4,), norm), rtol=1e-5, atol=0)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_it_is_the_mean_over_samples_of_each_ones_penalty(self, shape):
        torch.manual_seed(0)
        critic = Quadratic()
        penalty, norms = interpolated_gradient_penalty(
            critic, torch.randn(4, *shape), torch.randn(4, *shape), weight=10.0
        )
        each = [10 * (point.norm().item() - 1) ** 2 for point in critic.seen[0]]
        assert len({round(value, 3) for value in each}) == 4  # samples do differ
        assert_close(penalty.item(), sum(each) / 4, rtol=1e-5, atol=0)
        assert_close(norms.tolist(), [point.norm().item() for point in critic.seen[0]], rtol=1e-5, atol=0)

    def test_points_lie_on_the_line_at_one_place_per_sample(self):
        places = interpolate(torch.ones(64, 2, 3, 3), torch.zeros(64, 2, 3, 3)).flatten(1)
        assert_close(places, places[:, :1].expand_as(places), rtol=0, atol=0)  # not one per pixel
        assert len(places[:, 0].unique()) == 64  # and not one per batch
        assert 0 <= places.min() < 0.2 < 0.8 < places.max() <= 1  # U[0, 1]

    def test_it_is_taken_at_those_points(self):
        critic = Quadratic()
        interpolated_gradient_penalty(critic, torch.ones(8, 1, 2, 2), -torch.ones(8, 1, 2, 2), weight=1.0)
        assert len(critic.seen) == 1
        assert critic.seen[0].abs().max() < 1  # between the two, not at either

    def test_it_reaches_the_critic_but_not_the_images(self):
        # A linear critic's gradient doesn't depend on the images: nothing could reach them.
        critic = Smooth(ImageShape(1, 2, 2))
        real = torch.randn(3, 1, 2, 2, requires_grad=True)
        fake = torch.randn(3, 1, 2, 2, requires_grad=True)
        interpolated_gradient_penalty(critic, real, fake, weight=10.0).penalty.backward()
        assert critic.hidden.weight.grad is not None and bool(critic.hidden.weight.grad.any())
        assert real.grad is None and fake.grad is None

    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_gradient_is_a_finite_difference(self, shape):
        critic = Smooth(ImageShape(*shape))
        loss, _ = interpolated_gradient_penalty(
            critic, torch.randn(3, *shape), torch.randn(3, *shape), weight=10.0
        )
        points = critic.seen[0].double()

        def formula(twin: nn.Module) -> torch.Tensor:
            norms = gradients_one_by_one(twin, points).norm(dim=1)
            return 10 * ((norms - 1) ** 2).mean()

        assert_gradient_is_a_finite_difference(loss, critic, formula)


class TestAroundReal:
    # Two constant images, 0.6 and -0.2: each has no deviation of its own, all pixels together have 0.4.
    CONSTANTS = torch.tensor([0.6, -0.2]).view(2, 1, 1, 1).expand(2, 3, 16, 20)

    def test_two_sided_moves_each_pixel_by_itself_up_or_down_by_at_most_scale_deviations(self):
        moves = perturb(self.CONSTANTS, "two_sided", 0.5) - self.CONSTANTS
        bound = 0.5 * 0.4
        assert -bound - 1e-6 <= moves.min() < -0.95 * bound
        assert 0.95 * bound < moves.max() <= bound + 1e-6
        assert abs(moves.mean().item()) < 0.1 * bound  # U[-1, 1] has mean 0: 1,920 draws, 0.013 each way
        assert abs(moves.std().item() / bound - 1 / math.sqrt(3)) < 0.03
        assert len(moves.unique()) > 1000  # no two pixels move together

    def test_per_image_moves_all_pixels_of_an_image_the_same_way(self):
        images = torch.tensor([0.5, -0.5]).repeat(32).view(64, 1, 1, 1).expand(64, 1, 4, 4)
        moves = (perturb(images, "per_image", 0.5) - images).flatten(1)
        up, down = (moves >= 0).all(1), (moves <= 0).all(1)
        assert bool((up | down).all())
        assert 10 < int(up.sum()) < 54 and 10 < int(down.sum()) < 54  # 32 +- 4 expected
        assert moves.abs().max() <= 0.5 * 0.5 + 1e-6  # |a| * scale * std * u
        assert bool((moves.std(1) > 0).all())  # but not by the same amount

    def test_per_image_stays_among_pixels(self):
        images = torch.tensor([1.0, -1.0]).repeat(8).view(16, 1, 1, 1).expand(16, 1, 4, 4)
        points = perturb(images, "per_image", 0.5)
        assert points.abs().max() == 1
        assert perturb(images, "two_sided", 0.5).abs().max() > 1  # no clip there

    def test_notebook_moves_upwards_only(self):
        moves = perturb(self.CONSTANTS, "notebook", 0.5) - self.CONSTANTS
        assert moves.min() >= -1e-7
        assert 0 < moves.max() <= 0.2 + 1e-6
        # One place per image: the largest pixel of either is near place * scale * std, and they differ.
        tops = moves.flatten(1).max(1).values
        assert abs(tops[0] - tops[1]) > 1e-3

    def test_gaussian_deviates_by_scale_in_pixel_units_whatever_the_images(self):
        for images in (torch.zeros(8, 3, 16, 16), self.CONSTANTS):
            moves = perturb(images, "gaussian", 0.25) - images
            assert abs(moves.std().item() - 0.25) < 0.02
            assert moves.abs().max() > 0.5  # two deviations: no uniform draw

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("perturbation", ["two_sided", "per_image", "notebook", "gaussian"])
    @pytest.mark.parametrize(("norm", "expected"), [(3.0, 40.0), (1.0, 0.0), (0.5, 2.5)])
    def test_a_linear_critic_pays_weight_times_the_squared_excess(self, shape, perturbation, norm, expected):
        penalty, norms = around(Linear(shape, norm), torch.randn(4, *shape), perturbation=perturbation)
        assert_close(penalty.item(), expected, rtol=1e-5, atol=1e-9)
        assert_close(norms, torch.full((4,), norm), rtol=1e-5, atol=0)

    def test_it_is_taken_near_the_real_images_only(self):
        critic, real = Quadratic(), torch.linspace(-1, 1, 48).view(3, 1, 4, 4)
        around(critic, real)
        assert len(critic.seen) == 1
        deviation = (real - real.mean()).square().mean().sqrt().item()
        assert 0 < (critic.seen[0] - real).abs().max() <= 0.5 * deviation + 1e-6

    @pytest.mark.parametrize("shape", SHAPES)
    def test_it_is_the_mean_over_samples_of_each_ones_penalty(self, shape):
        critic = Quadratic()
        penalty, _ = around(critic, torch.randn(4, *shape))
        each = [10 * (point.norm().item() - 1) ** 2 for point in critic.seen[0]]
        assert_close(penalty.item(), sum(each) / 4, rtol=1e-5, atol=0)

    @pytest.mark.parametrize("columns", [False, True])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_gradient_is_a_finite_difference(self, shape, columns):
        critic = Smooth(ImageShape(*shape))
        loss, _ = around(critic, torch.randn(3, *shape), columns=columns)
        points = critic.seen[0].double()

        def formula(twin: nn.Module) -> torch.Tensor:
            found = gradients_one_by_one(twin, points)
            found = found.view(3, *shape).norm(dim=2) if columns else found.norm(dim=1)
            return 10 * ((found - 1) ** 2).mean()

        assert_gradient_is_a_finite_difference(loss, critic, formula)


class TestColumns:
    """The ancestor's norm over image columns: kept for profile `seed`, and told from the right one."""

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_linear_critic_pays_for_each_column_by_itself(self, shape):
        # All |weights| are 3 / sqrt(C H W), so that each of the C W columns has norm 3 / sqrt(C W).
        penalty, norms = around(Linear(shape, 3.0), torch.randn(4, *shape), columns=True)
        column = 3 / math.sqrt(shape[0] * shape[2])
        assert_close(penalty.item(), 10 * (column - 1) ** 2, rtol=1e-5, atol=1e-9)
        assert_close(norms, torch.full((4,), 3.0), rtol=1e-5, atol=0)  # logged: that of the sample

    def test_at_64x64x3_it_pulls_the_norm_of_an_image_to_13_9(self):
        shape = (3, 64, 64)
        wanted = math.sqrt(3 * 64)
        assert round(wanted, 1) == 13.9
        at_rest, _ = around(Linear(shape, wanted), torch.randn(2, *shape), columns=True)
        pulled, _ = around(Linear(shape, 1.0), torch.randn(2, *shape), columns=True)
        assert_close(at_rest.item(), 0.0, rtol=0, atol=1e-8)
        assert_close(pulled.item(), 10 * (1 / wanted - 1) ** 2, rtol=1e-4, atol=0)

    def test_the_norm_is_over_height(self):
        gradients = torch.arange(1.0, 13.0).view(1, 2, 3, 2)  # channel 0: rows (1 2), (3 4), (5 6)
        expected = [[[math.sqrt(35), math.sqrt(56)], [math.sqrt(49 + 81 + 121), math.sqrt(64 + 100 + 144)]]]
        assert_close(column_norms(gradients), torch.tensor(expected))
