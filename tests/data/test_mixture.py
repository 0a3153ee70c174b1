"""The plane's mixture: which mode a point is named, and that the data are what their README says."""

from pathlib import Path

import numpy as np

from gan.data.digits import SPLIT_RULES
from gan.data.mixture import FIRST, SIDE, STEP
from gan.extractors.points import RADIUS, name_points
from gan.metrics.modes import stacked_modes

FOLDER = Path(__file__).parents[2] / "data" / "mixture"


def test_a_point_is_named_by_the_nearest_column_and_row():
    found = name_points(np.array([[26, 25], [230, 128], [0, 255]], np.uint8))
    assert found.shape == (3, 2, 5)
    assert found.argmax(axis=2).tolist() == [[0, 0], [4, 2], [0, 4]]
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-6)


def test_only_a_point_within_three_standard_deviations_is_sure():
    # 7.65 grey values around (25.5, 25.5): (33, 27) is 7.65 - 0.002 away, (33, 28) 7.9
    sure, unsure = name_points(np.array([[33, 27], [33, 28]], np.uint8))
    assert sure.max(axis=1).tolist() == [1, 1]
    np.testing.assert_allclose(unsure.max(axis=1), 0.6, rtol=1e-6)
    modes = stacked_modes(np.stack([sure, unsure]))
    assert (modes.modes, modes.modes_confident) == (1, 1)
    assert stacked_modes(unsure[None]).modes_confident == 0


def test_each_mode_has_400_points_around_its_middle_and_a_fifth_of_them_is_test():
    parts = SPLIT_RULES["mixture"](FOLDER)
    assert {name: len(part.labels) for name, part in parts.items()} == {"train": 8000, "test": 2000}
    for part, each in zip(parts.values(), (320, 80), strict=True):
        assert np.bincount(part.labels).tolist() == [each] * SIDE**2
        places = part.images.reshape(-1, 2).astype(np.float64)
        middles = FIRST + STEP * np.stack([part.labels % SIDE, part.labels // SIDE], axis=1)
        near = np.linalg.norm(places - middles, axis=1) <= RADIUS
        assert 0.98 < near.mean() < 0.995
        named = name_points(part.images.reshape(-1, 2))
        columns, rows = named.argmax(axis=2).T
        assert (SIDE * rows + columns == part.labels).all()
        assert stacked_modes(named).modes_confident == SIDE**2
