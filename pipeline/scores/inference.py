"""Owns the statistics of claims: from numbers to an effect with its interval.

Loads neither a file nor a cell, and draws nothing at random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError

Floats = NDArray[np.float64]


class Effect(NamedTuple):
    """An effect and the ends of its interval; an end that can't be known is None."""

    value: float
    low: float | None
    high: float | None


def contrast(
    groups: Sequence[Sequence[float]], weights: Sequence[float], *, confidence: float = 0.95
) -> Effect:
    """Weighted sum of the means of independent groups, with Student's t interval, in the values' unit.

    Weights (1, -1) give a difference of two means, (1, -1, -1, 1) the interaction of two by two groups.
    Degrees of freedom after Satterthwaite, 1946, so that variances may differ; Welch's for two groups.
    A group of a single value leaves the interval unknown; groups that never vary give one of no width.

    Raises DataError for a group without values and for one that is not finite.
    """
    if not all(groups) or len(groups) != len(weights):
        raise DataError(f"a contrast takes {len(weights)} groups of one value or more")
    if not all(math.isfinite(value) for group in groups for value in group):
        raise DataError("a contrast takes finite values only")
    value = sum(weight * fmean(group) for weight, group in zip(weights, groups, strict=True))
    if min(map(len, groups)) < 2:
        return Effect(value, None, None)
    errors = [w * w * variance(group) / len(group) for w, group in zip(weights, groups, strict=True)]
    total = sum(errors)
    if total == 0:
        return Effect(value, value, value)
    from scipy.stats import t  # slow to load

    # Shares of the total: squares of the errors themselves would vanish where all values nearly agree.
    shares = [(error / total) ** 2 / (len(group) - 1) for error, group in zip(errors, groups, strict=True)]
    low, high = t.interval(confidence, 1 / sum(shares), loc=value, scale=math.sqrt(total))
    return Effect(value, float(low), float(high))


def bounded_mean(values: Sequence[float], low: float, high: float) -> Effect:
    """Mean of independent values within bounds, and Student's 95 % interval, cut off at the bounds.

    Student, 1908. A bootstrap's percentile interval is too narrow for few values: of three correlations it
    covers the mean in 72 % of cases, this one in 93 %. The interval of a single value is unknown. Raises
    DataError as `contrast` does.
    """
    found = contrast([values], (1,))
    if found.low is None or found.high is None:
        return found
    return Effect(found.value, max(found.low, low), min(found.high, high))


def share(successes: int, n: int) -> Effect:
    """Share of n trials and Wilson's score interval at 95 %. Wilson, 1927. Raises DataError for n < 1."""
    if n < 1:
        raise DataError("a share takes one trial or more")
    from scipy.stats import binomtest  # slow to load

    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return Effect(successes / n, float(interval.low), float(interval.high))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation in [-1, 1], tied values sharing their mean rank.

    0 where one of them never varies, which tells nothing of the other. Raises DataError for fewer than three
    pairs.
    """
    if len(first) != len(second) or len(first) < 3:
        raise DataError("a rank correlation takes three pairs or more")
    if len(set(first)) == 1 or len(set(second)) == 1:
        return 0.0
    from scipy.stats import spearmanr  # slow to load

    return float(spearmanr(first, second).statistic)


class Trend(NamedTuple):
    """Kendall's tau of values against time, in [-1, 1], and the two-sided p-value of no trend."""

    tau: float
    p: float


def mann_kendall(values: Sequence[float]) -> Trend:
    """Test for a monotone trend. Mann, 1945; Kendall, 1975: normal approximation, ties and continuity.

    The variance is multiplied by what the autocorrelation takes from the number of values (Yue & Wang, 2004),
    since neighbours on a curve of training are alike and seem to confirm each other. Values must not be
    smoothed, which makes a trend of any noise. Measured on 200 rows: p < 0.05 in 5 % of white noise, 8 % at a
    lag-one correlation of 0.8, 13 % at 0.95, and still in 31 % of random walks.

    Raises DataError for fewer than four values, where even a strict order isn't significant.
    """
    array = np.asarray(values, np.float64)
    n = len(array)
    if n < 4:
        raise DataError("a trend takes four values or more")
    later = np.sign(array[None, :] - array[:, None])
    s = float(np.triu(later, 1).sum())
    ties = np.unique(array, return_counts=True)[1].astype(np.float64)
    spread = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if spread <= 0:
        return Trend(0.0, 1.0)
    from scipy.stats import norm  # slow to load

    spread *= _variance_inflation(array)
    z = (s - math.copysign(min(1.0, abs(s)), s)) / math.sqrt(spread)
    return Trend(s / (n * (n - 1) / 2), float(2 * norm.sf(abs(z))))


def _variance_inflation(values: Floats) -> float:
    """How many times as much the mean of values varies as that of independent ones, 1 or more.

    Of a first-order autoregression (Bayley & Hammersley, 1946) in ranks, which a bent trend leaves straight,
    about their own line. The estimate of its coefficient is raised by its bias, (2 + 4 rho) / n.
    """
    from scipy.stats import rankdata  # slow to load

    n = len(values)
    ranks = rankdata(values)
    time = np.arange(n) - (n - 1) / 2
    rest = ranks - ranks.mean() - time * float(time @ ranks) / float(time @ time)
    power = float(rest @ rest)
    if power < 1e-9 * n:  # a strict order, but for rounding
        return 1.0
    rho = float(rest[1:] @ rest[:-1]) / power
    rho = min(max(rho + (2 + 4 * rho) / n, 0.0), 0.999)
    lags = np.arange(1, n)
    return 1 + 2 * float(((1 - lags / n) * rho**lags).sum())


def reached(level: float, times: Sequence[float], values: Sequence[float]) -> float | None:
    """First time at which falling values are at or below a level, straight between two points.

    None where they never are. The first point itself is taken as it is: nothing is known of before.
    """
    before: tuple[float, float] | None = None
    for time, value in zip(times, values, strict=True):
        if value <= level:
            if before is None or before[1] == value:
                return float(time)
            return before[0] + (time - before[0]) * (before[1] - level) / (before[1] - value)
        before = float(time), float(value)
    return None


def ratio_of_times(slow: Sequence[float], fast: Sequence[float], *, unfinished: bool) -> Effect:
    """Ratio of the geometric means of two groups of times, with its interval on the logarithms.

    unfinished: some slow ones hadn't arrived when their run ended, and stand with its length. Ratio and lower
    end are then the least that they can be, and the upper end is open.
    """
    found = exponential(contrast([[math.log(time) for time in times] for times in (slow, fast)], (1, -1)))
    return found._replace(high=None) if unfinished else found


def exponential(effect: Effect) -> Effect:
    """An effect on logarithms as the ratio that it stands for."""
    ends = [None if end is None else math.exp(end) for end in (effect.low, effect.high)]
    return Effect(math.exp(effect.value), *ends)


def final_level(values: Sequence[float]) -> float:
    """Mean of the last tenth of a curve, one value at least."""
    return fmean(values[-max(1, len(values) // 10) :])
