"""Owns what few training seeds can tell: an interval of one variant's mean, and which variant is better.

A comparison is Welch's t-test on the logarithms of the scores. Seeds scatter by a share of the score, more in
one variant than in another: logarithms make the first even, Welch's degrees of freedom allow for the second.
`python -m pipeline.scores.intervals` measures how often it errs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev, variance
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.errors import DataError

LEVEL = 0.05  # chance that one of two equal variants is called better
METHOD = "student_t_95"  # of an interval, as summary.json names it
COMPARISON = "welch_t_of_logs_5"  # of ranks


class Interval(NamedTuple):
    """Mean over seeds and its 95 % interval; no interval from a single seed."""

    mean: float
    low: float | None
    high: float | None


def interval(values: Sequence[float]) -> Interval:
    """Mean and Student's t interval at 95 % of independent values, in their unit."""
    centre, n = mean(values), len(values)
    if n < 2:
        return Interval(centre, None, None)
    from scipy.special import stdtrit  # here, for it takes longer to load than all else of a page

    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    return Interval(centre, centre - half, centre + half)


def p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of equal mean logarithms: Welch, 1947, "The generalization of 'Student's' problem".

    Two variants that never vary differ for certain (0) or not at all (1).

    Raises DataError for fewer than two scores a side, and for scores that have no logarithm.
    """
    if min(len(first), len(second)) < 2:
        raise DataError("comparing two variants takes two seeds of each; add some to select.seeds")
    wrong = [value for value in (*first, *second) if not (math.isfinite(value) and value > 0)]
    if wrong:
        raise DataError(f"comparing scores: {wrong[0]} is not a positive number; only such are compared")
    logs = [[math.log(value) for value in values] for values in (first, second)]
    difference = mean(logs[0]) - mean(logs[1])
    errors = [variance(values) / len(values) for values in logs]  # squared standard errors
    total = sum(errors)
    if total == 0:
        return float(difference == 0)
    from scipy.special import stdtr

    # Shares of the total: squares of the errors themselves would vanish where all scores nearly agree.
    freedom = 1 / sum(
        (error / total) ** 2 / (len(values) - 1) for error, values in zip(errors, logs, strict=True)
    )
    return 2 * float(stdtr(freedom, -abs(difference) / math.sqrt(total)))


def is_better(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether scores over seeds tell that the first variant is better, less being better, at the 5 % level.

    Its arithmetic mean, which a table shows, must be less as well as its mean logarithm, which is tested.
    Two variants of which neither is better are tied. Raises DataError as p_value does.
    """
    if p_value(first, second) > LEVEL:
        return False
    means = [(mean(values), mean(map(math.log, values))) for values in (first, second)]
    return all(a < b for a, b in zip(*means, strict=True))


class Rank(NamedTuple):
    """The places that a variant may hold: from one after all that are better, to one before all worse.

    Variants that can't be told apart share places, so 1 to 3 beside 1 to 3 is a tie. Being tied isn't
    transitive: of three in a line the middle one may be tied with both ends, 1 to 2, 1 to 3 and 2 to 3.
    """

    first: int
    last: int


def ranks(scores: Sequence[Sequence[float]]) -> list[Rank]:
    """Rank variants by their scores over seeds, less being better; any order, any number of seeds from two.

    Every pair is tested by itself at 5 %, with no correction for their number: of the 91 pairs of fourteen
    equal variants, four or five are told apart by chance. Holm's correction over the pairs was measured and
    left out: with fourteen variants and five seeds it told the best one, three standard deviations ahead,
    from all the others in none of 1,000 simulated tables.

    Raises DataError as p_value does.
    """
    better = [[is_better(other, own) for other in scores] for own in scores]  # [i][j]: j is better than i
    worse = zip(*better, strict=True)
    return [Rank(1 + sum(up), len(scores) - sum(down)) for up, down in zip(better, worse, strict=True)]


class Rates(NamedTuple):
    """Shares of simulated tables, or of their pairs."""

    tied: float  # of pairs of equal variants: called tied
    all_tied: float  # of tables of equal variants: every pair is called tied
    better: float  # of pairs of the variant ahead and another: it is called better


def simulate(
    seeds: int, spreads: Sequence[float], *, normal: bool = False, lead: float = 3.0, tables: int = 1000
) -> Rates:
    """Rank made-up tables of one variant a spread, and count how often the verdict is right.

    A score is exp(spread · N(0, 1)), or with `normal` 1 + spread · N(0, 1); where the first variant is ahead,
    it is so by `lead` standard deviations, of the largest spread. Deterministic.
    """
    draws = np.random.default_rng(0).standard_normal((2, tables, len(spreads), seeds))
    noise: NDArray[np.float64] = draws * np.array(spreads)[:, None]
    noise[1, :, 0] -= lead * max(spreads)
    equal, ahead = (1 + noise if normal else np.exp(noise)).tolist()
    others = len(spreads) - 1
    # Each pair that is told apart takes one place from the ranges of both.
    told = np.array([sum(others - (last - first) for first, last in ranks(table)) / 2 for table in equal])
    led = sum(is_better(table[0], other) for table in ahead for other in table[1:])
    pairs = len(spreads) * others / 2
    return Rates(1 - float(told.mean()) / pairs, float((told == 0).mean()), led / (tables * others))


def main() -> None:
    """Print the rates for 3 and 5 seeds, for even and uneven spreads, for two variants and for fourteen."""
    print("seeds  variants  scores      spreads     pairs tied  all tied  3 sd better, so called")
    for seeds in (3, 5):
        for spreads, normal, tables in (
            ((0.1, 0.1), True, 1000),
            ((0.05, 0.1), True, 1000),
            ((0.1, 0.1), False, 1000),
            ((0.5, 0.5), False, 1000),
            ((0.1, 0.4), False, 1000),
            ((0.4, 0.1), False, 1000),
            ((0.1,) * 14, False, 100),
        ):
            rates = simulate(seeds, spreads, normal=normal, tables=tables)
            law = "normal    " if normal else "log-normal"
            verdicts = f"{rates.tied:10.1%}  {rates.all_tied:8.1%}  {rates.better:8.1%}"
            spread = f"{spreads[0]:.2f}, {spreads[1]:.2f}"
            print(f"{seeds:5}  {len(spreads):8}  {law}  {spread}  {verdicts}")


if __name__ == "__main__":
    main()
