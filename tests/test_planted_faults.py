"""Generators with a known fault, made of real digits: the metric that is there to notice it does."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gan.config import load_params
from gan.contract import ImageShape
from gan.data.digits import every_fifth_is_test
from gan.extractors.mnistnet import extract, new_mnistnet, train_mnistnet
from gan.metrics.catalogue import score
from gan.metrics.reference import Reference, Samples

ROOT = Path(__file__).parents[1]
N = 500

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    """Scores against test digits; 1,500 training digits may be memorised, 500 others are fresh."""
    parts = every_fifth_is_test(ROOT / "data/mnist_tiny")
    images, labels = parts["train"].images, parts["train"].labels.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    recipe = load_params(ROOT / "params.yaml").evaluator
    net = new_mnistnet(ImageShape(1, 28, 28), 0)
    for _ in train_mnistnet(
        net, images[:2000], labels[:2000], epochs=2, batch_size=64, optimizer=recipe.optimizer, seed=0
    ):
        pass
    reference = Reference.of(*extract(net, parts["test"].images[::2]), extract(net, images[:1500]).features)

    def scores(samples):
        return score(Samples(*extract(net, samples), samples), reference)

    fresh, fresh_labels = images[2000:], labels[2000:]
    return SimpleNamespace(
        scores=scores,
        known=images[:1500],
        fresh=fresh,
        labels=fresh_labels,
        honest=scores(fresh[:N]),
    )


def test_fresh_digits_have_none_of_the_faults(digits):
    honest = digits.honest
    assert honest["classes"] == 10
    assert honest["class_kl"] < 0.1
    assert honest["memorised"] < 0.05
    assert honest["duplicates"] < 0.05
    assert honest["repeats"] == 0
    assert min(honest["precision"], honest["recall"], honest["coverage"]) > 0.8


def test_three_dropped_classes_are_noticed(digits):
    found = digits.scores(digits.fresh[digits.labels < 7][:N])
    assert found["classes"] <= 8  # the evaluator misnames a few
    assert found["class_kl"] > max(0.2, 2 * digits.honest["class_kl"])
    assert found["coverage"] < digits.honest["coverage"] - 0.1
    assert found["recall"] < digits.honest["recall"] - 0.05  # few balls span many classes
    assert found["fid"] > 2 * digits.honest["fid"]


def test_memorised_training_images_are_noticed_where_the_distance_is_not(digits):
    found = digits.scores(digits.known[:N])
    assert found["memorised"] == 1
    assert found["fid"] < 2 * digits.honest["fid"]


def test_one_repeated_image_is_noticed(digits):
    found = digits.scores(np.repeat(digits.fresh[:1], N, axis=0))
    assert found["repeats"] == pytest.approx(1 - 1 / N)
    assert (found["duplicates"], found["classes"]) == (1, 1)
    assert found["is"] == pytest.approx(1)
    assert found["ms_ssim"] > 0.99 > digits.honest["ms_ssim"]


def test_images_stretched_by_their_own_minimum_and_maximum_are_noticed(digits):
    # One pixel of each image undershoots: what was black is mid-grey once the range is stretched.
    raw = digits.fresh[:N].astype(np.float32)
    raw[:, :, 0, 0] = -255
    low, high = raw.min(axis=(1, 2, 3), keepdims=True), raw.max(axis=(1, 2, 3), keepdims=True)
    found = digits.scores(((raw - low) / (high - low) * 255).round().astype(np.uint8))
    assert found["fid"] > 5 * digits.honest["fid"]
    assert found["kid"] > 5 * abs(digits.honest["kid"])
    assert found["coverage"] < 0.5
