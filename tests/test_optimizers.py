"""Optimisers: TensorFlow's RMSprop by hand, and what decays."""

import copy
import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.testing import assert_close

from gan.contract import OptimizerParams
from gan.optimizers import RMSpropTF, new_optimizer


def params_of(**values):
    return TypeAdapter(OptimizerParams).validate_python(values)


def step(optimizer, weight, gradient):
    weight.grad = torch.tensor([gradient], dtype=weight.dtype)
    optimizer.step()
    return weight.item()


def one_weight(value=1.0):
    return nn.Parameter(torch.tensor([value], dtype=torch.float64))


def test_rmsprop_of_tensorflow_starts_its_second_moment_at_one():
    weight = one_weight()
    optimizer = RMSpropTF([weight], lr=0.1, alpha=0.9)
    # v = 0.9 * 1 + 0.1 * 0.25 = 0.925, then 0.9 * 0.925 + 0.1 * 1 = 0.9325
    first = 1 - 0.1 * 0.5 / math.sqrt(0.925)
    second = first + 0.1 * 1.0 / math.sqrt(0.9325)
    assert step(optimizer, weight, 0.5) == pytest.approx(first, rel=1e-8)
    assert step(optimizer, weight, -1.0) == pytest.approx(second, rel=1e-8)


def test_its_first_step_is_a_thousandth_of_torchs_for_a_gradient_of_a_thousandth():
    ours, torchs = one_weight(), one_weight()
    moved = 1 - step(RMSpropTF([ours], lr=0.1, alpha=0.9), ours, 1e-3)
    sprung = 1 - step(torch.optim.RMSprop([torchs], lr=0.1, alpha=0.9), torchs, 1e-3)
    assert moved == pytest.approx(0.1 * 1e-3 / math.sqrt(0.9), rel=1e-4)
    assert sprung == pytest.approx(0.1 / math.sqrt(0.1), rel=1e-4)  # lr / sqrt(1 - alpha), whatever g


def test_its_epsilon_stands_inside_the_root():
    weight = one_weight()
    # alpha 0: v = g^2 = 1e-12, and the root of 1e-12 + 1e-10 is ten times |g|; outside, g / |g| = 1
    moved = 1 - step(RMSpropTF([weight], lr=0.1, alpha=0.0), weight, 1e-6)
    assert moved == pytest.approx(0.1 * 1e-6 / math.sqrt(1.01e-10), rel=1e-6)


def test_its_state_is_resumed_exactly_and_what_has_no_gradient_stands_still():
    weight, idle = one_weight(), one_weight(7.0)
    optimizer = RMSpropTF([weight, idle], lr=0.1, alpha=0.9)
    step(optimizer, weight, 0.5)
    saved, at = copy.deepcopy(optimizer.state_dict()), weight.item()
    straight = step(optimizer, weight, 0.3)
    twin = one_weight(at)
    resumed = RMSpropTF([twin, one_weight(7.0)], lr=0.5, alpha=0.1)
    resumed.load_state_dict(saved)
    assert step(resumed, twin, 0.3) == straight
    assert idle.item() == 7.0
    with pytest.raises(ValueError, match="closure"):
        optimizer.step(lambda: 0.0)


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (
            {"kind": "adam", "lr": 0.1, "betas": (0.5, 0.9)},
            torch.optim.Adam,
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-8, "weight_decay": 0},
        ),
        (
            {"kind": "rmsprop", "lr": 0.1, "alpha": 0.99},
            torch.optim.RMSprop,
            {"lr": 0.1, "alpha": 0.99, "eps": 1e-8, "momentum": 0, "centered": False},
        ),
        ({"kind": "rmsprop_tf", "lr": 0.1, "alpha": 0.9}, RMSpropTF, {"lr": 0.1, "alpha": 0.9}),
    ],
)
def test_the_recipes_choice_is_made_with_its_numbers(values, kind, wanted):
    network = nn.Linear(2, 1)
    optimizer = new_optimizer(params_of(**values), network)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in wanted} == wanted
    assert len(group["params"]) == 2


def test_weight_decay_shrinks_kernels_and_leaves_biases_and_gains():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 1))
    for parameter in network.parameters():
        parameter.data.fill_(0.5)
        parameter.grad = torch.zeros_like(parameter)
    optimizer = new_optimizer(params_of(kind="adam", lr=0.1, betas=(0.9, 0.999), weight_decay=1e-3), network)
    optimizer.step()
    # L2: the gradient is 0 + 1e-3 * 0.5 > 0, and Adam's first step is lr * sign of it.
    for name, parameter in network.named_parameters():
        moved = name in ("0.weight", "3.weight")
        assert_close(parameter.data, torch.full_like(parameter, 0.4 if moved else 0.5), rtol=1e-4, atol=0)
