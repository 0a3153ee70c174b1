"""Owns convolutions of wide layers, with half the multiplications that torch needs on a CPU.

Winograd's minimal filtering: a convolution over neighbouring positions is a polynomial product, which its
values at a few points determine. A tile of 4x4 outputs takes (4 + r - 1)^2 products for each pair of
channels where the kernel touches r positions a side, instead of 16 times the kernel's size: 36 instead of
144 for 3x3. Lavin and Gray, 2016, arXiv:1509.09308, section 4. A stride of 2 splits image and kernel by the
parity of their positions into four convolutions without stride (r = 3 for 5x5: 144 instead of 400), and a
transposed convolution is the adjoint of an ordinary one.

The sum over channels is a matrix product, everything else a fixed linear map, so that gradients of any
order need two rules: that of a product, and that of a map, whose gradient is its adjoint. Numbers differ
from torch's by rounding, by about 1e-5 of the largest. Used on a CPU in float32 and float64, for the layers
that were measured to gain on AMD and Intel; all others are torch's own, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import isqrt, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.networks.layers import derive_once
from gan.networks.products import multiply

TILE = 4
BEFORE = 1  # places that a kernel reaches before its output, at every size and stride of KERNELS
POINTS = (0, 1, -1, 2, -2)  # and infinity; small integers lose least
NARROWEST = 128  # channels on either side: the maps' cost is shared by all channels of the other side
KERNELS = {(3, 1), (5, 2)}  # and strides that gain; 4x4 by 2 has too little to save
LARGEST = 32  # side of the outputs: beyond it the maps cost more than the products save
FEWEST = 512  # output positions in a batch: with fewer, transforming the kernel costs more than it saves

Map = Callable[[Tensor], Tensor]


class WideConv2d(nn.Conv2d):
    """Convolution, (N, C, H, W) to maps."""

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve, by tiles where that is quicker."""
        kernel_size, stride = self.kernel_size[0], self.stride[0]
        height, width = (side // stride for side in maps.shape[2:])
        if any(side % stride for side in maps.shape[2:]) or not _is_faster(self, maps, height, width):
            return super().forward(maps)
        plan = TilePlan(kernel_size, stride, height, width, maps.dtype)
        inputs = _Linear.apply(maps, plan.points_of_inputs, plan.inputs_of_points)
        outputs = _Times.apply(inputs, plan.points_of(self.weight))
        result: Tensor = _Linear.apply(outputs, plan.outputs_of_points, plan.points_of_outputs)
        return result if self.bias is None else result + self.bias.view(-1, 1, 1)


class WideConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution, (N, C, H, W) to maps of twice the side."""

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve, by tiles where that is quicker."""
        kernel_size, stride = self.kernel_size[0], self.stride[0]
        doubles = output_size is None and self.output_padding[0] == (kernel_size - stride) % 2
        height, width = maps.shape[2:]
        if not doubles or not _is_faster(self, maps, height, width):
            return super().forward(maps, output_size)
        plan = TilePlan(kernel_size, stride, height, width, maps.dtype)
        outputs = _Linear.apply(maps, plan.points_of_outputs, plan.outputs_of_points)
        inputs = _TimesTransposed.apply(outputs, plan.points_of(self.weight))
        result: Tensor = _Linear.apply(inputs, plan.inputs_of_points, plan.points_of_inputs)
        return result if self.bias is None else result + self.bias.view(-1, 1, 1)


def _is_faster(layer: nn.Conv2d | nn.ConvTranspose2d, maps: Tensor, height: int, width: int) -> bool:
    """Tell whether tiles were measured to be faster for this layer. Sides are those of its smaller maps."""
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    return (
        maps.is_cpu
        and maps.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and (kernel, stride) in KERNELS
        and layer.kernel_size[1] == kernel
        and layer.stride[1] == stride
        and layer.padding == ((kernel - 1) // 2,) * 2
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and min(layer.in_channels, layer.out_channels) >= NARROWEST
        and max(height, width) <= LARGEST
        and len(maps) * height * width >= FEWEST
    )


@dataclass(frozen=True)
class TilePlan:
    """The fixed linear maps of one convolution, each with its adjoint.

    height, width: of the outputs of a convolution, which are the inputs of a transposed one. "Outputs" and
    "inputs" are those of the convolution. At the points, inputs are (P, R, stride^2 * C), outputs (P, R, D)
    and kernels (P, stride^2 * C, D), with P points, R tiles of the batch, and channels C and D.
    """

    kernel: int
    stride: int
    height: int
    width: int
    dtype: torch.dtype

    def points_of(self, weight: Tensor) -> Tensor:
        """Values of a layer's weight at the points, differentiable; see `derive_once`."""
        return derive_once(
            weight, lambda: _Linear.apply(weight, self.points_of_kernel, self.kernel_of_points)
        )

    def points_of_kernel(self, kernel: Tensor) -> Tensor:
        """(D, C, k, k) to values at the points."""
        outputs, channels = kernel.shape[:2]
        taps = kernel.permute(0, 2, 3, 1).reshape(outputs, -1).t().contiguous()
        values = multiply(self._filtering.kernel, taps.view(self.kernel**2, -1))
        return values.view(len(self._filtering.inputs), -1, outputs)

    def kernel_of_points(self, values: Tensor) -> Tensor:
        """Adjoint of `points_of_kernel`."""
        outputs = values.shape[2]
        taps = multiply(self._filtering.kernel.t(), values.reshape(len(self._filtering.kernel), -1))
        kernel = taps.view(-1, outputs).t().contiguous()
        return kernel.view(outputs, self.kernel, self.kernel, -1).permute(0, 3, 1, 2)

    def points_of_inputs(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) to the values of their tiles, which overlap."""
        stride, side, (down, across) = self.stride, self._side, self._tiles
        pixels = maps.permute(0, 2, 3, 1).unflatten(2, (-1, stride)).unflatten(1, (-1, stride))
        pixels = pixels.transpose(2, 3)  # (N, h, w, 2, 2, C): positions of the same parity are neighbours
        reach = side - TILE - BEFORE
        below, right = TILE * down - self.height + reach, TILE * across - self.width + reach
        padded = functional.pad(pixels, (0, 0, 0, 0, 0, 0, BEFORE, right, BEFORE, below))
        padded = padded.flatten(3)
        image, row, place, _ = padded.stride()
        tiles = padded.as_strided(
            (side, side, len(maps), down, across, padded.shape[3]),
            (row, place, image, TILE * row, TILE * place, 1),
        )
        return self._apply(self._filtering.inputs, tiles)

    def inputs_of_points(self, values: Tensor) -> Tensor:
        """Adjoint of `points_of_inputs`: the sum of the tiles where they overlap."""
        stride, (down, across) = self.stride, self._tiles
        tiles = self._apply(self._filtering.inputs.t(), values)
        tiles = tiles.view(self._side, self._side, -1, down, across, values.shape[2])
        sums = values.new_empty(tiles.shape[2], down + 1, TILE, across + 1, TILE, values.shape[2])
        sums[:, -1] = sums[:, :, :, -1] = 0
        places = sums.permute(2, 4, 0, 1, 3, 5)
        over = self._side - TILE  # rows and columns that reach into the next tile
        places[:, :, :, :-1, :-1] = tiles[:TILE, :TILE]
        places[:over, :, :, 1:, :-1] += tiles[TILE:, :TILE]
        places[:, :over, :, :-1, 1:] += tiles[:TILE, TILE:]
        places[:over, :over, :, 1:, 1:] += tiles[TILE:, TILE:]
        rows, columns = (slice(BEFORE, BEFORE + size) for size in (self.height, self.width))
        pixels = sums.flatten(3, 4).flatten(1, 2)[:, rows, columns]
        pixels = pixels.unflatten(3, (stride, stride, -1)).transpose(2, 3)
        return pixels.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)

    def outputs_of_points(self, values: Tensor) -> Tensor:
        """Values of tiles to (N, D, height, width)."""
        tiles = self._apply(self._filtering.outputs, values)
        tiles = tiles.view(TILE, TILE, -1, *self._tiles, values.shape[2]).permute(2, 3, 0, 4, 1, 5)
        maps = tiles.flatten(3, 4).flatten(1, 2)
        return maps[:, : self.height, : self.width].contiguous().permute(0, 3, 1, 2)

    def points_of_outputs(self, maps: Tensor) -> Tensor:
        """Adjoint of `outputs_of_points`."""
        down, across = self._tiles
        beyond = (0, 0, 0, across * TILE - self.width, 0, down * TILE - self.height)
        pixels = functional.pad(maps.permute(0, 2, 3, 1), beyond)
        tiles = pixels.unflatten(2, (across, TILE)).unflatten(1, (down, TILE)).permute(2, 4, 0, 1, 3, 5)
        return self._apply(self._filtering.outputs.t(), tiles)

    def _apply(self, matrix: Tensor, tiles: Tensor) -> Tensor:
        """Apply a matrix to each tile and channel: (p, p, N, down, across, C) to (q, R, C)."""
        return multiply(matrix, tiles.reshape(matrix.shape[1], -1)).view(len(matrix), -1, tiles.shape[-1])

    @property
    def _tiles(self) -> tuple[int, int]:
        """Tiles downwards and across."""
        return -(-self.height // TILE), -(-self.width // TILE)

    @property
    def _side(self) -> int:
        """Points a side, and the side of a tile of inputs of one parity."""
        return isqrt(len(self._filtering.inputs))

    @property
    def _filtering(self) -> Filtering:
        return _filtering_of(self.kernel, self.stride, self.dtype)


class Filtering(NamedTuple):
    """The matrices of one kernel size and stride, with p points a side: outputs ((inputs x) * (kernel w)).

    outputs: (TILE^2, p^2). inputs: (p^2, p^2). kernel: (p^2 * stride^2, k^2). Each for both dimensions at
    once, which takes more multiplications than one after the other, and less time.
    """

    outputs: Tensor
    inputs: Tensor
    kernel: Tensor


@cache
def _filtering_of(kernel: int, stride: int, dtype: torch.dtype) -> Filtering:
    """Make the matrices; each tap of the kernel has a parity, and a place among those of that parity."""
    offsets = [tap - (kernel - 1) // 2 for tap in range(kernel)]
    places = [offset // stride for offset in offsets]
    assert min(places) == -BEFORE
    outputs, values, inputs = cook_toom(TILE, max(places) + BEFORE + 1)
    one_way = torch.zeros(stride, len(inputs), kernel, dtype=torch.float64)
    for tap, (offset, place) in enumerate(zip(offsets, places, strict=True)):
        one_way[offset % stride, :, tap] = values[:, place + BEFORE]
    both = torch.einsum("apt,bqu->pqabtu", one_way, one_way).reshape(-1, kernel**2)
    return Filtering(*(part.to(dtype) for part in (outputs.kron(outputs), inputs.kron(inputs), both)))


def cook_toom(outputs: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Make A^T, G and B^T, in float64: sums over `taps` neighbours are A^T ((G w) * (B^T x)).

    Shapes (outputs, p), (p, taps) and (p, p), p = outputs + taps - 1: values at p - 1 of POINTS and at
    infinity. The transpose of polynomial multiplication by interpolation; Lavin and Gray, section 4.1.
    """
    roots = [Fraction(point) for point in POINTS[: outputs + taps - 2]]
    weights = [prod(point - other for other in roots if other != point) for point in roots]
    spread = [[root**power for root in roots] + [Fraction(power == outputs - 1)] for power in range(outputs)]
    values = [
        [root**power / weight for power in range(taps)] for root, weight in zip(roots, weights, strict=True)
    ]
    values.append([Fraction(power == taps - 1) for power in range(taps)])
    bases = [_coefficients([other for other in roots if other != root]) + [Fraction(0)] for root in roots]
    bases.append(_coefficients(roots))
    outer, kernel, inputs = (
        torch.tensor([[float(number) for number in row] for row in matrix], dtype=torch.float64)
        for matrix in (spread, values, bases)
    )
    return outer, kernel, inputs


def _coefficients(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, padded = [Fraction(0), *coefficients], [*coefficients, Fraction(0)]
        coefficients = [low - root * high for low, high in zip(shifted, padded, strict=True)]
    return coefficients


class _Linear(torch.autograd.Function):
    """A linear map; its gradient is the adjoint map."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, forth: Map, back: Map) -> Tensor:
        ctx.forth, ctx.back = forth, back
        return forth(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Linear.apply(gradients[0], ctx.back, ctx.forth), None, None


def _multiply_each(left: Tensor, right: Tensor) -> Tensor:
    """Matrix products (P, R, K) (P, K, D)."""
    if left.dtype != torch.float32:
        return torch.bmm(left, right)
    return torch.stack([multiply(*pair) for pair in zip(left, right, strict=True)])


class _Times(torch.autograd.Function):
    """Values of inputs (P, R, K) and kernels (P, K, D) to those of outputs (P, R, D).

    This function and the two that follow are each other's gradients. Autograd's own rules give the kernel's
    second gradient transposed, and copy it before adding it to the first.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, kernel)
        return _multiply_each(inputs, kernel)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, kernel = ctx.saved_tensors
        to_inputs = _TimesTransposed.apply(gradients[0], kernel) if ctx.needs_input_grad[0] else None
        to_kernel = _ToKernel.apply(inputs, gradients[0]) if ctx.needs_input_grad[1] else None
        return to_inputs, to_kernel


class _TimesTransposed(torch.autograd.Function):
    """The adjoint in the maps: (P, R, D) and (P, K, D) -> (P, R, K)."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(outputs, kernel)
        return _multiply_each(outputs, kernel.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        outputs, kernel = ctx.saved_tensors
        to_outputs = _Times.apply(gradients[0], kernel) if ctx.needs_input_grad[0] else None
        to_kernel = _ToKernel.apply(gradients[0], outputs) if ctx.needs_input_grad[1] else None
        return to_outputs, to_kernel


class _ToKernel(torch.autograd.Function):
    """The adjoint in the kernel: (P, R, K) and (P, R, D) -> (P, K, D)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, outputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, outputs)
        return _multiply_each(inputs.transpose(1, 2), outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, outputs = ctx.saved_tensors
        to_inputs = _TimesTransposed.apply(outputs, gradients[0]) if ctx.needs_input_grad[0] else None
        to_outputs = _Times.apply(inputs, gradients[0]) if ctx.needs_input_grad[1] else None
        return to_inputs, to_outputs
