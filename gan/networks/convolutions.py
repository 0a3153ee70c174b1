"""Owns strided convolutions from and to images, which torch computes slowly in one direction on a CPU.

A transposed convolution from many channels to one or three, and so the gradient of a convolution to the
images it reads, runs at a thirtieth of the speed of its neighbours. Here it is a matrix product that gives
each position's patch, and the sum of patches where they overlap: the same numbers up to rounding, in a
quarter to a half of the time. Strides of 1 gain nothing. On other devices these are torch's own layers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class ImageConv2d(nn.Conv2d):
    """Convolution of images whose gradient with respect to them is computed by patches."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to maps."""
        if not images.is_cpu:
            return super().forward(images)
        maps: Tensor = _Conv.apply(*_cast(images, self.weight, self.bias), self.stride, self.padding)
        return maps


class ImageConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution to images, computed by patches."""

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Maps to (N, C, H, W)."""
        if not maps.is_cpu or output_size is not None:
            return super().forward(maps, output_size)
        layout = (self.stride, self.padding, self.output_padding)
        images: Tensor = _ConvTranspose.apply(*_cast(maps, self.weight, self.bias), *layout)
        return images


def _cast(*tensors: Tensor | None) -> list[Tensor | None]:
    """Cast the arguments of a convolution as autocast does."""
    if not torch.is_autocast_enabled("cpu"):
        return list(tensors)
    dtype = torch.get_autocast_dtype("cpu")
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        to_images = None
        if ctx.needs_input_grad[0]:
            # Rows and columns that no kernel covers get a gradient of 0.
            smallest = _sides(gradient, weight, stride, padding, (0, 0))
            rest = tuple(whole - side for whole, side in zip(images.shape[2:], smallest, strict=True))
            to_images = _ConvTranspose.apply(gradient, weight, None, stride, padding, rest)
        wanted = ctx.needs_input_grad[1:3]
        return to_images, *_to_kernel(gradient, images, weight, stride, padding, None, wanted), None, None


class _ConvTranspose(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, rest: Any
    ) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.layout = stride, padding, rest
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2) @ weight.flatten(1)
        patches = rows.unflatten(0, (len(maps), -1)).transpose(1, 2)  # (N, C * k * k, h * w)
        sides = _sides(maps, weight, stride, padding, rest)
        images = functional.fold(patches, sides, weight.shape[2:], padding=padding, stride=stride)
        return images if bias is None else images.add_(bias.view(-1, 1, 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        stride, padding, rest = ctx.layout
        to_maps = (
            functional.conv2d(gradient, weight, None, stride, padding) if ctx.needs_input_grad[0] else None
        )
        wanted = ctx.needs_input_grad[1:3]
        return to_maps, *_to_kernel(gradient, maps, weight, stride, padding, rest, wanted), None, None, None


def _sides(maps: Tensor, weight: Tensor, stride: Any, padding: Any, rest: Any) -> tuple[int, int]:
    """Output height and width of a transposed convolution."""
    height, width = (
        (maps.shape[axis + 2] - 1) * stride[axis] - 2 * padding[axis] + weight.shape[axis + 2] + rest[axis]
        for axis in range(2)
    )
    return height, width


def _to_kernel(
    gradient: Tensor,
    inputs: Tensor,
    weight: Tensor,
    stride: Any,
    padding: Any,
    rest: Any,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients to weight and bias, as wanted, of a convolution; of a transposed one if `rest` is given."""
    if not any(wanted):
        return None, None
    transposed = rest is not None
    channels = weight.shape[1] if transposed else weight.shape[0]
    layout = (stride, padding, (1, 1), transposed, rest or (0, 0), 1)
    _, kernel, bias = torch.ops.aten.convolution_backward(
        gradient, inputs, weight, [channels], *layout, [False, *wanted]
    )
    return kernel, bias
