"""Owns the distances between features of generated and of real images: Fréchet's, and that of a kernel.

All sums are in float64. What can't be scored (too few samples, unequal counts, features that are
not finite) is an error, never a number that stands for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError

Floats = NDArray[np.floating[Any]]

NESTED = 6  # counts that a distance is extrapolated from, evenly spaced from a quarter of the samples on


@dataclass(frozen=True)
class FeatureStats:
    """Count, mean (D,) and scatter (D, D) of features in float64.

    Two of them add up to the statistics of all their rows, so that batches need not be kept.
    """

    n: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]  # sum of the outer products of (row - mean)

    @classmethod
    def of(cls, features: Floats) -> FeatureStats:
        """Statistics of a batch (N, D), N >= 1. Raises DataError when a value is not finite."""
        rows = finite_rows(features)
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    def __add__(self, other: FeatureStats) -> FeatureStats:
        # Chan et al., 1983: merging centred sums, where sums of squares would cancel.
        n = self.n + other.n
        gap = other.mean - self.mean
        between = np.outer(gap, gap) * (self.n * other.n / n)
        return FeatureStats(n, self.mean + gap * (other.n / n), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Unbiased covariance (D, D): the scatter over n - 1."""
        return self.scatter / (self.n - 1)


def frechet_distance(a: FeatureStats, b: FeatureStats) -> float:
    """Squared Fréchet distance of two Gaussians: |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)).

    With A = L L^T the last trace is that of (L^T B L)^(1/2), a symmetric matrix, so that no complex
    square root is ever taken. Heusel et al., 2017, arXiv:1706.08500. Raises ValueError when the
    numbers of features differ, DataError when the counts differ or don't exceed the features: the
    distance falls with the count, and a covariance of fewer rows is singular.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {a.mean.shape} and {b.mean.shape} have no distance")
    if a.n != b.n or a.n <= len(a.mean):
        raise DataError(
            f"a Fréchet distance of {a.n} against {b.n} images in {len(a.mean)} features is not comparable; "
            f"take equal counts above {len(a.mean)} (block `samples` of params.yaml)"
        )
    return max(_distance(a, b), 0.0)


def _distance(a: FeatureStats, b: FeatureStats) -> float:
    values, vectors = np.linalg.eigh(a.covariance)
    root = vectors * np.sqrt(values.clip(min=0.0))  # rounding leaves eigenvalues a little below zero
    overlap = np.sqrt(np.linalg.eigvalsh(root.T @ b.covariance @ root).clip(min=0.0)).sum()
    gap = a.mean - b.mean
    distance = gap @ gap + np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * overlap
    return float(distance)


def extrapolated_distance(features: Floats, reference: FeatureStats, *, seed: int = 0) -> float:
    """Fréchet distance that samples (N, D) would have if there were no end of them.

    The distance of n samples is close to a + b / n; a is that of the least-squares line through six
    nested portions of one shuffle, from N / 4 samples to all N. The reference's own count is left as it
    is. Chong & Forsyth, 2020, arXiv:1911.07023, section 4. Trust it where N / 4 exceeds D; it may then
    still fall below zero. Raises ValueError for fewer than 24 samples.
    """
    rows = finite_rows(features)
    if len(rows) < 4 * NESTED:
        raise ValueError(f"{len(rows)} samples are too few for {NESTED} nested portions")
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    counts = np.linspace(len(rows) // 4, len(rows), NESTED).round().astype(int)
    stats, distances, begin = None, [], 0
    for count in counts:
        more = FeatureStats.of(rows[begin:count])
        stats, begin = more if stats is None else stats + more, count
        distances.append(_distance(stats, reference))
    return float(np.polyfit(1.0 / counts, distances, 1)[1])


class KernelDistance(NamedTuple):
    """Mean of the subsets' unbiased estimates and their standard deviation; the mean may lie below zero."""

    mean: float
    spread: float


def kernel_distance(
    x: Floats, y: Floats, *, subsets: int = 100, size: int | None = None, seed: int = 0
) -> KernelDistance:
    """Kernel distance (KID): unbiased squared MMD under the kernel (x.y / D + 1)^3, averaged over subsets.

    x: (N, D), y: (M, D). A subset is drawn from either without replacement; its size is 1,000, or
    half the smaller count when that is less, so that subsets of few images still differ. Real images
    score a little below zero against a split whose classes are dealt out evenly (mnist_tiny's are):
    its rows are then less alike than independent draws. Binkowski et al., 2018, arXiv:1801.01401.
    Raises ValueError when the numbers of features differ or a size is below 2 or above a count.
    """
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(f"features of {x.shape[1:]} and {y.shape[1:]} have no distance")
    size = min(1000, len(x) // 2, len(y) // 2) if size is None else size
    if not 2 <= size <= min(len(x), len(y)):
        raise ValueError(f"subsets of {size} can't be drawn from {len(x)} and {len(y)} images")
    first, second = finite_rows(x), finite_rows(y)
    random = np.random.default_rng(seed)
    estimates = [
        _squared_mmd(
            first[random.choice(len(first), size, replace=False)],
            second[random.choice(len(second), size, replace=False)],
        )
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(estimates)), float(np.std(estimates)))


def _squared_mmd(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Unbiased estimate for two samples of one size: pairs of a row with itself are left out."""
    size, features = x.shape

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        base: NDArray[np.float64] = a @ b.T / features + 1.0
        return base * base * base  # 20 times as fast as ** 3

    within = sum(k.sum() - np.trace(k) for k in (kernel(x, x), kernel(y, y)))
    return float(within / (size * (size - 1)) - 2.0 * kernel(x, y).mean())


def finite_rows(features: Floats) -> NDArray[np.float64]:
    """Rows (N, D) in float64. Raises DataError when a value is not finite."""
    rows = np.asarray(features, dtype=np.float64)
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise DataError(f"{bad} of {len(rows)} images have features that are not finite; look at the images")
    return rows
