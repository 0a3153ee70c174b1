"""Convolutions from and to images are torch's own in value, gradient and second derivative."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan.networks.convolutions import ImageConv2d, ImageConvTranspose2d

# kernel, stride, padding, side, what the transposed one appends; 7 is a side that stride 2 cuts
LAYOUTS = [(4, 2, 1, 8, 0), (5, 2, 2, 8, 1), (3, 1, 1, 5, 0), (4, 2, 1, 7, 0)]


def pair_of(layer, layout):
    """One of ours and torch's with equal weights, and an input for them, in float64."""
    kernel, stride, padding, side, rest = layout
    if layer is ImageConv2d:
        arguments, shape = (2, 5, kernel, stride, padding), (3, 2, side, side)
        other = nn.Conv2d(*arguments)
    else:
        arguments, shape = (5, 2, kernel, stride, padding, rest), (3, 5, 4, 3)
        other = nn.ConvTranspose2d(*arguments)
    ours = layer(*arguments)
    ours.load_state_dict(other.state_dict())
    return ours.double(), other.double(), torch.randn(shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("layer", [ImageConv2d, ImageConvTranspose2d])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_gradients_and_second_derivatives_are_those_of_torch(layer, layout):
    ours, other, inputs = pair_of(layer, layout)
    found = []
    for module in (ours, other):
        outputs = module(inputs)
        leaves = [inputs, *module.parameters()]
        first = torch.autograd.grad(outputs.square().sum(), leaves, create_graph=True)
        norm = first[0].flatten(1).norm(dim=1)
        second = torch.autograd.grad((norm - 1).square().mean(), leaves)  # as a gradient penalty has it
        found.append((outputs, *first, *second))
    for one, wanted in zip(*found, strict=True):
        assert_close(one, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layer", [ImageConv2d, ImageConvTranspose2d])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives_are_finite_differences(layer, layout):
    ours, _, inputs = pair_of(layer, layout)

    def call(inputs, weight, bias):
        return torch.func.functional_call(ours, {"weight": weight, "bias": bias}, inputs)

    assert torch.autograd.gradcheck(call, (inputs, ours.weight, ours.bias))
    assert torch.autograd.gradgradcheck(call, (inputs, ours.weight, ours.bias))


@pytest.mark.parametrize("layer", [ImageConv2d, ImageConvTranspose2d])
def test_only_the_gradients_that_are_wanted_are_made(layer):
    ours, _, inputs = pair_of(layer, LAYOUTS[0])
    ours.requires_grad_(False)
    ours(inputs).sum().backward()
    assert inputs.grad is not None
    assert ours.weight.grad is None
    ours.requires_grad_(True)
    ours(inputs.detach()).sum().backward()
    assert ours.weight.grad is not None


@pytest.mark.parametrize("layer", [ImageConv2d, ImageConvTranspose2d])
def test_autocast_computes_in_bfloat16_and_gives_gradients_in_float32(layer):
    ours, other, inputs = pair_of(layer, LAYOUTS[0])
    ours, other, inputs = ours.float(), other.float(), inputs.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, wanted = ours(inputs), other(inputs)
    assert found.dtype == wanted.dtype == torch.bfloat16
    assert_close(found, wanted, rtol=2e-2, atol=2e-2)
    found.float().sum().backward()
    assert ours.weight.grad.dtype == inputs.grad.dtype == torch.float32
