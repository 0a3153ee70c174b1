"""The claims' statistics, each on numbers whose answer is worked out by hand."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind

from gan.errors import DataError
from pipeline.scores.inference import (
    Effect,
    bounded_mean,
    contrast,
    exponential,
    final_level,
    mann_kendall,
    ratio_of_times,
    reached,
    share,
    spearman,
)


def test_a_difference_of_means_has_welchs_interval() -> None:
    # Means 3 and 1, variances 1, n = 3 each: standard error sqrt(2/3), 4 degrees of freedom, t 2.776445.
    half = 2.776445 * math.sqrt(2 / 3)
    found = contrast([[2.0, 3.0, 4.0], [0.0, 1.0, 2.0]], (1, -1))
    assert found == pytest.approx((2.0, 2 - half, 2 + half), abs=1e-5)


def test_two_groups_of_unequal_sizes_and_spreads_have_welchs_degrees_of_freedom() -> None:
    # With 8 degrees of freedom, in place of 2.0, the interval would be 46 % narrower.
    groups = [[1.0, 9.0, 5.0], [2.0, 2.1, 1.9, 2.2, 2.0, 1.8, 2.05]]
    expected = ttest_ind(*groups, equal_var=False).confidence_interval(0.95)
    found = contrast(groups, (1, -1))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_a_lower_confidence_gives_a_narrower_interval() -> None:
    # t of 4 degrees of freedom at 90 %: 2.131847
    found = contrast([[2.0, 3.0, 4.0], [0.0, 1.0, 2.0]], (1, -1), confidence=0.9)
    assert found.high == pytest.approx(2 + 2.131847 * math.sqrt(2 / 3), abs=1e-5)


def test_an_interaction_is_the_difference_of_two_differences() -> None:
    # (10 - 4) - (5 - 3) = 4; each variance 2 over n = 2: total 4, standard error 2, 4 degrees of freedom.
    found = contrast([[9.0, 11.0], [3.0, 5.0], [4.0, 6.0], [2.0, 4.0]], (1, -1, -1, 1))
    assert found == pytest.approx((4.0, 4 - 2 * 2.776445, 4 + 2 * 2.776445), abs=1e-5)


def test_one_value_a_side_tells_a_difference_but_no_interval() -> None:
    assert contrast([[3.0], [1.0, 1.0]], (1, -1)) == Effect(2.0, None, None)


def test_groups_that_never_vary_differ_for_certain() -> None:
    assert contrast([[3.0, 3.0], [1.0, 1.0]], (1, -1)) == Effect(2.0, 2.0, 2.0)


@pytest.mark.parametrize("groups", [[[], [1.0]], [[math.nan], [1.0]], [[1.0]]])
def test_a_contrast_refuses_what_has_no_mean(groups: list[list[float]]) -> None:
    with pytest.raises(DataError, match="a contrast takes"):
        contrast(groups, (1, -1))


def test_a_mean_within_bounds_has_students_interval_cut_off_at_them() -> None:
    # Mean 0.5, standard deviation 0.1, n = 3: t of 2 degrees of freedom 4.302653.
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert bounded_mean([0.4, 0.5, 0.6], -1, 1) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-6)
    assert bounded_mean([0.5, 0.7, 0.9], -1, 1).high == 1
    assert bounded_mean([0.4], -1, 1) == (pytest.approx(0.4), None, None)


@pytest.mark.parametrize("runs", [3, 5])
def test_the_interval_of_few_correlations_covers_their_mean_as_often_as_it_says(runs: int) -> None:
    # Fisher's z of the correlations is normal. A bootstrap covers the mean in 72 % with 3 runs, 81 % with 5.
    generator = np.random.default_rng(0)
    mean = float(np.tanh(generator.normal(math.atanh(0.7), 0.3, 1_000_000)).mean())
    drawn = np.tanh(generator.normal(math.atanh(0.7), 0.3, (2000, runs)))
    found = [bounded_mean(list(values), -1, 1) for values in drawn]
    covered = [e.low <= mean <= e.high for e in found if e.low is not None and e.high is not None]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)  # 0.01 of it chance, the rest the skew


def autoregression(n: int, rho: float, generator: np.random.Generator) -> list[float]:
    """Draw n values of which each is rho times the one before plus noise, from a stationary start."""
    values = [float(generator.normal()) / math.sqrt(1 - rho * rho)]
    while len(values) < n:
        values.append(rho * values[-1] + float(generator.normal()))
    return values


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.95])
def test_noise_has_a_trend_as_seldom_as_its_p_value_says(rho: float) -> None:
    # Uncorrected, p < 0.05 in 26 % at 0.5, 54 % at 0.8 and 77 % at 0.95; 200 rows as train.log_points.
    # At 0.95 rho itself is estimated from what equals some five independent values, so that 13 % remain.
    generator = np.random.default_rng(0)
    found = [mann_kendall(autoregression(200, rho, generator)).p < 0.05 for _ in range(500)]
    assert 0.02 < np.mean(found) < (0.16 if rho > 0.9 else 0.1)


def test_a_trend_is_found_beneath_correlated_noise_and_on_a_bent_curve() -> None:
    generator = np.random.default_rng(0)
    noise = [autoregression(200, 0.5, generator) for _ in range(50)]
    found = [mann_kendall([value - n / 40 for n, value in enumerate(values)]) for values in noise]
    assert all(trend.tau < 0 and trend.p < 0.05 for trend in found)
    assert mann_kendall([1.2**n for n in range(20)]).p < 1e-6


def test_a_share_has_wilsons_interval() -> None:
    # z^2 = 3.841459; 0 of 5: upper end z^2 / (5 + z^2)
    assert share(0, 5) == pytest.approx((0.0, 0.0, 3.841459 / 8.841459), abs=1e-6)
    # 5 of 10: 0.5 -+ z sqrt(1/40 + z^2/400) / (1 + z^2/10)
    half = 1.959964 * math.sqrt(1 / 40 + 3.841459 / 400) / 1.3841459
    assert share(5, 10) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-6)
    with pytest.raises(DataError, match="one trial"):
        share(0, 0)


def test_a_rank_correlation_sees_order_only_and_shares_tied_ranks() -> None:
    assert spearman([1, 2, 3, 4], [10, 100, 1000, 10_000]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # Ranks 1, 2, 3 against 1.5, 1.5, 3: covariance 1.5, norms 2 and 1.5.
    assert spearman([1, 2, 3], [5, 5, 9]) == pytest.approx(1.5 / math.sqrt(3))
    assert spearman([1, 2, 3], [7, 7, 7]) == 0
    with pytest.raises(DataError, match="three pairs"):
        spearman([1, 2], [1, 2])


def test_a_trend_is_kendalls_with_its_p_value() -> None:
    # 1 2 3 4 5: s = 10, variance 5 * 4 * 15 / 18 = 50/3, z = 9 / sqrt(50/3) = 2.2045, p = 0.0275
    rising = mann_kendall([1, 2, 3, 4, 5])
    assert rising == pytest.approx((1.0, 0.027486), abs=1e-5)
    assert mann_kendall([5, 4, 3, 2, 1]) == pytest.approx((-1.0, 0.027486), abs=1e-5)
    assert mann_kendall([2, 2, 2, 2]) == (0, 1)
    # 1 3 2 4: of six pairs five rise, s = 4, variance 4 * 3 * 13 / 18 = 26/3, z = 3 / sqrt(26/3)
    assert mann_kendall([1, 3, 2, 4]) == pytest.approx((4 / 6, math.erfc(3 / math.sqrt(52 / 3))))
    with pytest.raises(DataError, match="four values"):
        mann_kendall([1, 2, 3])


def test_a_level_is_reached_between_two_points() -> None:
    assert reached(50, [0, 10, 20], [100, 60, 20]) == pytest.approx(12.5)
    assert reached(100, [5, 10], [90, 60]) == 5
    assert reached(10, [0, 10], [100, 60]) is None


def test_times_that_never_arrived_leave_the_ratio_open_above() -> None:
    assert ratio_of_times([100, 100], [10, 10], unfinished=False) == pytest.approx((10, 10, 10))
    found = ratio_of_times([100, 100], [10, 10], unfinished=True)
    assert found.low == pytest.approx(10) and found.high is None


def test_an_effect_on_logarithms_reads_as_a_ratio() -> None:
    assert exponential(Effect(math.log(2), 0.0, None)) == (pytest.approx(2), 1, None)


def test_a_final_level_is_the_mean_of_the_last_tenth() -> None:
    assert final_level([*[0.0] * 18, 2.0, 4.0]) == 3
    assert final_level([1.0, 5.0]) == 5
