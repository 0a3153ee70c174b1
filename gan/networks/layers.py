"""Owns what families of networks share: norms, initialisation, sizes, fast layers, a cache for weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.contract import ImageShape
from gan.errors import ConfigError


def stem_side(image: ImageShape) -> tuple[int, int]:
    """Side of the smallest feature map and how often it is doubled to reach the image's side.

    Raises ConfigError where no such map exists.
    """
    side = image.height
    doublings = 0
    while side % 2 == 0 and side > 7:
        side //= 2
        doublings += 1
    if image.height != image.width or side not in (4, 7) or doublings < 2:
        raise ConfigError(
            f"convolutional networks need square images with a side of 4 or 7 times a power of two "
            f"(28, 32, 64, 128), not {image.height}x{image.width}"
        )
    return side, doublings


def halved_side(image: ImageShape, stages: int) -> int:
    """Side of an image after this many halvings. Raises ConfigError where it can't be halved so often."""
    if image.height != image.width or image.height % 2**stages:
        raise ConfigError(
            f"an autoencoder of {stages} stages needs square images with a side that is a multiple of "
            f"{2**stages}, not {image.height}x{image.width}"
        )
    return image.height // 2**stages


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Layer that normalises feature maps (N, channels, H, W): "batch", "layer", or "none" for nothing.

    One group over channels and pixels, with a gain and a bias per channel, is the layer norm of the
    WGAN-GP authors; nn.LayerNorm would have one per pixel.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


def initialise(network: nn.Module, scheme: str) -> None:
    """Draw all weights by a scheme of `gan.networks.Initialisation`; biases are 0.

    A module's own attribute `initialisation` takes precedence.
    """
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            _draw(module, getattr(module, "initialisation", scheme))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and scheme == "normal":
            with torch.no_grad():
                module.weight.normal_(1.0, 0.02)


def _draw(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, scheme: str) -> None:
    if scheme == "normal":
        nn.init.normal_(module.weight, std=0.02)
    elif scheme == "uniform":
        nn.init.uniform_(module.weight, -0.02 * 3**0.5, 0.02 * 3**0.5)
    elif scheme == "glorot":
        nn.init.xavier_uniform_(module.weight)
    else:  # "he": standard deviation sqrt(4 / (fan_in + fan_out)), twice Glorot's variance
        nn.init.xavier_uniform_(module.weight, gain=2**0.5)


def lay_out(network: nn.Module, device: torch.device, memory_format: torch.memory_format) -> None:
    """Move a network to a device, with its kernels and the maps between its layers in a memory format."""
    network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
    for module in network.modules():
        if isinstance(module, Unflatten):
            module.memory_format = memory_format


Kept = dict[tuple[int, bool], tuple[Tensor, Tensor]]  # by the weight's id and its need of gradients
_kept: ContextVar[Kept | None] = ContextVar("_kept", default=None)


@contextmanager
def keep_derived() -> Iterator[None]:
    """Cache what layers derive from their weights alone; whoever changes weights calls `forget_derived`.

    Not for two backward passes to one value of a weight: the first frees the graph that both need.
    """
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def derive_once(weight: Tensor, derive: Callable[[], Tensor]) -> Tensor:
    """Return what was derived from a weight, or derive it; see `keep_derived`."""
    kept = _kept.get()
    if kept is None:
        return derive()
    key = (id(weight), weight.requires_grad and torch.is_grad_enabled())
    if key not in kept:
        kept[key] = (weight, derive())  # with the weight, so that its id isn't given to another
    return kept[key][1]


def forget_derived(network: nn.Module) -> None:
    """Forget what was derived from a network's weights, which have changed.

    Their version counters don't tell: neither a fused optimiser nor `.data` counts.
    """
    kept = _kept.get()
    if kept is not None:
        for weight in network.parameters():
            for needs_gradient in (False, True):
                kept.pop((id(weight), needs_gradient), None)


class Unflatten(nn.Module):
    """(N, C * H * W) -> (N, C, H, W), in the memory format of the layers that follow.

    Otherwise the maps would have another format than the kernels, and every layer up to the next
    convolution would copy them, forward and backward.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.maps = (channels, height, width)
        self.memory_format = torch.contiguous_format

    def forward(self, rows: Tensor) -> Tensor:
        """Rows to maps."""
        return rows.unflatten(1, self.maps).contiguous(memory_format=self.memory_format)


class Flatten(nn.Module):
    """(N, C, H, W) -> (N, C * H * W); the gradient comes back in the memory format of the maps."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to rows."""
        return _Flatten.apply(maps)


class _Flatten(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.maps = maps.shape[1:]
        last = maps.is_contiguous(memory_format=torch.channels_last)
        ctx.memory_format = torch.channels_last if last else torch.contiguous_format
        return maps.flatten(1)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return gradients[0].unflatten(1, ctx.maps).contiguous(memory_format=ctx.memory_format)


class ELU(nn.Module):
    """max(x, 0) + exp(min(x, 0)) - 1, on a CPU three times as fast as torch's own."""

    def forward(self, values: Tensor) -> Tensor:
        """Apply it to each element."""
        if values.is_cpu:
            return _CPUELU.apply(values)
        return functional.elu(values)


class _CPUELU(torch.autograd.Function):
    """Saves only its output y: the derivative is min(y, 0) + 1."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        result = values.clamp_max(0).exp_().sub_(1).add_(values.clamp_min(0))
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (result,) = ctx.saved_tensors
        return gradients[0] * (result.clamp_max(0) + 1)
