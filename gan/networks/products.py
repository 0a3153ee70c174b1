"""Owns matrix products in float32 on a CPU, by the faster of torch's two libraries.

torch's own products are MKL's, which have half the speed of oneDNN's on AMD (100 against 200 GFLOP/s on a
core of Zen 5) and about the same on Intel. Torch has no public way to a product by oneDNN: a convolution of
1x1 reaches two thirds of it. The operation here is the one that torch's compiler makes of nn.Linear.
"""

import torch
from torch import Tensor


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product (R, K) (K, D), without a gradient; by torch itself where there is no oneDNN.

    Of rows with gaps between them oneDNN makes a product a thousand times as slowly: they are copied.
    """
    if _by_onednn is None or not left.is_cpu or left.dtype != torch.float32 or right.dtype != torch.float32:
        return left @ right
    product: Tensor = _by_onednn(_without_gaps(left), _without_gaps(right).t(), None, "none", [], "")
    return product


def _without_gaps(matrix: Tensor) -> Tensor:
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


_by_onednn = None
if torch.backends.mkldnn.is_available():
    _by_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
