"""Owns scores of predicted classes: how many there are, how confident and how evenly spread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.metrics.distances import Floats, finite_rows

CONFIDENCE = 0.9
COVERED_SHARE = 0.01


def classes_covered(probabilities: Floats) -> int:
    """Number of classes that at least one sample in a hundred is predicted to be. probabilities: (N, K)."""
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return int((counts >= COVERED_SHARE * len(probabilities)).sum())


def confident_share(probabilities: Floats) -> float:
    """Share of the samples whose likeliest class has a probability above 0.9.

    probabilities: (N, K), or (N, C, K), where each of the C likeliest ones must.
    """
    sure = probabilities.max(axis=-1) > CONFIDENCE
    return float(sure.reshape(len(sure), -1).all(axis=1).mean())


def inception_score(probabilities: Floats, *, splits: int = 10, shuffle: bool = True) -> float:
    """Exponential of the mean KL(p(y|x) || p(y)) in nats, averaged over splits; from 1 to K.

    probabilities: (N, K), N >= splits; split i is rows i N // splits to (i + 1) N // splits of a shuffle,
    always the same one: real images may come sorted by class, and a split of one class scores 1.
    Salimans et al., 2016, arXiv:1606.03498. Raises ValueError when there are fewer samples than splits.
    """
    if not 1 <= splits <= len(probabilities):
        raise ValueError(f"{len(probabilities)} samples can't be cut into {splits} splits")
    rows = finite_rows(probabilities)
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
