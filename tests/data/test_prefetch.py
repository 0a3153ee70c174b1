"""Reading ahead: how far, that the thread ends, and that its errors arrive."""

import gc
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gan.data.image_store import ImageStore
from gan.data.prefetch import AHEAD, prefetch
from gan.errors import DataError

CPU = torch.device("cpu")


def numbered(made, fails_at=None):
    for number in itertools.count():
        if number == fails_at:
            raise DataError(f"record {number} is changed")
        made.append(number)
        yield torch.tensor([number])


@pytest.fixture(autouse=True)
def threads():
    """Check that each test leaves as many threads as it found."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def wait_until(holds):
    for _ in range(2000):
        if holds():
            return
        time.sleep(0.001)
    raise AssertionError("it never came to that")


def test_two_batches_are_made_before_they_are_asked_for_and_no_more():
    made = []
    batches = prefetch(numbered(made), CPU)
    assert made == []
    assert [next(batches).item() for _ in range(5)] == [0, 1, 2, 3, 4]
    wait_until(lambda: len(made) == 5 + AHEAD)
    time.sleep(0.02)
    assert len(made) == 5 + AHEAD
    batches.close()


def test_the_thread_ends_when_the_iterator_is_closed_or_forgotten():
    before = threading.active_count()
    for end in (lambda batches: batches.close(), lambda _: None):
        batches = prefetch(numbered([]), CPU)
        next(batches)
        assert threading.active_count() == before + 1
        end(batches)
        del batches
        gc.collect()
        assert threading.active_count() == before


def test_an_error_of_the_thread_is_raised_after_the_batches_before_it():
    batches = prefetch(numbered([], fails_at=2), CPU)
    assert [next(batches).item() for _ in range(2)] == [0, 1]
    with pytest.raises(DataError, match="record 2 is changed"):
        next(batches)


def test_several_threads_read_one_store(tiny_store):
    expected = ImageStore(tiny_store, "train").read(range(48))
    store = ImageStore(tiny_store, "train")
    orders = [np.random.default_rng(seed).permutation(48) for seed in range(32)]
    with ThreadPoolExecutor(4) as pool:
        for order, found in zip(orders, pool.map(store.read, orders), strict=True):
            np.testing.assert_array_equal(found, expected[order])
