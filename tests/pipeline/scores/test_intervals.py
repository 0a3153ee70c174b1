import math

import pytest

from gan.errors import DataError
from pipeline.scores.intervals import Rank, interval, is_better, p_value, ranks, simulate


def test_the_interval_over_three_seeds_is_students() -> None:
    # Mean 4, standard deviation 2. With two degrees of freedom the quantile of p has a closed form,
    # (2p − 1) / sqrt(2p (1 − p)): 4.3027 for 97.5 %.
    half = 0.95 / math.sqrt(2 * 0.975 * 0.025) * 2 / math.sqrt(3)
    assert interval([2.0, 4.0, 6.0]) == pytest.approx((4.0, 4.0 - half, 4.0 + half), rel=1e-9)
    assert interval([50.0]) == (50.0, None, None)


def test_two_variants_of_two_seeds_are_compared_on_logarithms() -> None:
    # Logarithms 0, 2 and 4, 6: variances 2, so t = −4 / sqrt(2/2 + 2/2) with two degrees of freedom, whose
    # two-sided p is 1 − |t| / sqrt(2 + t²).
    first, second = [1.0, math.e**2], [math.e**4, math.e**6]
    t = 4 / math.sqrt(2)
    assert p_value(first, second) == pytest.approx(1 - t / math.sqrt(2 + t**2), rel=1e-9)
    assert p_value(second, first) == p_value(first, second)


def test_the_unit_of_the_scores_does_not_matter() -> None:
    first, second = [3.0, 4.0, 5.0], [6.0, 7.0, 9.0]
    scaled = [[100 * value for value in values] for values in (first, second)]
    assert p_value(*scaled) == pytest.approx(p_value(first, second), rel=1e-9)


def test_variants_that_never_vary_are_equal_or_not() -> None:
    assert p_value([5.0, 5.0], [5.0, 5.0]) == 1
    assert p_value([5.0, 5.0], [6.0, 6.0]) == 0
    assert is_better([5.0, 5.0], [6.0, 6.0])
    assert not is_better([6.0, 6.0], [5.0, 5.0])


def test_what_has_no_logarithm_and_a_single_seed_are_refused() -> None:
    with pytest.raises(DataError, match="two seeds"):
        p_value([1.0], [1.0, 2.0])
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(DataError, match="not a positive number"):
            p_value([1.0, 2.0], [1.0, wrong])


def test_ties_share_places() -> None:
    near = [[10.0, 11.0, 12.0], [10.5, 11.0, 12.5]]
    assert ranks([*near, [100.0, 101.0, 102.0]]) == [Rank(1, 2), Rank(1, 2), Rank(3, 3)]
    assert ranks([[100.0, 101.0, 102.0], *near]) == [Rank(3, 3), Rank(1, 2), Rank(1, 2)]


def test_the_middle_one_may_be_tied_with_both_ends() -> None:
    chain = [[10.0, 11.0, 12.0], [11.5, 13.0, 14.5], [14.0, 15.0, 16.0]]
    assert not is_better(chain[0], chain[1])
    assert not is_better(chain[1], chain[2])
    assert is_better(chain[0], chain[2])
    assert ranks(chain) == [Rank(1, 2), Rank(1, 3), Rank(2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spreads", "normal"),
    [((0.1, 0.1), True), ((0.05, 0.1), True), ((0.1, 0.1), False), ((0.5, 0.5), False), ((0.1, 0.4), False)],
)
def test_five_seeds_tell_equal_variants_from_one_that_is_better(
    spreads: tuple[float, float], normal: bool
) -> None:
    rates = simulate(5, spreads, normal=normal)
    assert 0.93 <= rates.tied <= 0.97
    assert rates.better >= 0.95


@pytest.mark.slow
def test_three_seeds_miss_a_third_of_what_five_find() -> None:
    rates = simulate(3, (0.1, 0.1))
    assert 0.95 <= rates.tied <= 0.985
    assert 0.55 <= rates.better <= 0.75
