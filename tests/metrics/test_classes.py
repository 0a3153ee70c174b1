"""Scores read off class probabilities, against closed forms by hand."""

import math

import numpy as np
import pytest

from gan.metrics.classes import class_divergence, classes_covered, confident_share, inception_score


def one_hot(classes, confidence=1.0):
    rest = (1 - confidence) / 9
    return np.full((len(classes), 10), rest) + (confidence - rest) * np.eye(10)[classes]


def test_a_class_is_covered_from_one_sample_in_a_hundred_on():
    # 200 samples: class 0 has 197, class 1 two (1 %), class 2 one (0.5 %).
    assert classes_covered(one_hot([0] * 197 + [1] * 2 + [2])) == 2
    assert classes_covered(one_hot(list(range(10)) * 10)) == 10
    assert classes_covered(one_hot([9] * 100)) == 1


def test_confidence_must_exceed_nine_tenths():
    probabilities = np.concatenate([one_hot([3], 0.95), one_hot([3], 0.9), one_hot([4], 0.5), one_hot([5])])
    assert confident_share(probabilities) == 0.5


def test_a_sample_of_several_names_is_confident_when_each_of_them_is():
    sure, unsure = one_hot([3], 0.95), one_hot([3], 0.5)
    pairs = np.stack([np.concatenate([sure, sure]), np.concatenate([sure, unsure])])
    assert confident_share(pairs) == 0.5


def test_inception_score_of_certain_predictions_is_the_number_of_classes_in_use():
    assert inception_score(one_hot([0, 1, 2, 3] * 5), splits=1) == pytest.approx(4, rel=1e-12)
    assert inception_score(one_hot([7] * 20)) == pytest.approx(1, rel=1e-12)
    # p = (0.75, 0.25) and (0.25, 0.75), mean (0.5, 0.5): KL = 0.75 ln 1.5 + 0.25 ln 0.5 for either
    unsure = np.array([[0.75, 0.25], [0.25, 0.75]])
    expected = math.exp(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert inception_score(unsure, splits=1) == pytest.approx(expected, rel=1e-12)


def test_inception_score_is_the_mean_over_splits_in_order():
    # First half: classes 0 and 1, a score of 2. Second half: class 2 only, a score of 1.
    assert inception_score(one_hot([0, 1, 0, 1, 2, 2, 2, 2]), splits=2, shuffle=False) == pytest.approx(
        1.5, rel=1e-12
    )
    with pytest.raises(ValueError, match="3 samples can't be cut into 10 splits"):
        inception_score(one_hot([0, 1, 2]))


def test_the_inception_score_does_not_depend_on_a_sorted_order():
    found = inception_score(one_hot([label for label in range(10) for _ in range(100)]))
    assert found > 9  # splits in the order of the classes would score 1


def test_class_divergence_is_in_nats_and_finite_where_the_reference_lacks_a_class():
    # (1/2, 1/2) against (1/4, 3/4): 0.5 ln 2 + 0.5 ln (2/3)
    found = class_divergence(np.array([5, 5]), np.array([25, 75]))
    assert found == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), rel=1e-12)
    assert class_divergence(np.array([5, 0]), np.array([5, 5])) == pytest.approx(math.log(2), rel=1e-12)
    # The missing class counts as half an image: (0, 1) against (9, 0.5) / 9.5
    assert class_divergence(np.array([0, 3]), np.array([9, 0])) == pytest.approx(
        math.log(9.5 / 0.5), rel=1e-12
    )
    with pytest.raises(ValueError, match="can't be compared"):
        class_divergence(np.array([0, 0]), np.array([5, 5]))
