"""Values that change along a run."""

import pytest

from gan.contract import SchedulePoint, values_at


def points(*values):
    return [SchedulePoint.model_validate(value) for value in values]


LAW = points({"from": 0.7, "generator_lr": 3.0, "critic_lr": 4.0}, {"from": 0.25, "critic_lr": 2.0})


@pytest.mark.parametrize(
    ("progress", "generator", "critic"),
    [
        (0.0, 1.0, 1.0),
        (0.24999, 1.0, 1.0),
        (0.25, 1.0, 2.0),  # from its fraction on, that one included; what a point leaves out stays
        (0.69, 1.0, 2.0),
        (0.7, 3.0, 4.0),
        (0.999, 3.0, 4.0),
    ],
)
def test_the_last_point_that_has_begun_holds_in_whatever_order_they_are_written(progress, generator, critic):
    initial = {"generator_lr": 1.0, "critic_lr": 1.0}
    expected = {"generator_lr": generator, "critic_lr": critic}
    assert values_at(initial, LAW, progress) == expected
    assert values_at(initial, list(reversed(LAW)), progress) == expected
    assert initial == {"generator_lr": 1.0, "critic_lr": 1.0}


def test_a_value_of_zero_is_a_value():
    assert values_at({"critic_lr": 1.0}, points({"from": 0.5, "critic_lr": 0.0}), 0.5) == {"critic_lr": 0.0}


def test_names_that_are_not_asked_for_are_not_given():
    assert values_at({"critic_lr": 1.0}, LAW, 0.8) == {"critic_lr": 4.0}
