"""Owns scores computed from pixels: repeats, sharpness, diversity.

Imports torch inside functions: reports read the names of metrics, and need no torch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Images = NDArray[np.uint8]

PAIRS = 200
SIDE = 176  # 11 pixels, the window, at the coarsest of five scales
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al., 2003, section 3.2
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_BATCH = 25  # pairs at a time


def repeated_share(images: Images) -> float:
    """Share of the images (N, C, H, W) that equal an earlier one in every pixel."""
    return 1.0 - len({image.tobytes() for image in images}) / len(images)


def sharpness(images: Images) -> float:
    """Mean share of an image's spectral energy above half of Nyquist's frequency.

    images: (N, C, H, W). Energy is |FFT|^2 summed over channels, without the mean; above means farther
    from the origin than 1/4 cycle a pixel, in any direction. An image of one value has none. Neither
    more nor less is better: blurred images lie below real ones, noise lies above (white noise near 0.8).
    """
    _, _, height, width = images.shape
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    shares = []
    for begin in range(0, len(images), 256):
        energy = np.abs(np.fft.fft2(images[begin : begin + 256].astype(np.float64))) ** 2
        energy[..., 0, 0] = 0.0
        total, high = energy.sum(axis=(1, 2, 3)), energy[..., radius > 0.25].sum(axis=(1, 2))
        shares.append(np.divide(high, total, out=np.zeros(len(total)), where=total > 1e-6))
    return float(np.concatenate(shares).mean())


def mean_pair_similarity(images: Images, *, pairs: int = PAIRS, seed: int = 0) -> float:
    """Mean MS-SSIM of random pairs of images (N, C, H, W), N >= 2; the lower, the more varied.

    The two of a pair are different samples of any class. Each image is resized to 176 pixels a side,
    bilinear, so that five scales fit; values of other sizes don't compare. Odena et al., 2017,
    arXiv:1610.09585, section 4.2.
    """
    import torch

    random = np.random.default_rng(seed)
    first = random.integers(0, len(images), pairs)
    second = (first + random.integers(1, len(images), pairs)) % len(images)
    found = [
        ms_ssim(
            _resized(images[first[begin : begin + _BATCH]]), _resized(images[second[begin : begin + _BATCH]])
        )
        for begin in range(0, pairs, _BATCH)
    ]
    return float(torch.cat(found).mean())


def _resized(images: Images) -> Tensor:
    import torch
    from torch.nn import functional

    pixels = torch.from_numpy(images).to(torch.float32)
    return functional.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity (N,) of images (N, C, H, W) with values from 0 to 255.

    Window: Gaussian of 11 pixels, sigma 1.5, no padding; five scales, halved by 2x2 means; channels
    averaged; negative contrasts count as 0. Wang, Simoncelli & Bovik, 2003. Raises ValueError for images
    of unequal shape or below 176 pixels.
    """
    if a.shape != b.shape or min(a.shape[2:]) < SIDE:
        raise ValueError(f"images of {tuple(a.shape)} and {tuple(b.shape)} have no similarity at five scales")
    import torch
    from torch.nn import functional

    product = torch.ones(len(a))
    for number, weight in enumerate(SCALE_WEIGHTS):
        luminance, contrast = _ssim_parts(a, b)
        last = number == len(SCALE_WEIGHTS) - 1
        part = luminance * contrast if last else contrast
        product = product * part.mean(dim=(1, 2, 3)).clamp_min(0.0) ** weight
        a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    return product


def _ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure maps: Wang et al., 2004, equations 6 and 13."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    variances = _blurred(a * a) - mean_a**2 + _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)


def _blurred(images: Tensor) -> Tensor:
    """Blur rows and columns without padding. Matrix products are 7 times as fast as torch's convolution."""
    return _blurring(images.shape[2]).T @ (images @ _blurring(images.shape[3]))


@cache
def _blurring(side: int) -> Tensor:
    """Matrix (side, side - 10) that blurs a row from the right: its columns hold the window, one place on."""
    import torch

    offsets = torch.arange(_WINDOW, dtype=torch.float32) - _WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    places = torch.arange(side)[:, None] - torch.arange(side - _WINDOW + 1)
    inside = (places >= 0) & (places < _WINDOW)
    return torch.where(inside, (window / window.sum())[places.clamp(0, _WINDOW - 1)], 0.0)
