"""Pictures of what is no picture."""

import numpy as np

from pipeline.pictures import GROUND, PLANE, drawn


def test_a_point_is_a_dot_at_its_place_with_y_upwards():
    left_below, right_middle = drawn(np.array([[[[0, 0]]], [[[255, 128]]]], np.uint8))
    assert left_below.shape == (1, PLANE, PLANE)
    assert np.argwhere(left_below[0] == 255).tolist() == [[26, 0], [26, 1], [27, 0], [27, 1]]
    assert (left_below[0] == GROUND).sum() == PLANE**2 - 4  # so that one picture ends where the next begins
    assert np.argwhere(right_middle[0] == 255).mean(axis=0).tolist() == [13, 26.5]


def test_images_stay_as_they_are():
    images = np.zeros((2, 1, 28, 28), np.uint8)
    assert drawn(images) is images
