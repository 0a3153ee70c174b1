"""Metrics against closed forms, loops and goldens by hand."""

import math

import numpy as np
import pytest

from gan.errors import DataError
from gan.metrics.features import (
    FEATURE_METRICS,
    METRICS,
    MODE_METRICS,
    FeatureStats,
    Reference,
    class_divergence,
    classes_covered,
    confident_share,
    extrapolated_distance,
    frechet_distance,
    inception_score,
    kernel_distance,
    metric_name,
    score,
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


def one_hot(classes, confidence=1.0):
    rest = (1 - confidence) / 9
    return np.full((len(classes), 10), rest) + (confidence - rest) * np.eye(10)[classes]


def test_a_class_is_covered_from_one_sample_in_a_hundred_on():
    # 200 samples: class 0 has 197, class 1 two (1 %), class 2 one (0.5 %).
    assert classes_covered(one_hot([0] * 197 + [1] * 2 + [2])) == 2
    assert classes_covered(one_hot(list(range(10)) * 10)) == 10
    assert classes_covered(one_hot([9] * 100)) == 1


def test_confidence_must_exceed_nine_tenths():
    probabilities = np.concatenate([one_hot([3], 0.95), one_hot([3], 0.9), one_hot([4], 0.5), one_hot([5])])
    assert confident_share(probabilities) == 0.5


def test_inception_score_of_certain_predictions_is_the_number_of_classes_in_use():
    assert inception_score(one_hot([0, 1, 2, 3] * 5), splits=1) == pytest.approx(4, rel=1e-12)
    assert inception_score(one_hot([7] * 20)) == pytest.approx(1, rel=1e-12)
    # p = (0.75, 0.25) and (0.25, 0.75), mean (0.5, 0.5): KL = 0.75 ln 1.5 + 0.25 ln 0.5 for either
    unsure = np.array([[0.75, 0.25], [0.25, 0.75]])
    expected = math.exp(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert inception_score(unsure, splits=1) == pytest.approx(expected, rel=1e-12)


def test_inception_score_is_the_mean_over_splits_in_order():
    # First half: classes 0 and 1, a score of 2. Second half: class 2 only, a score of 1.
    assert inception_score(one_hot([0, 1, 0, 1, 2, 2, 2, 2]), splits=2, shuffle=False) == pytest.approx(
        1.5, rel=1e-12
    )
    with pytest.raises(ValueError, match="3 samples can't be cut into 10 splits"):
        inception_score(one_hot([0, 1, 2]))


def test_the_inception_score_does_not_depend_on_a_sorted_order():
    found = inception_score(one_hot([label for label in range(10) for _ in range(100)]))
    assert found > 9  # splits in the order of the classes would score 1


def test_class_divergence_is_in_nats_and_finite_where_the_reference_lacks_a_class():
    # (1/2, 1/2) against (1/4, 3/4): 0.5 ln 2 + 0.5 ln (2/3)
    found = class_divergence(np.array([5, 5]), np.array([25, 75]))
    assert found == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), rel=1e-12)
    assert class_divergence(np.array([5, 0]), np.array([5, 5])) == pytest.approx(math.log(2), rel=1e-12)
    # The missing class counts as half an image: (0, 1) against (9, 0.5) / 9.5
    assert class_divergence(np.array([0, 3]), np.array([9, 0])) == pytest.approx(
        math.log(9.5 / 0.5), rel=1e-12
    )
    with pytest.raises(ValueError, match="can't be compared"):
        class_divergence(np.array([0, 0]), np.array([5, 5]))


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


def test_score_gives_every_metric_by_its_short_name():
    rows = draw(300)
    classes = one_hot([0] * 150 + [1] * 150)
    found = score(rows, classes, Reference.of(rows, classes, draw(300, seed=1)))
    assert sorted(found) == sorted(FEATURE_METRICS)
    assert list(METRICS)[:4] == ["fid", "kid", "classes", "confident"]
    assert found["fid"] < 1e-9
    assert found["class_kl"] == 0
    assert (found["classes"], found["confident"]) == (2, 1)


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        (None, ()),
        (np.full((300, 3, 10), 0.1), MODE_METRICS),  # three channels, each named by itself
        (np.full((300, 101), 1 / 101), ("is",)),  # an even share is below one in a hundred
    ],
)
def test_what_is_told_of_classes_depends_on_how_the_extractor_names_them(probabilities, named):
    rows = draw(300)
    found = score(rows, probabilities, Reference.of(rows, probabilities, draw(300, seed=1)))
    classes = {"classes", "confident", "is", "class_kl"}
    assert set(found) == set(FEATURE_METRICS) - classes | set(named)


@pytest.mark.parametrize(
    ("n", "suffix", "name"),
    [
        (1000, "", "fid_mnistnet_1k_test"),
        (10_000, "_raw", "fid_mnistnet_10k_test_raw"),
        (50_000, "_floor", "fid_mnistnet_50k_test_floor"),
        (500, "_ceiling", "fid_mnistnet_500_test_ceiling"),
        (1500, "", "fid_mnistnet_1500_test"),
    ],
)
def test_a_name_states_the_protocol(n, suffix, name):
    assert metric_name("fid", "mnistnet", n, "test", suffix) == name


def test_a_name_has_no_other_suffix():
    with pytest.raises(ValueError, match="'raw'"):
        metric_name("fid", "mnistnet", 1000, "test", "raw")
