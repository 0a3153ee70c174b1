"""What families share: an ELU of our own, norms, initial weights, sizes."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.networks.layers import (
    ELU,
    Flatten,
    Unflatten,
    halved_side,
    initialise,
    lay_out,
    norm_layer,
    stem_side,
)

VALUES = torch.tensor([-30.0, -3.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 3.0, 30.0], dtype=torch.float64)


class TestELU:
    def test_it_has_torchs_values(self):
        assert_close(ELU()(VALUES), functional.elu(VALUES), rtol=1e-12, atol=1e-15)
        random = torch.randn(1000)
        assert_close(ELU()(random), functional.elu(random), rtol=1e-6, atol=1e-7)

    def test_it_leaves_its_input_alone(self):
        values = VALUES.clone()
        ELU()(values)
        assert torch.equal(values, VALUES)

    def test_it_has_torchs_gradient_and_second_derivative(self):
        found = []
        for elu in (ELU(), functional.elu):
            leaf = VALUES[VALUES != 0].clone().requires_grad_()
            (first,) = torch.autograd.grad((elu(leaf) * leaf).sum(), leaf, create_graph=True)
            (second,) = torch.autograd.grad(first.square().sum(), leaf)
            found.append((first.detach(), second))
        for one, other in zip(*found, strict=True):
            assert_close(one, other, rtol=1e-10, atol=1e-14)

    def test_its_derivatives_are_finite_differences(self):
        leaf = torch.tensor([-2.0, -0.5, 0.7, 2.0], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(ELU(), leaf)
        assert torch.autograd.gradgradcheck(ELU(), leaf)

    def test_bf16_is_kept(self):
        assert ELU()(VALUES.bfloat16()).dtype == torch.bfloat16


class TestNorm:
    def test_layer_norm_has_one_gain_per_channel_and_statistics_over_channels_and_pixels(self):
        layer = norm_layer("layer", 6)
        assert sum(parameter.numel() for parameter in layer.parameters()) == 12
        maps = 3 + 2 * torch.randn(4, 6, 5, 7)
        found = layer(maps).flatten(1)
        expected = maps.flatten(1)
        expected = (expected - expected.mean(1, keepdim=True)) / expected.std(1, correction=0, keepdim=True)
        assert_close(found, expected, rtol=1e-4, atol=1e-4)

    def test_the_others_are_batch_statistics_and_nothing(self):
        assert type(norm_layer("batch", 6)) is nn.BatchNorm2d
        assert type(norm_layer("none", 6)) is nn.Identity


LAYERS = [nn.Linear(400, 300), nn.Conv2d(40, 60, 3), nn.ConvTranspose2d(60, 40, 5)]
FANS = [(400, 300), (40 * 9, 60 * 9), (40 * 25, 60 * 25)]  # a transposed kernel is (in, out, ...)


class TestInitialisation:
    @pytest.mark.parametrize(("layer", "fans"), list(zip(LAYERS, FANS, strict=True)))
    @pytest.mark.parametrize(
        ("scheme", "deviation", "uniform"),
        [
            ("normal", lambda fans: 0.02, False),
            ("uniform", lambda fans: 0.02, True),
            ("glorot", lambda fans: math.sqrt(2 / sum(fans)), True),
            ("he", lambda fans: math.sqrt(4 / sum(fans)), True),
        ],
    )
    def test_weights_have_the_schemes_law_and_deviation(self, layer, fans, scheme, deviation, uniform):
        torch.manual_seed(0)
        layer.bias.data.fill_(9.0)
        initialise(nn.Sequential(layer), scheme)
        weights, wanted = layer.weight.detach(), deviation(fans)
        assert abs(weights.mean().item()) < 0.02 * wanted
        assert abs(weights.std().item() / wanted - 1) < 0.02
        beyond = (weights.abs() > math.sqrt(3) * wanted * 1.0001).float().mean().item()
        # A uniform law ends at sqrt(3) deviations; of a normal one 8.3 % lie beyond.
        assert beyond == 0 if uniform else abs(beyond - 0.083) < 0.01
        assert not layer.bias.any()

    @pytest.mark.parametrize("scheme", ["normal", "uniform", "glorot", "he"])
    def test_gains_are_drawn_around_one_by_the_normal_scheme_only(self, scheme):
        torch.manual_seed(0)
        layers = nn.ModuleList([nn.BatchNorm2d(2000), nn.BatchNorm1d(2000)])
        initialise(layers, scheme)
        for layer in layers:
            assert abs(layer.weight.mean().item() - 1) < 0.002
            deviation = layer.weight.std().item()
            assert abs(deviation - 0.02) < 0.002 if scheme == "normal" else deviation == 0
            assert not layer.bias.any()

    def test_a_module_may_choose_for_itself(self):
        layer = nn.Conv2d(40, 60, 3)
        layer.initialisation = "glorot"
        initialise(nn.Sequential(layer), "normal")
        assert abs(layer.weight.std().item() / math.sqrt(2 / (100 * 9)) - 1) < 0.02


class TestSizes:
    @pytest.mark.parametrize(
        ("side", "expected"), [(28, (7, 2)), (32, (4, 3)), (56, (7, 3)), (64, (4, 4)), (128, (4, 5))]
    )
    def test_the_stem_is_doubled_up_to_the_side(self, side, expected):
        assert stem_side(ImageShape(1, side, side)) == expected

    @pytest.mark.parametrize(
        ("side", "stages", "expected"), [(28, 2, 7), (32, 2, 8), (64, 3, 8), (64, 6, 1), (36, 2, 9)]
    )
    def test_an_autoencoder_halves_the_side(self, side, stages, expected):
        assert halved_side(ImageShape(3, side, side), stages) == expected

    @pytest.mark.parametrize("image", [(1, 28, 28, 3), (1, 30, 30, 2), (1, 32, 28, 2)])
    def test_what_cannot_be_halved_so_often_is_a_clear_error(self, image):
        *shape, stages = image
        with pytest.raises(ConfigError, match=f"multiple of {2**stages}, not {shape[1]}x{shape[2]}"):
            halved_side(ImageShape(*shape), stages)


class TestMaps:
    def test_rows_become_maps_in_torchs_order_and_the_networks_format(self):
        network = nn.Sequential(Unflatten(3, 2, 2), nn.Conv2d(3, 3, 1))
        rows = torch.arange(24.0).reshape(2, 12)
        for memory_format in (torch.channels_last, torch.contiguous_format):
            lay_out(network, torch.device("cpu"), memory_format)
            maps = network[0](rows)
            assert torch.equal(maps, rows.reshape(2, 3, 2, 2))
            assert maps.is_contiguous(memory_format=memory_format)
            assert network[1].weight.is_contiguous(memory_format=memory_format)

    @pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
    def test_maps_become_rows_whose_gradient_has_the_maps_format(self, memory_format):
        maps = torch.randn(2, 3, 4, 4).contiguous(memory_format=memory_format).requires_grad_()
        rows = Flatten()(maps)
        assert torch.equal(rows, maps.flatten(1))
        (gradient,) = torch.autograd.grad((rows * torch.arange(48.0)).sum(), maps)
        assert torch.equal(gradient, torch.arange(48.0).reshape(1, 3, 4, 4).expand(2, -1, -1, -1))
        assert gradient.is_contiguous(memory_format=memory_format)

    def test_flattening_has_a_second_derivative(self):
        maps = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(lambda values: Flatten()(values).square(), maps)
