"""Distances against closed forms, loops and goldens by hand."""

import math

import numpy as np
import pytest

from gan.errors import DataError
from gan.metrics.distances import (
    FeatureStats,
    extrapolated_distance,
    frechet_distance,
    kernel_distance,
)


def gaussian(mean, covariance, n=1000):
    return FeatureStats(n, np.array(mean, float), np.array(covariance, float) * (n - 1))


def draw(n, features=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


def test_frechet_distance_of_diagonal_gaussians_is_that_of_means_and_deviations():
    a = gaussian([0, 0], [[1, 0], [0, 4]])
    b = gaussian([3, 4], [[9, 0], [0, 1]])
    # |(3, 4)|^2 + (1 - 3)^2 + (2 - 1)^2 = 25 + 4 + 1
    assert frechet_distance(a, b) == pytest.approx(30, rel=1e-12)


def test_frechet_distance_holds_in_a_rotated_frame_where_covariances_commute():
    turn = np.array([[3, -4], [4, 3]]) / 5
    a = gaussian(turn @ [0, 0], turn @ np.diag([1, 4]) @ turn.T)
    b = gaussian(turn @ [3, 4], turn @ np.diag([9, 1]) @ turn.T)
    assert frechet_distance(a, b) == pytest.approx(30, rel=1e-12)


def test_frechet_distance_of_covariances_that_do_not_commute_has_its_closed_form():
    # For 2x2 matrices tr (A B)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)).
    # A = [[2, 1], [1, 2]], B = diag(1, 4): tr AB = 2 + 8 = 10, det AB = 3 * 4 = 12.
    a, b = gaussian([0, 0], [[2, 1], [1, 2]]), gaussian([0, 0], [[1, 0], [0, 4]])
    expected = 4 + 5 - 2 * math.sqrt(10 + 2 * math.sqrt(12))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_to_itself_is_zero_even_where_a_feature_is_dead():
    rows = draw(300, 8)
    rows[:, 3] = 0
    stats = FeatureStats.of(rows)
    assert 0 <= frechet_distance(stats, stats) < 1e-9


def test_statistics_are_those_of_numpy():
    rows = draw(50)
    stats = FeatureStats.of(rows)
    assert stats.n == 50
    np.testing.assert_allclose(stats.mean, rows.astype(float).mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats.covariance, np.cov(rows.astype(float), rowvar=False), rtol=1e-12)


@pytest.mark.parametrize("cuts", [[1], [2, 3, 99], list(range(1, 100))])
def test_statistics_do_not_depend_on_how_rows_are_cut_into_batches(cuts):
    rows = draw(100) * 1e-3 + 1e3  # a large offset, where plain sums of squares would cancel
    first, *others = np.split(rows, cuts)
    merged = sum((FeatureStats.of(batch) for batch in others), FeatureStats.of(first))
    whole = FeatureStats.of(rows)
    assert merged.n == 100
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-6, atol=1e-12)


def test_unequal_numbers_of_features_have_no_distance():
    with pytest.raises(ValueError, match="no distance"):
        frechet_distance(FeatureStats.of(draw(50, 3)), FeatureStats.of(draw(50, 4)))
    with pytest.raises(ValueError, match="no distance"):
        kernel_distance(draw(50, 3), draw(50, 4))


@pytest.mark.parametrize(("n", "m"), [(50, 51), (4, 4), (3, 3)])
def test_unequal_or_too_few_samples_are_an_error_and_no_number(n, m):
    with pytest.raises(DataError, match="block `samples`"):
        frechet_distance(FeatureStats.of(draw(n)), FeatureStats.of(draw(m)))


def test_five_samples_of_four_features_are_enough_for_a_distance():
    assert math.isfinite(frechet_distance(FeatureStats.of(draw(5)), FeatureStats.of(draw(5, seed=1))))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_an_error(value):
    rows = draw(50)
    rows[7, 2] = value
    with pytest.raises(DataError, match="1 of 50"):
        FeatureStats.of(rows)
    with pytest.raises(DataError, match="1 of 50"):
        kernel_distance(rows, draw(50))


def test_kernel_distance_is_the_mean_over_pairs_of_unlike_rows():
    x, y = draw(7, 3).astype(float), draw(7, 3, seed=1).astype(float) + 0.5

    def kernel(a, b):
        return (sum(a[i] * b[i] for i in range(3)) / 3 + 1) ** 3

    pairs = [(i, j) for i in range(7) for j in range(7)]
    expected = (
        sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / 42
        - 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / 49
    )
    found = kernel_distance(x, y, subsets=1, size=7)  # one subset that holds every row
    assert found.mean == pytest.approx(expected, rel=1e-10)
    assert found.spread == 0


def test_kernel_distance_over_whole_sets_is_symmetric():
    x, y = draw(40), draw(40, seed=1) + 1
    there, back = kernel_distance(x, y, subsets=1, size=40), kernel_distance(y, x, subsets=1, size=40)
    assert there.mean == pytest.approx(back.mean, rel=1e-10)


def test_kernel_distance_of_equal_distributions_is_zero_on_average():
    # An unbiased estimate lies on both sides of zero; a biased one would be above it every time.
    found = np.array(
        [kernel_distance(draw(60, 4, s), draw(60, 4, s + 1000), subsets=1, size=60).mean for s in range(200)]
    )
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(200)
    assert 0.2 < (found < 0).mean() < 0.8


def test_kernel_distance_is_the_same_each_time_and_grows_with_a_shift():
    x, y = draw(200), draw(200, seed=1)
    assert kernel_distance(x, y, subsets=5) == kernel_distance(x, y, subsets=5)
    assert kernel_distance(x, y, subsets=5).mean < kernel_distance(x, y + 0.5, subsets=5).mean
    assert kernel_distance(x, y + 0.5, subsets=5).mean < kernel_distance(x, y + 1, subsets=5).mean


@pytest.mark.parametrize("size", [1, 51])
def test_a_subset_that_cannot_be_drawn_is_refused(size):
    with pytest.raises(ValueError, match=f"subsets of {size} "):
        kernel_distance(draw(50), draw(60), size=size)


def test_an_extrapolated_distance_takes_off_most_of_what_few_samples_add():
    # Samples of the reference's own Gaussian: the distance for no end of them is 0.
    exact = FeatureStats(500, np.zeros(8), np.eye(8) * 499)
    plain = [frechet_distance(FeatureStats.of(draw(500, 8, s)), exact) for s in range(40)]
    endless = [extrapolated_distance(draw(500, 8, s), exact) for s in range(40)]
    assert np.mean(plain) > 0.03
    assert abs(np.mean(endless)) < 0.25 * np.mean(plain)


def test_an_extrapolated_distance_keeps_a_real_shift_and_needs_24_samples():
    exact = FeatureStats(2000, np.zeros(4), np.eye(4) * 1999)
    assert extrapolated_distance(draw(2000) + 1, exact) == pytest.approx(4, rel=0.1)  # |(1, 1, 1, 1)|^2
    with pytest.raises(ValueError, match="23 samples are too few"):
        extrapolated_distance(draw(23), exact)


def test_an_extrapolated_distance_does_not_depend_on_the_order_of_the_samples():
    # Real images come sorted by class: unshuffled, the first quarter would hold a few classes only.
    exact, rows = FeatureStats(2000, np.zeros(4), np.eye(4) * 1999), draw(2000)
    in_order = rows[rows[:, 0].argsort()]
    assert abs(extrapolated_distance(in_order, exact)) < 0.05
