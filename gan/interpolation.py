"""Owns interpolation between noise vectors: spherical for normal noise, linear for uniform noise."""

import torch
from torch import Tensor


def interpolate(starts: Tensor, ends: Tensor, steps: int, law: str) -> Tensor:
    """Noise (N, steps, z_dim) from starts (N, z_dim) to ends (N, z_dim), both included, evenly spaced.

    law "normal" interpolates spherically (White, 2016, arXiv:1609.04468): a straight line would pass closer
    to the origin than normal noise ever lies. Other laws fill a box, and a straight line stays inside it.
    Raises ValueError for unequal shapes or fewer than two steps.
    """
    if starts.shape != ends.shape or steps < 2:
        shapes = f"{tuple(starts.shape)} and {tuple(ends.shape)}"
        raise ValueError(f"can't interpolate in {steps} steps between {shapes}")
    fraction = torch.linspace(0.0, 1.0, steps, dtype=torch.float64)[None, :, None]
    first, last = starts.double()[:, None], ends.double()[:, None]
    if law != "normal":
        return (first * (1 - fraction) + last * fraction).to(starts.dtype)
    cosine = torch.nn.functional.cosine_similarity(first, last, dim=-1).clamp(-1.0, 1.0)
    angle = torch.arccos(cosine)[..., None]
    # Parallel vectors span no arc; linear interpolation is the limit there.
    sine = torch.sin(angle)
    is_arc = sine > 1e-6
    safe = torch.where(is_arc, sine, 1.0)
    before = torch.where(is_arc, torch.sin((1 - fraction) * angle) / safe, 1 - fraction)
    after = torch.where(is_arc, torch.sin(fraction * angle) / safe, fraction)
    return (before * first + after * last).to(starts.dtype)
