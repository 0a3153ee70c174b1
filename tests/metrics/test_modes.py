"""Modes of stacked digits, counted by hand."""

import math

import numpy as np
import pytest

from gan.errors import DataError
from gan.metrics.modes import stacked_modes, uniform_modes


def named(triples, confidence=1.0):
    rest = (1 - confidence) / 9
    return rest + (confidence - rest) * np.eye(10)[np.array(triples)]


def every_mode():
    return [(r, g, b) for r in range(10) for g in range(10) for b in range(10)]


def test_every_mode_once_is_a_thousand_at_no_divergence():
    found = stacked_modes(named(every_mode()))
    assert (found.modes, found.modes_confident) == (1000, 1000)
    assert found.mode_kl == pytest.approx(0, abs=1e-12)


def test_one_mode_diverges_by_the_log_of_a_thousand_and_order_makes_a_mode():
    found = stacked_modes(named([(1, 2, 3)] * 9))
    assert (found.modes, found.mode_kl) == (1, pytest.approx(math.log(1000), rel=1e-12))
    # Shares 3/4 and 1/4: 0.75 ln 750 + 0.25 ln 250
    found = stacked_modes(named([(1, 2, 3)] * 3 + [(3, 2, 1)]))
    assert found.modes == 2
    assert found.mode_kl == pytest.approx(0.75 * math.log(750) + 0.25 * math.log(250), rel=1e-12)


def test_a_sample_is_confident_only_when_each_channel_is():
    unsure = named([(4, 4, 4)])
    unsure[0, 1] = named([4], 0.5)[0]
    found = stacked_modes(np.concatenate([named([(1, 2, 3)], 0.95), unsure]))
    assert (found.modes, found.modes_confident) == (2, 1)
    none = stacked_modes(unsure)
    assert (none.modes_confident, none.mode_kl_confident) == (0, pytest.approx(math.log(1000)))


def test_draws_of_uniform_modes_have_the_divergence_of_their_number():
    draws = np.random.default_rng(0).integers(0, 10, (26_000, 3))
    found = stacked_modes(named(draws))
    assert found.modes == 1000
    assert found.mode_kl == pytest.approx(999 / 52_000, rel=0.15)


@pytest.mark.parametrize("n", [1, 2])
def test_uniform_modes_are_those_counted_over_every_draw(n):
    # One sample: 1 mode, ln 3. Two of three modes: alike in 1 of 3 draws, else KL = ln(3 / 2).
    modes, kl = {1: (1, math.log(3)), 2: (5 / 3, math.log(3) / 3 + math.log(1.5) * 2 / 3)}[n]
    assert uniform_modes(n, 3) == pytest.approx((modes, kl), rel=1e-12)


def test_uniform_modes_of_many_samples_approach_their_limits():
    assert uniform_modes(26_000) == (pytest.approx(1000, rel=1e-9), pytest.approx(999 / 52_000, rel=0.02))


def test_probabilities_that_are_not_finite_have_no_modes():
    with pytest.raises(DataError, match="not finite"):
        stacked_modes(np.full((2, 3, 10), np.nan))
    with pytest.raises(DataError, match="no modes"):
        stacked_modes(np.empty((0, 3, 10)))
