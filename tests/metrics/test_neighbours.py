"""Neighbours against brute force and cases by hand."""

import numpy as np
import pytest

import gan.metrics.neighbours
from gan.metrics.neighbours import (
    memorised_share,
    nearest_neighbours,
    neighbourhoods,
    suspicious_distance,
)


def draw(n, features=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


def distances(a, b):
    return np.array([[np.sqrt(((x - y) ** 2).sum()) for y in b] for x in a.astype(float)])


def brute_force(fake, real):
    """Precision, recall, density and coverage, from the papers' definitions and whole matrices."""

    def radius(rows, k):
        return [sorted(d for j, d in enumerate(row) if j != i)[k - 1] for i, row in enumerate(rows)]

    across, own, others = distances(fake, real), distances(fake, fake), distances(real, real)
    n, m = across.shape
    fake3, real3, real5 = radius(own, 3), radius(others, 3), radius(others, 5)
    precision = sum(any(across[i, j] <= real3[j] for j in range(m)) for i in range(n)) / n
    recall = sum(any(across[i, j] <= fake3[i] for i in range(n)) for j in range(m)) / m
    density = sum(across[i, j] < real5[j] for i in range(n) for j in range(m)) / (5 * n)
    coverage = sum(min(across[:, j]) < real5[j] for j in range(m)) / m
    return precision, recall, density, coverage


@pytest.mark.parametrize(("n", "m", "shift", "scale"), [(60, 60, 0, 1), (50, 70, 1, 1), (70, 50, 0.5, 0.3)])
@pytest.mark.parametrize("portion", [100, 2**20])
def test_neighbourhoods_are_those_of_a_loop_over_all_pairs(monkeypatch, n, m, shift, scale, portion):
    monkeypatch.setattr(gan.metrics.neighbours, "_PORTION", portion)
    fake, real = draw(n) * scale + shift, draw(m, seed=1)
    found = neighbourhoods(fake, real)
    assert found[:4] == pytest.approx(brute_force(fake, real), rel=1e-12)
    assert 0 < found.density != found.coverage


def test_the_reference_itself_is_precise_and_covered():
    rows = draw(80)
    found = neighbourhoods(rows, rows)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    far = neighbourhoods(rows + 100, rows)
    assert far[:4] == (0, 0, 0, 0)


def test_one_image_repeated_is_all_duplicates_and_independent_draws_are_few():
    real = draw(500)
    assert neighbourhoods(draw(500, seed=1), real).duplicates < 0.04
    assert neighbourhoods(np.repeat(draw(1, seed=2), 500, axis=0) + 1e3, real).duplicates == 1
    half = np.concatenate([draw(250, seed=1), draw(250, seed=1) + 1e-6])
    assert neighbourhoods(half, real).duplicates == 1


def test_neighbourhoods_need_six_rows_of_equal_width():
    with pytest.raises(ValueError, match="5 and 50"):
        neighbourhoods(draw(5), draw(50))
    with pytest.raises(ValueError, match="no distance"):
        neighbourhoods(draw(50, 3), draw(50, 4))


def test_the_nearest_neighbour_is_that_of_a_loop_and_a_copy_is_at_no_distance():
    rows, others = draw(40) + 5, draw(90, seed=1) + 5
    rows[3] = others[77]
    found = nearest_neighbours(rows, others)
    expected = distances(rows, others)
    assert (found.number == expected.argmin(1)).all()
    np.testing.assert_allclose(found.distance, expected.min(1), rtol=1e-12)
    assert (found.number[3], found.distance[3]) == (77, 0)


def test_the_nearest_of_pixels_are_found_as_those_of_features_are():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 784), np.uint8)
    found = nearest_neighbours(pixels[[4, 9]], pixels)
    assert (found.number.tolist(), found.distance.tolist()) == ([4, 9], [0, 0])


def test_copies_are_memorised_and_about_one_in_a_hundred_independent_draws_is():
    train, real, fresh = draw(2000), draw(2000, seed=1), draw(2000, seed=2)
    suspicious = suspicious_distance(real, train)
    assert memorised_share(train[:500], train, suspicious) == 1
    assert memorised_share(train[:500] + 1e-4, train, suspicious) == 1
    assert 0.002 < memorised_share(fresh, train, suspicious) < 0.02


def test_without_training_images_nothing_is_memorised():
    assert suspicious_distance(draw(9), draw(0)) == 0
    assert memorised_share(draw(9), draw(0), 0.0) == 0
