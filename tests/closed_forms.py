"""Critics whose gradients are known in closed form, and what the tests of several variants share."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from gan.config import load_params
from gan.contract import ImageShape, Objective

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
# Grey and coloured, square and not: a norm over one axis, or a hard-coded 3 or 28, shows in one of them.
SHAPES = [(1, 4, 4), (3, 4, 4), (1, 2, 5), (3, 5, 2)]


def method_of(entry: str, dataset: str = "mnist_tiny", **changes: Any) -> Any:
    """Give the method of an entry of params.yaml, changed."""
    return PARAMS.recipes[dataset][entry].method.model_copy(update=changes)


def objective_of(entry: str, dataset: str = "mnist_tiny", **changes: Any) -> Objective:
    """Give the game of an entry of params.yaml, changed; its networks are built without memory."""
    with torch.device("meta"):
        image = PARAMS.datasets[dataset].shape
        objective: Objective = method_of(entry, dataset, **changes).build(image).objective
    return objective


class MeanCritic(nn.Module):
    """D(x) = mean of x, so that a one-pixel image is its own score. Keeps what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return images.flatten(1).mean(1)


def scores(*values: float) -> Tensor:
    """One-pixel images that MeanCritic gives these scores."""
    return torch.tensor(values).view(-1, 1, 1, 1)


class Linear(nn.Module):
    """D(x) = w . x, the weights being of one size and of alternating signs, so that |w| is as asked."""

    def __init__(self, shape: tuple[int, int, int], norm: float) -> None:
        super().__init__()
        pixels = math.prod(shape)
        signs = torch.tensor([1.0, -1.0]).repeat((pixels + 1) // 2)[:pixels]
        self.weight = nn.Parameter(signs * norm / math.sqrt(pixels))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return images.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = |x|^2 / 2, whose gradient at x is x."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return images.flatten(1).square().sum(1) / 2


class Smooth(nn.Module):
    """A convolution, tanh, a dense layer, softplus: its second derivatives exist and differ everywhere."""

    def __init__(self, image: ImageShape) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(image.channels, 3, 3, padding=1)
        self.hidden = nn.Linear(3 * image.height * image.width, 5)
        self.head = nn.Linear(5, 1)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        maps = torch.tanh(self.convolution(images)).flatten(1)
        return 4 * self.head(nn.functional.softplus(self.hidden(maps))).squeeze(1)


def gradients_one_by_one(critic: nn.Module, points: Tensor) -> Tensor:
    """Gradient at each point, each sample by itself, flat: (N, C, H, W) -> (N, C * H * W)."""
    rows = []
    for point in points:
        leaf = point[None].clone().requires_grad_()
        (found,) = torch.autograd.grad(critic(leaf)[0], leaf)
        rows.append(found.flatten())
    return torch.stack(rows)


def assert_gradient_is_a_finite_difference(
    loss: Tensor, critic: nn.Module, formula: Callable[[nn.Module], Tensor]
) -> None:
    """Compare the gradient of a loss in float32 to the slope of its formula, written anew, in float64."""
    critic.zero_grad()
    loss.backward()
    twin = copy.deepcopy(critic).double()
    assert_close(loss.double(), formula(twin), rtol=1e-5, atol=1e-6)
    step, steepest = 1e-5, 0.0
    for one, other in zip(critic.parameters(), twin.parameters(), strict=True):
        found = torch.zeros_like(one) if one.grad is None else one.grad
        weights = other.data.view(-1)
        for index in {0, weights.numel() // 2, weights.numel() - 1}:
            before = weights[index].item()
            weights[index] = before + step
            above = formula(twin)
            weights[index] = before - step
            slope = (above - formula(twin)) / (2 * step)
            weights[index] = before
            assert_close(found.flatten()[index].double(), slope, rtol=1e-4, atol=2e-6)
            steepest = max(steepest, abs(slope.item()))
    assert steepest > 2e-3  # a penalty that depends on nothing would pass all of the above
