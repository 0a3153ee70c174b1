"""Owns the scores of generated images and their names; works on features and probabilities, knows no network.

All sums are in float64. What can't be scored (too few samples, unequal counts, features that are
not finite) is an error, never a number that stands for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError
from gan.metrics.modes import Modes, stacked_modes
from gan.metrics.neighbours import memorised_share, neighbourhoods, suspicious_distance

Floats = NDArray[np.floating[Any]]
Suffix = Literal["", "_raw", "_floor", "_ceiling"]

MODE_METRICS = Modes._fields  # of stacked digits only
FEATURE_METRICS = (
    *("fid", "kid", "classes", "confident", "kid_spread", "fid_infinity", "is", "precision", "recall"),
    *("density", "coverage", "class_kl", "memorised", "duplicates"),
)
IMAGE_METRICS = ("repeats", "sharpness", "ms_ssim")  # gan.metrics.pixels has them
METRICS = FEATURE_METRICS + MODE_METRICS + IMAGE_METRICS
CONFIDENCE = 0.9
COVERED_SHARE = 0.01
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
        rows = _checked(features)
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
    rows = _checked(features)
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
    first, second = _checked(x), _checked(y)
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


def classes_covered(probabilities: Floats) -> int:
    """Number of classes that at least one sample in a hundred is predicted to be. probabilities: (N, K)."""
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return int((counts >= COVERED_SHARE * len(probabilities)).sum())


def confident_share(probabilities: Floats) -> float:
    """Share of the samples whose likeliest class has a probability above 0.9. probabilities: (N, K)."""
    return float((probabilities.max(axis=1) > CONFIDENCE).mean())


def inception_score(probabilities: Floats, *, splits: int = 10, shuffle: bool = True) -> float:
    """Exponential of the mean KL(p(y|x) || p(y)) in nats, averaged over splits; from 1 to K.

    probabilities: (N, K), N >= splits; split i is rows i N // splits to (i + 1) N // splits of a shuffle,
    always the same one: real images may come sorted by class, and a split of one class scores 1.
    Salimans et al., 2016, arXiv:1606.03498. Raises ValueError when there are fewer samples than splits.
    """
    if not 1 <= splits <= len(probabilities):
        raise ValueError(f"{len(probabilities)} samples can't be cut into {splits} splits")
    rows = _checked(probabilities)
    if shuffle:
        rows = rows[np.random.default_rng(0).permutation(len(rows))]
    bounds = [i * len(rows) // splits for i in range(splits + 1)]
    parts = [rows[begin:end] for begin, end in zip(bounds, bounds[1:], strict=False)]
    return float(np.mean([np.exp(_divergence(part, part.mean(axis=0)).mean()) for part in parts]))


def class_divergence(counts: NDArray[np.integer[Any]], reference: NDArray[np.integer[Any]]) -> float:
    """KL(samples || reference) of two histograms of classes (K,), in nats.

    A class without samples adds nothing; one that only the samples have is counted as half an image of
    the reference, so that the divergence stays finite. Raises ValueError for histograms of unequal
    length or without a count.
    """
    if counts.shape != reference.shape or not (counts.any() and reference.any()):
        raise ValueError(
            f"histograms of {counts.sum()} in {counts.shape} and {reference.sum()} samples "
            f"in {reference.shape} can't be compared"
        )
    wanted = np.where((reference == 0) & (counts > 0), 0.5, reference)
    return float(_divergence(counts / counts.sum(), wanted / wanted.sum()))


def _divergence(p: Floats, q: Floats) -> NDArray[np.float64]:
    """KL(p || q) along the last axis, in nats; 0 log 0 is 0."""
    possible = p > 0
    ratio = np.divide(p, q, out=np.ones(p.shape), where=possible)
    found: NDArray[np.float64] = (p * np.log(ratio)).sum(axis=-1)
    return found


def class_histogram(probabilities: Floats) -> NDArray[np.int64]:
    """Number of samples that are predicted to be of each class (K,). probabilities: (N, K)."""
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]).astype(np.int64)


@dataclass(frozen=True)
class Reference:
    """What samples are scored against."""

    features: Floats  # (N, D) of the reference images
    classes: NDArray[np.int64]  # (K,) how many of them are predicted to be of each; K = 0 without classes
    train: Floats  # (M, D) of the training images, which a generator may have memorised
    suspicious: float  # distance to a training image at which a sample counts as a copy

    @classmethod
    def of(cls, features: Floats, probabilities: Floats | None, train: Floats) -> Reference:
        """Reference of images (N, D) that are not among the training images (M, D).

        probabilities: of the reference images, as `score` takes them.
        """
        classes = np.empty(0, np.int64)
        if probabilities is not None and probabilities.ndim == 2:
            classes = class_histogram(probabilities)
        return cls(features, classes, train, suspicious_distance(features, train))


def score(features: Floats, probabilities: Floats | None, reference: Reference) -> dict[str, float]:
    """Every metric of N samples that needs no pixels by its short name.

    features: (N, D) of the samples; probabilities: (N, K) of their classes, (N, C, K) of stacked digits,
    whose modes are counted in place of classes, or None where the extractor names neither. Of more than
    100 classes, which even shares would leave below `classes_covered`'s one in a hundred, only `is` is
    told. Raises DataError as `frechet_distance` does.
    """
    wanted = FeatureStats.of(reference.features)
    fid = frechet_distance(FeatureStats.of(features), wanted)
    kid = kernel_distance(features, reference.features)
    return {
        "fid": fid,
        "kid": kid.mean,
        "kid_spread": kid.spread,
        "fid_infinity": extrapolated_distance(features, wanted),
        **neighbourhoods(features, reference.features)._asdict(),
        "memorised": memorised_share(features, reference.train, reference.suspicious),
        **({} if probabilities is None else _class_scores(probabilities, reference.classes)),
    }


def _class_scores(probabilities: Floats, reference: NDArray[np.int64]) -> dict[str, float]:
    if probabilities.ndim == 3:
        return stacked_modes(probabilities)._asdict()
    found = {"is": inception_score(probabilities)}
    if probabilities.shape[1] * COVERED_SHARE <= 1:
        found |= {
            "classes": classes_covered(probabilities),
            "confident": confident_share(probabilities),
            "class_kl": class_divergence(class_histogram(probabilities), reference),
        }
    return found


def metric_name(metric: str, extractor: str, n: int, split: str, suffix: Suffix = "") -> str:
    """Full name of a metric, which states its protocol: fid_mnistnet_1k_test_raw.

    Without a suffix it is the averaged generator's. Counts that are no whole thousands stay plain.
    """
    if suffix not in get_args(Suffix):
        raise ValueError(f"unknown suffix {suffix!r}; there are {', '.join(map(repr, get_args(Suffix)))}")
    count = f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
    return f"{metric}_{extractor}_{count}_{split}{suffix}"


def _checked(features: Floats) -> NDArray[np.float64]:
    rows = np.asarray(features, dtype=np.float64)
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise DataError(f"{bad} of {len(rows)} images have features that are not finite; look at the images")
    return rows
