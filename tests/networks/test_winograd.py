"""Wide convolutions are torch's own in value, gradient and second derivative, at less than half the work."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from benchmarks.step import FlopCounter
from gan.networks import winograd
from gan.networks.layers import forget_derived, keep_derived
from gan.networks.winograd import WideConv2d, WideConvTranspose2d, cook_toom

LAYERS = [WideConv2d, WideConvTranspose2d]
# kernel, stride, and sides of the smaller maps, which needn't be a number of tiles
LAYOUTS = [(3, 1, 8, 8), (3, 1, 7, 9), (3, 1, 4, 14), (5, 2, 4, 4), (5, 2, 8, 6), (5, 2, 7, 7)]


@pytest.fixture
def few(monkeypatch):
    """Let small batches and narrow layers be computed by tiles too."""
    monkeypatch.setattr(winograd, "FEWEST", 1)
    monkeypatch.setattr(winograd, "NARROWEST", 2)


def pair_of(layer, layout, channels, images=2, dtype=torch.float64, **others):
    """One of ours and torch's with equal weights, and an input for them."""
    kernel, stride, height, width = layout
    arguments = {"stride": stride, "padding": (kernel - 1) // 2, **others}
    if layer is WideConvTranspose2d:
        arguments.setdefault("output_padding", (kernel - stride) % 2)
        other, scale = nn.ConvTranspose2d(*channels, kernel, **arguments), 1
    else:
        other, scale = nn.Conv2d(*channels, kernel, **arguments), stride
    ours = layer(*channels, kernel, **arguments)
    ours.load_state_dict(other.state_dict())
    inputs = torch.randn(images, channels[0], scale * height, scale * width, dtype=dtype, requires_grad=True)
    return ours.to(dtype), other.to(dtype), inputs


def work_of(module, inputs):
    """Multiplications and sums of a call and of its gradients."""
    with FlopCounter() as counter:
        module(inputs).sum().backward()
    return counter.total


@pytest.mark.parametrize(("outputs", "taps"), [(4, 3), (2, 3), (4, 2)])
def test_products_at_points_are_sums_over_neighbours(outputs, taps):
    outer, kernel, inputs = cook_toom(outputs, taps)
    row, weights = torch.arange(1.0, outputs + taps).double() ** 2, torch.tensor([2.0, -3.0, 5.0]).double()
    weights = weights[:taps]

    found = outer @ ((kernel @ weights) * (inputs @ row))

    assert outer.shape == (outputs, outputs + taps - 1)  # so many products, not outputs * taps
    assert_close(found, row.unfold(0, taps, 1) @ weights, rtol=1e-12, atol=1e-12)


def test_the_matrices_of_two_outputs_and_three_taps_are_winograds():
    # Lavin and Gray, 2016, equation (7), up to the sign and the order of the products
    outer, kernel, inputs = cook_toom(2, 3)
    products = torch.einsum("yp,pt,px->ytx", outer, kernel, inputs)
    assert kernel.abs().tolist() == [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1]]
    assert products.tolist() == [
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    ]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_gradients_and_second_derivatives_are_those_of_torch(layer, layout, few):
    ours, other, inputs = pair_of(layer, layout, (3, 2))
    found = []
    for module in (ours, other):
        outputs = module(inputs)
        leaves = [inputs, *module.parameters()]
        first = torch.autograd.grad(outputs.square().sum(), leaves, create_graph=True)
        norm = first[0].flatten(1).norm(dim=1)
        second = torch.autograd.grad((norm - 1).square().mean(), leaves)  # as a gradient penalty has it
        found.append((outputs, *first, *second))
    for one, wanted in zip(*found, strict=True):
        assert_close(one, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_kernel_goes_to_its_points_once_for_all_passes_of_a_step_and_gradients_stay(
    layer, few, monkeypatch
):
    ours, _, inputs = pair_of(layer, (5, 2, 4, 4), (3, 2))
    taken = []
    transform = winograd.TilePlan.points_of_kernel
    monkeypatch.setattr(
        winograd.TilePlan,
        "points_of_kernel",
        lambda plan, kernel: taken.append(1) or transform(plan, kernel),
    )

    def gradients():
        ours.zero_grad()
        first = torch.autograd.grad(ours(inputs).square().sum(), inputs, create_graph=True)[0]
        (first.flatten(1).norm(dim=1).sum() + ours(inputs + 1).sum() - ours(inputs.detach()).sum()).backward()
        return ours.weight.grad.clone()

    apart = gradients()
    assert len(taken) == 3
    with keep_derived():
        assert_close(gradients(), apart, rtol=1e-12, atol=1e-12)
        assert len(taken) == 4
        with torch.no_grad():
            ours.weight.mul_(2)  # an update
        forget_derived(ours)
        wanted = ours(inputs).detach()
        with torch.no_grad():
            assert torch.equal(ours(inputs), wanted)
        assert len(taken) == 6  # the new values, and once more without a graph to the weight
    assert_close(wanted, ours(inputs).detach(), rtol=0, atol=0)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("layout", [(3, 1, 4, 5), (5, 2, 4, 3)])
def test_derivatives_are_finite_differences(layer, layout, few):
    ours, _, inputs = pair_of(layer, layout, (3, 2), images=1)

    def call(inputs, weight, bias):
        return torch.func.functional_call(ours, {"weight": weight, "bias": bias}, inputs)

    arguments = (inputs, ours.weight, ours.bias)
    assert torch.autograd.gradcheck(call, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, arguments, fast_mode=True)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("layout", "share"), [((3, 1, 16, 16), 0.5), ((5, 2, 8, 8), 0.6)])
def test_wide_layers_take_less_work_and_differ_by_rounding(layer, layout, share):
    torch.manual_seed(0)
    ours, other, inputs = pair_of(layer, layout, (128, 128), images=16, dtype=torch.float32)
    assert work_of(ours, inputs) < share * work_of(other, inputs)
    for module in (ours, other):
        module.to(memory_format=torch.channels_last)
        module.zero_grad()
        module(inputs).square().sum().backward()
    values = [(ours(inputs), other(inputs))]
    gradients = [(ours.weight.grad, other.weight.grad), (ours.bias.grad, other.bias.grad)]
    for one, wanted in values + gradients:
        assert (one - wanted).abs().max() < 3e-5 * wanted.abs().max()
    assert ours.weight.grad.stride() == other.weight.grad.stride()  # else every sum of two would be a copy


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("layout", "channels", "images", "others"),
    [
        ((3, 1, 8, 8), (64, 256), 16, {}),  # narrow on one side
        ((3, 1, 8, 8), (128, 128), 2, {}),  # few positions
        ((3, 1, 40, 8), (128, 128), 2, {}),  # large
        ((3, 1, 8, 8), (128, 128), 16, {"padding": 0}),
        ((3, 1, 8, 8), (128, 128), 16, {"groups": 2}),
        ((4, 2, 8, 8), (128, 128), 16, {}),  # a kernel that gains nothing
        ((5, 2, 8, 8), (128, 128), 16, {"stride": (2, 1), "output_padding": (1, 0)}),
    ],
)
def test_all_else_is_torchs_own(layer, layout, channels, images, others):
    if layer is WideConv2d:
        others = {name: value for name, value in others.items() if name != "output_padding"}
    ours, other, inputs = pair_of(layer, layout, channels, images, torch.float32, **others)
    with torch.no_grad():
        assert torch.equal(ours(inputs), other(inputs))


def test_padding_with_anything_but_zeros_is_torchs_own():
    ours, other, inputs = pair_of(
        WideConv2d, (3, 1, 8, 8), (128, 128), 16, torch.float32, padding_mode="circular"
    )
    with torch.no_grad():
        assert torch.equal(ours(inputs), other(inputs))


@pytest.mark.parametrize("layer", LAYERS)
def test_autocast_computes_in_bfloat16_as_torch_does(layer):
    ours, other, inputs = pair_of(layer, (3, 1, 8, 8), (128, 128), 16, torch.float32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(inputs), other(inputs))


def test_an_odd_side_under_a_stride_and_a_chosen_output_are_torchs_own():
    ours, other, _ = pair_of(WideConv2d, (5, 2, 8, 8), (128, 128), dtype=torch.float32)
    inputs = torch.randn(16, 128, 15, 16)
    assert torch.equal(ours(inputs), other(inputs))
    ours, other, inputs = pair_of(WideConvTranspose2d, (5, 2, 8, 8), (128, 128), 16, torch.float32)
    with torch.no_grad():
        assert torch.equal(ours(inputs, [15, 15]), other(inputs, [15, 15]))
