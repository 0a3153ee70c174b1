"""Pictures of what is no picture."""

import numpy as np

from pipeline.drawing.pictures import GROUND, MANY, PLANE, SMALL, drawn, read_overview


def test_a_point_is_a_dot_at_its_place_with_y_upwards():
    left_below, right_middle = drawn(np.array([[[[0, 0]]], [[[255, 128]]]], np.uint8))
    assert left_below.shape == (1, PLANE, PLANE)
    assert np.argwhere(left_below[0] == 255).tolist() == [[26, 0], [26, 1], [27, 0], [27, 1]]
    assert (left_below[0] == GROUND).sum() == PLANE**2 - 4  # so that one picture ends where the next begins
    assert np.argwhere(right_middle[0] == 255).mean(axis=0).tolist() == [13, 26.5]


def test_points_in_rows_or_frames_stay_in_them():
    points = np.random.default_rng(0).integers(0, 256, (3, 4, 1, 1, 2), np.uint8)
    assert drawn(points).shape == (3, 4, 1, PLANE, PLANE)
    assert (drawn(points)[2] == drawn(points[2])).all()


def test_an_overview_of_points_shows_them_all_and_one_of_images_the_first(tmp_path):
    points = np.random.default_rng(0).integers(0, 256, (10, 1, 1, 2), np.uint8)
    np.save(tmp_path / "points.npy", points)
    overview = read_overview(tmp_path / "points.npy", 4)
    assert overview.shape == (4, 1, MANY, MANY)
    for number, picture in enumerate(drawn(points, MANY, SMALL)):
        assert (overview[number % 4][picture == 255] == 255).all()
    np.save(
        tmp_path / "images.npy", images := np.random.default_rng(0).integers(0, 256, (10, 1, 4, 4), np.uint8)
    )
    assert (read_overview(tmp_path / "images.npy", 4) == images[:4]).all()


def test_images_stay_as_they_are():
    images = np.zeros((2, 1, 28, 28), np.uint8)
    assert drawn(images) is images
