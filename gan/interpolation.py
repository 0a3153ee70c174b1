"""Owns the way between two noise vectors: along the sphere for normal noise, straight for uniform noise."""

import torch
from torch import Tensor


def interpolate(starts: Tensor, ends: Tensor, steps: int, law: str) -> Tensor:
    """Noise (N, steps, z_dim) from starts (N, z_dim) to ends (N, z_dim), both included, evenly spaced.

    law "normal" turns from the one to the other and scales on the way (White, 2016, arXiv:1609.04468): a
    straight way would pass nearer to the origin than normal noise ever lies. Other laws fill a box, which
    a straight way stays in. Raises ValueError for unequal shapes or fewer than two steps.
    """
    if starts.shape != ends.shape or steps < 2:
        raise ValueError(f"no way of {steps} steps from {tuple(starts.shape)} to {tuple(ends.shape)}")
    way = torch.linspace(0.0, 1.0, steps, dtype=torch.float64)[None, :, None]
    first, last = starts.double()[:, None], ends.double()[:, None]
    if law != "normal":
        return (first * (1 - way) + last * way).to(starts.dtype)
    cosine = torch.nn.functional.cosine_similarity(first, last, dim=-1).clamp(-1.0, 1.0)
    angle = torch.arccos(cosine)[..., None]
    # Vectors of one direction span no arc; there the straight way is its limit.
    sine = torch.sin(angle)
    is_arc = sine > 1e-6
    safe = torch.where(is_arc, sine, 1.0)
    before = torch.where(is_arc, torch.sin((1 - way) * angle) / safe, 1 - way)
    after = torch.where(is_arc, torch.sin(way * angle) / safe, way)
    return (before * first + after * last).to(starts.dtype)
