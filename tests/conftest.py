"""Data that several tests share."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gan.contract import ImageShape
from gan.data.digits import read_digits
from gan.data.store_writer import write_store

ROOT = Path(__file__).parents[1]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 64 real digits, 1 x 28 x 28: 48 of train, 16 of test, all ten classes in each."""
    digits = read_digits(ROOT / "data/mnist_tiny", "")
    chosen = np.arange(64) * 77 % 5000  # the file is sorted by class; steps of 77 go through all of them
    path = tmp_path_factory.mktemp("tiny") / "tiny.lmdb"
    write_store(
        path,
        ((digits.images[i], int(digits.labels[i])) for i in chosen),
        image=ImageShape(1, 28, 28),
        splits={"train": (0, 48), "test": (48, 64)},
        recipe={"split": "48 and 16"},
    )
    return path
