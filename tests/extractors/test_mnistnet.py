"""The evaluator: equal bits however it is called, and no weights but those that were saved."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from gan.config import load_params
from gan.contract import AdamParams, ImageShape
from gan.data.digits import read_digits
from gan.errors import ConfigError, DataError
from gan.extractors.mnistnet import (
    accuracy,
    extract,
    load_mnistnet,
    new_mnistnet,
    save_mnistnet,
    train_mnistnet,
)

ROOT = Path(__file__).resolve().parents[2]
SHAPE = ImageShape(1, 28, 28)


def bars(n, seed=0):
    """Toy digits: class k is a bright row at height 2 k + 4."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, n)
    images = random.integers(0, 60, (n, 1, 28, 28), dtype=np.uint8)
    images[np.arange(n), 0, 2 * labels + 4, 4:24] = 255
    return images, labels


def train(net, images, labels, *, epochs=2, seed=0):
    optimizer = AdamParams(kind="adam", lr=2e-3, betas=(0.9, 0.999))
    return list(
        train_mnistnet(net, images, labels, epochs=epochs, batch_size=16, optimizer=optimizer, seed=seed)
    )


@pytest.mark.parametrize("size", [28, 32])
def test_features_and_probabilities_have_their_shapes(size):
    images = np.zeros((3, 1, size, size), np.uint8)
    found = extract(new_mnistnet(ImageShape(1, size, size), 0), images)
    assert (found.features.shape, found.features.dtype) == ((3, 128), np.float32)
    assert (found.probabilities.shape, found.probabilities.dtype) == ((3, 10), np.float32)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-6)


def test_no_images_have_no_features():
    assert extract(new_mnistnet(SHAPE, 0), np.zeros((0, 1, 28, 28), np.uint8)).features.shape == (0, 128)


@pytest.mark.parametrize("portions", [[1, 1, 398], [255, 2, 143], [300, 100]])
def test_extraction_does_not_depend_on_the_portions_that_images_come_in(portions):
    net = new_mnistnet(SHAPE, 0)
    images, _ = bars(400)
    whole = extract(net, images)
    parts = [extract(net, part) for part in np.split(images, np.cumsum(portions)[:-1])]
    np.testing.assert_array_equal(np.concatenate([part.features for part in parts]), whole.features)
    np.testing.assert_array_equal(np.concatenate([part.probabilities for part in parts]), whole.probabilities)


def test_forward_is_the_head_on_the_features():
    net = new_mnistnet(SHAPE, 0).eval()
    images = torch.from_numpy(bars(4)[0])
    with torch.no_grad():
        torch.testing.assert_close(net(images), net.head(net.features(images)))


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 28, 28), torch.zeros(2, 1, 32, 32, dtype=torch.uint8)])
def test_images_that_are_not_uint8_of_its_shape_are_refused(images):
    with pytest.raises(ValueError, match="expected uint8 images"):
        new_mnistnet(SHAPE, 0)(images)


def test_a_shape_it_cannot_score_is_refused():
    with pytest.raises(ConfigError, match="3x32x32"):
        new_mnistnet(ImageShape(3, 32, 32), 0)


def test_training_learns_and_leaves_the_network_in_evaluation_mode():
    net = new_mnistnet(SHAPE, 0)
    losses = train(net, *bars(320), epochs=4)
    images, labels = bars(200, seed=1)
    assert not net.training
    assert losses[-1] < 0.8 * losses[0]
    # Bars are shifted by up to two rows, so that neighbours are alike; chance is 0.1.
    assert accuracy(extract(net, images).probabilities, labels) > 0.4


def test_training_is_a_function_of_data_and_seed(tmp_path):
    images, labels = bars(50)
    hashes = []
    for number, seed in enumerate([0, 0, 1]):
        torch.manual_seed(number)  # the caller's random state is neither used nor moved
        before = torch.get_rng_state()
        net = new_mnistnet(SHAPE, seed)
        train(net, images, labels, seed=seed)
        torch.testing.assert_close(torch.get_rng_state(), before)
        hashes.append(save_mnistnet(net, tmp_path / "weights.safetensors"))
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_number_of_threads_is_given_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        extract(new_mnistnet(SHAPE, 0), bars(3)[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_saved_weights_load_into_an_equal_network(tmp_path):
    net = new_mnistnet(SHAPE, 0)
    images, labels = bars(50)
    train(net, images, labels)
    sha256 = save_mnistnet(net, tmp_path / "weights.safetensors")
    loaded = load_mnistnet(tmp_path / "weights.safetensors", SHAPE, sha256)
    assert not loaded.training
    np.testing.assert_array_equal(extract(loaded, images).features, extract(net, images).features)


def test_a_flipped_bit_is_an_error_that_names_the_file_and_the_cure(tmp_path):
    path = tmp_path / "mnist_tiny" / "weights.safetensors"
    sha256 = save_mnistnet(new_mnistnet(SHAPE, 0), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.safetensors: sha256 is .* repro evaluator@mnist_tiny"):
        load_mnistnet(path, SHAPE, sha256)


def test_weights_for_another_shape_are_an_error(tmp_path):
    path = tmp_path / "weights.safetensors"
    sha256 = save_mnistnet(new_mnistnet(ImageShape(1, 32, 32), 0), path)
    with pytest.raises(DataError, match="not the weights"):
        load_mnistnet(path, SHAPE, sha256)


def test_the_file_holds_tensors_only(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_mnistnet(new_mnistnet(SHAPE, 0), path)
    assert safetensors.torch.load_file(path)["head.weight"].shape == (10, 128)


@pytest.mark.slow  # about 40 s of one core
def test_the_committed_evaluator_names_97_percent_of_the_held_out_digits():
    digits = read_digits(ROOT / "data/mnist_tiny", "")
    params = load_params(ROOT / "params.yaml").evaluator
    test = np.arange(len(digits.labels)) % 5 == 4
    net = new_mnistnet(SHAPE, params.seed)
    for _ in train_mnistnet(
        net,
        digits.images[~test],
        digits.labels[~test].astype(np.int64),
        epochs=params.epochs,
        batch_size=params.batch_size,
        optimizer=params.optimizer,
        seed=params.seed,
    ):
        pass
    found = extract(net, digits.images[test]).probabilities
    assert 0.97 <= accuracy(found, digits.labels[test].astype(np.int64)) < 1
