"""The list of metrics: all are measured, by the names that they have in it."""

import numpy as np
import pytest

from gan.metrics.catalogue import METRICS, score
from gan.metrics.modes import Modes
from gan.metrics.reference import Reference, Samples

NAMES = [metric.name for metric in METRICS]
OF_CLASSES = {metric.name for metric in METRICS if metric.needs == "classes"} | {"confident"}


def draw(n, features=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


def scored(probabilities, images=None):
    rows = draw(300)
    reference = Reference.of(rows, probabilities, draw(300, seed=1))
    return score(Samples(rows, probabilities, images), reference)


def test_every_metric_of_images_with_classes_is_measured_and_in_the_order_of_the_list():
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8), dtype=np.uint8)
    found = scored(np.eye(10)[[0] * 150 + [1] * 150], images)
    assert list(found) == [metric.name for metric in METRICS if metric.needs != "modes"]
    assert found["fid"] < 1e-9
    assert found["class_kl"] == 0
    assert (found["classes"], found["confident"]) == (2, 1)


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        (None, set()),
        (np.full((300, 3, 10), 0.1), {*Modes._fields, "confident"}),  # three channels, each named by itself
        (np.full((300, 101), 1 / 101), {"is"}),  # an even share is below one in a hundred
    ],
)
def test_what_is_told_of_classes_depends_on_how_the_extractor_names_them(probabilities, named):
    found = set(scored(probabilities))
    assert found & (OF_CLASSES | set(Modes._fields)) == named
    assert {"fid", "kid", "recall", "memorised"} <= found
    assert "sharpness" not in found  # no images, no metric of pixels


def test_every_metric_has_a_name_of_its_own_a_title_and_a_meaning():
    assert len(set(NAMES)) == len(METRICS)
    assert all(metric.title and metric.meaning for metric in METRICS)
