"""Owns scores by nearest neighbours: how real and how varied samples are, copies and repeats.

Exact, in portions of rows: no whole matrix of distances is held. Works on rows of features or of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float64s = NDArray[np.float64]

PRECISION_K = 3  # Kynkaanniemi et al., 2019
COVERAGE_K = 5  # Naeem et al., 2020
SUSPICIOUS_PERCENTILE = 1.0  # of real images' distances; a sample this close isn't an independent draw
_PORTION = 2**18  # distances held at a time; larger portions leave the cache
_LEAST_ROWS = 128  # of a product with many others, which is slow with a few
_ROUNDING = 1e-13  # of the squared lengths: the cancellation error of a squared distance


class Neighbourhoods(NamedTuple):
    """Scores of samples by the balls around images; all are shares but `density`, which may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float
    duplicates: float


class Nearest(NamedTuple):
    """For each of N rows the nearest of others: its number and its distance."""

    number: NDArray[np.int64]  # (N,)
    distance: Float64s  # (N,), inf where there is none


def neighbourhoods(samples: Floats, real: Floats) -> Neighbourhoods:
    """Precision, recall, density, coverage and duplicates of samples (N, D) against real images (M, D).

    A ball reaches to its centre's k-th nearest neighbour within its own set. Precision: share of the
    samples within a ball around any real image; recall: the other way round; k = 3, the surface counts.
    Kynkaanniemi et al., 2019, arXiv:1904.06991. Density: number of balls around real images that a
    sample lies in, over k; coverage: share of those balls that hold a sample; k = 5, the surface does
    not count. Naeem et al., 2020, arXiv:2002.09797. Duplicates: share of the samples that lie as close
    to another sample as the closest 1 % of the real images do to another real image; an exact repeat
    always counts. Raises ValueError when the numbers of features differ or a set has less than 6 rows.
    """
    if samples.shape[1:] != real.shape[1:]:
        raise ValueError(f"features of {samples.shape[1:]} and {real.shape[1:]} have no distance")
    if min(len(samples), len(real)) <= COVERAGE_K:
        raise ValueError(f"{len(samples)} and {len(real)} images don't all have {COVERAGE_K} neighbours")
    first, second = _centred(samples, real)
    own, others = _to_neighbours(first), _to_neighbours(second)
    own_ball, ball, wide_ball = own[:, PRECISION_K], others[:, PRECISION_K], others[:, COVERAGE_K]
    precise, inside = 0, 0
    recalled = np.zeros(len(second), np.bool_)
    nearest = np.full(len(second), np.inf)
    for begin, squares in _portions(first, second):
        precise += int((squares <= ball).any(axis=1).sum())
        inside += int((squares < wide_ball).sum())
        recalled |= (squares <= own_ball[begin : begin + len(squares), None]).any(axis=0)
        nearest = np.minimum(nearest, squares.min(axis=0))
    return Neighbourhoods(
        precise / len(first),
        float(recalled.mean()),
        inside / (COVERAGE_K * len(first)),
        float((nearest < wide_ball).mean()),
        float((own[:, 1] <= np.percentile(others[:, 1], SUSPICIOUS_PERCENTILE)).mean()),
    )


def nearest_neighbours(rows: Floats, others: Floats) -> Nearest:
    """Find the nearest of M others (M, D) to each of N rows (N, D), in Euclidean distance; M may be 0.

    Which one is nearest is decided in float32, as rows are stored; its distance is then taken in float64
    from the difference of the two, so that a copy is at no distance. Raises ValueError when the numbers
    of features differ.
    """
    if rows.shape[1:] != others.shape[1:]:
        raise ValueError(f"features of {rows.shape[1:]} and {others.shape[1:]} have no distance")
    number, distance = np.zeros(len(rows), np.int64), np.full(len(rows), np.inf)
    if not len(others):
        return Nearest(number, distance)
    centre = others.mean(axis=0, dtype=np.float64)
    first, second = (
        np.subtract(part, centre, dtype=np.float32, casting="same_kind") for part in (rows, others)
    )
    half = np.einsum("nd,nd->n", second, second) / 2
    step = max(_LEAST_ROWS, _PORTION // len(others))
    for begin in range(0, len(rows), step):
        portion = slice(begin, begin + step)
        nearness = first[portion] @ second.T  # x.y - |y|^2 / 2 is largest where |x - y| is smallest
        nearness -= half
        number[portion] = nearness.argmax(axis=1)
        gaps = rows[portion].astype(np.float64) - others[number[portion]]
        distance[portion] = np.sqrt((gaps * gaps).sum(axis=1))
    return Nearest(number, distance)


def suspicious_distance(real: Floats, train: Floats) -> float:
    """Distance to the training images (M, D) that 1 % of other real images (N, D) don't exceed.

    A sample as close as that to a training image is more like it than independent draws are. Zero when
    there is nothing to measure; then only exact copies are suspicious.
    """
    if not len(train):
        return 0.0
    return float(np.percentile(nearest_neighbours(real, train).distance, SUSPICIOUS_PERCENTILE))


def memorised_share(samples: Floats, train: Floats, suspicious: float) -> float:
    """Share of the samples (N, D) no farther than `suspicious` from their nearest training image (M, D).

    A model that draws independently scores about 0.01 with `suspicious_distance`; one that copies, 1.
    """
    return float((nearest_neighbours(samples, train).distance <= suspicious).mean())


def _to_neighbours(rows: Float64s) -> Float64s:
    """Squared distances (N, 6) from each row to itself, which is zero, and to its five nearest others."""
    found = np.empty((len(rows), COVERAGE_K + 1))
    for begin, squares in _portions(rows, rows):
        numbers = np.arange(len(squares))
        squares[numbers, begin + numbers] = -1.0  # the row itself comes first, before its exact repeats
        lowest = np.partition(squares, COVERAGE_K, axis=1)[:, : COVERAGE_K + 1]
        found[begin : begin + len(squares)] = np.sort(lowest, axis=1)
    found[:, 0] = 0.0
    return found


def _portions(rows: Float64s, others: Float64s) -> Iterator[tuple[int, Float64s]]:
    """Yield the first row's number and the squared distances of a portion of rows to all others."""
    step = max(1, _PORTION // len(others))
    own, lengths = (np.einsum("nd,nd->n", part, part) for part in (rows, others))
    rounding = _ROUNDING * float(lengths.max(initial=0.0) + own.max(initial=0.0))
    for begin in range(0, len(rows), step):
        squares = (-2.0 * rows[begin : begin + step]) @ others.T
        squares += lengths
        squares += own[begin : begin + step, None]
        squares[squares < rounding] = 0.0  # equal rows are at distance 0, whatever rounding gives
        yield begin, squares


def _centred(rows: Floats, others: Floats) -> tuple[Float64s, Float64s]:
    """Both in float64 about the mean of the others, where sums of squares cancel least."""
    first, second = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    centre = second.mean(axis=0)
    return first - centre, second - centre
