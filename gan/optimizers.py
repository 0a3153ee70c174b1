"""Owns the optimisers: makes the one that a recipe names, and has TensorFlow's RMSprop, which torch lacks."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gan.contract import AdamParams, OptimizerParams, RMSpropParams


def new_optimizer(
    params: OptimizerParams, network: nn.Module, *, capturable: bool = False
) -> torch.optim.Optimizer:
    """Make the optimiser that a recipe names, for a network's parameters.

    capturable: hold the learning rate as a float32 tensor beside the weights, as a recorded update needs;
    see `set_rate`.
    """
    optimizer = _new_optimizer(params, list(network.parameters()), capturable)
    if capturable:
        for group in optimizer.param_groups:
            group["lr"] = torch.full((), params.lr, device=group["params"][0].device)
    return optimizer


def _new_optimizer(
    params: OptimizerParams, weights: list[nn.Parameter], capturable: bool
) -> torch.optim.Optimizer:
    if isinstance(params, AdamParams):
        groups = _group_by_decay(weights, params.weight_decay)
        return torch.optim.Adam(groups, lr=params.lr, betas=params.betas, fused=True, capturable=capturable)
    if isinstance(params, RMSpropParams):
        # For one tensor at a time it reads a rate that is a tensor.
        many = True if capturable else None
        return torch.optim.RMSprop(
            weights, lr=params.lr, alpha=params.alpha, capturable=capturable, foreach=many
        )
    return RMSpropTF(weights, lr=params.lr, alpha=params.alpha)


def set_rate(optimizer: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """Set the learning rate of all groups; one that is a tensor is filled."""
    for group in optimizer.param_groups:
        if not isinstance(group["lr"], Tensor):
            group["lr"] = float(rate)
        elif isinstance(rate, Tensor):
            group["lr"].copy_(rate)
        else:
            group["lr"].fill_(rate)


def restore(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load an optimiser's state, and keep its own settings: the saved ones may come from another device."""
    settings = [
        {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(saved)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def _group_by_decay(weights: list[nn.Parameter], decay: float | None) -> list[Any]:
    """Split into kernels, which decay, and biases and gains, which don't; one group where nothing does."""
    if decay is None:
        return weights
    kernels = [weight for weight in weights if weight.dim() > 1]
    others = [weight for weight in weights if weight.dim() <= 1]
    return [{"params": kernels, "weight_decay": decay}, {"params": others}]


class RMSpropTF(torch.optim.Optimizer):
    """RMSprop of TensorFlow 1: w -= lr * g / sqrt(v + eps), v from 1, v = alpha * v + (1 - alpha) * g^2.

    torch starts v at 0 and adds eps (1e-8) outside the root: its first step is about lr / sqrt(1 - alpha)
    in every component, where this one's is lr * g / sqrt(alpha) for small g. Learning rates tuned in
    TensorFlow fit only this one. eps is 1e-10, as in TensorFlow.
    """

    def __init__(self, weights: Iterable[nn.Parameter], *, lr: float, alpha: float) -> None:
        super().__init__(weights, {"lr": lr, "alpha": alpha})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all weights that have a gradient; a closure is not supported."""
        if closure is not None:
            raise ValueError("RMSpropTF takes no closure")
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients = [weight.grad for weight in weights]
            averages = [self._average_of(weight) for weight in weights]
            rate, alpha = group["lr"], group["alpha"]
            torch._foreach_mul_(averages, alpha)
            torch._foreach_addcmul_(averages, gradients, gradients, value=1 - alpha)
            roots = torch._foreach_add(averages, 1e-10)
            torch._foreach_sqrt_(roots)
            if isinstance(rate, Tensor):
                changes = torch._foreach_div(gradients, roots)
                torch._foreach_mul_(changes, rate)
                torch._foreach_sub_(weights, changes)
            else:
                torch._foreach_addcdiv_(weights, gradients, roots, value=-rate)
        return None

    def _average_of(self, weight: nn.Parameter) -> Tensor:
        state = self.state[weight]
        if not state:
            state["square_average"] = torch.ones_like(weight)
        average: Tensor = state["square_average"]
        return average
