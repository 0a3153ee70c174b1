import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import gan.data.batches
from gan.contract import ImageShape
from gan.data.batches import endless_batches, epoch_flips, epoch_order
from gan.data.image_store import ImageStore
from gan.data.store_writer import write_store
from gan.errors import ConfigError


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> ImageStore:
    """Ten images of one pixel, whose value is their number."""
    path: Path = tmp_path_factory.mktemp("numbered") / "numbered.lmdb"
    write_store(
        path,
        ((np.full((1, 1, 1), i, np.uint8), 0) for i in range(10)),
        image=ImageShape(1, 1, 1),
        splits={"train": (0, 10)},
        recipe={},
    )
    return ImageStore(path, "train")


def numbers(batch):
    """Which images a batch of the store `numbered` holds."""
    return ((batch + 1) * 127.5).round().int().flatten().tolist()


def take(iterator, count):
    return [numbers(batch) for batch in itertools.islice(iterator, count)]


def test_each_epoch_is_a_permutation_and_no_two_are_equal(numbered):
    batches = take(endless_batches(numbered, 5, seed=0), 6)
    epochs = [batches[i] + batches[i + 1] for i in (0, 2, 4)]

    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_last_partial_batch_is_dropped(numbered):
    batches = take(endless_batches(numbered, 4, seed=0), 4)  # two a epoch, two images left out of each

    for epoch in (batches[:2], batches[2:]):
        assert len(set(epoch[0] + epoch[1])) == 8


def test_seeking_equals_skipping(numbered):
    whole = take(endless_batches(numbered, 3, seed=7), 20)

    for start in (0, 1, 2, 3, 10, 17):
        assert take(endless_batches(numbered, 3, seed=7, start=start), 3) == whole[start : start + 3]


def test_the_order_is_a_function_of_the_seed(numbered):
    first, again, other = (take(endless_batches(numbered, 5, seed=seed), 4) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_the_order_of_a_seed_stays_for_ever():
    assert epoch_order(10, 0, 0).tolist() == [0, 8, 9, 3, 7, 5, 1, 2, 6, 4]


def test_ranks_partition_the_batches_of_one_process(numbered):
    whole = take(endless_batches(numbered, 6, seed=3), 5)
    shares = [take(endless_batches(numbered, 6, seed=3, rank=rank, world_size=3), 5) for rank in range(3)]

    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == whole


def test_bytes_become_numbers_from_minus_one_to_one(tmp_path):
    write_store(
        tmp_path / "four.lmdb",
        ((np.full((1, 1, 1), value, np.uint8), 0) for value in (0, 51, 204, 255)),
        image=ImageShape(1, 1, 1),
        splits={"train": (0, 4)},
        recipe={},
    )
    batch = next(endless_batches(ImageStore(tmp_path / "four.lmdb", "train"), 4, seed=0))

    assert batch.shape == (4, 1, 1, 1)
    # 51 / 127.5 - 1 = -0.6; 204 / 127.5 - 1 = 0.6
    torch.testing.assert_close(batch.flatten().sort().values, torch.tensor([-1.0, -0.6, 0.6, 1.0]))


def test_real_digits_come_as_float_images(tiny_store):
    batch = next(endless_batches(ImageStore(tiny_store, "train"), 48, seed=0))

    assert batch.shape == (48, 1, 28, 28)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    assert (batch.min(), batch.max()) == (-1.0, 1.0)


def test_a_split_smaller_than_one_batch_is_refused_at_once(numbered):
    with pytest.raises(ConfigError, match="the split holds 10 images, one batch is 11"):
        endless_batches(numbered, 11, seed=0)


def test_a_batch_that_the_ranks_cannot_share_is_refused(numbered):
    with pytest.raises(ConfigError, match="batch_size 5 can't be shared by 2 processes"):
        endless_batches(numbered, 5, seed=0, world_size=2)


@pytest.fixture(scope="module")
def sloped(tmp_path_factory) -> ImageStore:
    """Forty images of two rows and three columns: number, 100, 200 in each row."""
    path: Path = tmp_path_factory.mktemp("sloped") / "sloped.lmdb"
    write_store(
        path,
        ((np.tile(np.array([i, 100, 200], np.uint8), (1, 2, 1)), 0) for i in range(40)),
        image=ImageShape(1, 2, 3),
        splits={"train": (0, 40)},
        recipe={},
    )
    return ImageStore(path, "train")


def flipped_numbers(batch):
    """Number of each image, and whether it came mirrored; both rows must agree."""
    values = ((batch + 1) * 127.5).round().int()[:, 0]
    assert torch.equal(values[:, 0], values[:, 1])
    mirrored = values[:, 0, 0] == 200
    found = torch.where(mirrored[:, None], values[:, 0].flip(1), values[:, 0])
    assert torch.equal(found[:, 1:], torch.tensor([100, 200], dtype=torch.int32).expand(len(found), 2))
    return list(zip(found[:, 0].tolist(), mirrored.tolist(), strict=True))


def test_a_flip_mirrors_half_of_the_images_and_changes_neither_order_nor_pixels(sloped):
    whole = [
        flipped_numbers(batch)
        for batch in itertools.islice(endless_batches(sloped, 8, seed=1, flip=True), 50)
    ]
    plain = [flipped_numbers(batch) for batch in itertools.islice(endless_batches(sloped, 8, seed=1), 50)]

    assert [[n for n, _ in batch] for batch in whole] == [[n for n, _ in batch] for batch in plain]
    share = np.mean([mirrored for batch in whole for _, mirrored in batch])
    assert 0.4 < share < 0.6  # of 400; 0.5 +- 0.025
    assert not any(mirrored for batch in plain for _, mirrored in batch)


def test_flips_belong_to_seed_epoch_and_index_whoever_reads_and_from_where(sloped):
    def batches(**options):
        return [
            flipped_numbers(batch)
            for batch in itertools.islice(endless_batches(sloped, 8, seed=1, flip=True, **options), 6)
        ]

    whole = batches()
    assert batches(start=3)[:3] == whole[3:]
    shares = [batches(rank=rank, world_size=2) for rank in range(2)]
    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == whole


def test_the_flips_of_a_seed_stay_for_ever_and_differ_between_epochs():
    assert epoch_flips(12, 0, 0).astype(int).tolist() == [1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1]
    assert epoch_flips(64, 0, 0).tolist() != epoch_flips(64, 0, 1).tolist()


def test_batches_are_made_on_the_device_that_is_asked_for(numbered):
    batch = next(endless_batches(numbered, 5, seed=0, device="meta"))

    assert (batch.device.type, batch.dtype, batch.shape) == ("meta", torch.float32, (5, 1, 1, 1))


WAYS = [{"resident": True}, {"ahead": True}]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("start", [0, 3, 5, 12])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
@pytest.mark.parametrize("flip", [False, True])
def test_where_images_wait_changes_no_bit_of_a_batch(sloped, way, start, rank, world_size, flip, monkeypatch):
    monkeypatch.setattr(gan.data.batches, "CHUNK", 7)  # 40 images in six portions

    def batches(**options):
        place = {"start": start, "rank": rank, "world_size": world_size, "flip": flip}
        return list(itertools.islice(endless_batches(sloped, 8, seed=2, **place, **options), 11))

    for found, expected in zip(batches(**way), batches(), strict=True):
        assert torch.equal(found, expected) and found.is_contiguous()
        assert found.dtype == expected.dtype == torch.float32


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_images_that_wait_are_of_the_device(sloped, way):
    batch = next(endless_batches(sloped, 8, seed=0, flip=True, device="meta", **way))
    assert (batch.device.type, batch.dtype, batch.shape) == ("meta", torch.float32, (8, 1, 2, 3))


def test_a_held_split_is_read_once(sloped, monkeypatch):
    read, original = [], ImageStore.read
    monkeypatch.setattr(ImageStore, "read", lambda *place: read.append(list(place[1])) or original(*place))
    for _ in itertools.islice(endless_batches(sloped, 8, seed=0, resident=True), 20):
        pass
    assert read == [list(range(40))]


@pytest.mark.parametrize(("free", "fits"), [(4 * 240, True), (4 * 240 - 1, False)])
def test_a_split_is_held_if_a_quarter_of_the_free_memory_takes_it(sloped, monkeypatch, caplog, free, fits):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10**9))
    with caplog.at_level("INFO"):
        assert gan.data.batches._fits(sloped, torch.device("cuda"), rank=0) is fits
        assert gan.data.batches._fits(sloped, torch.device("cuda"), rank=1) is fits
    assert [record.message.endswith(": streamed") for record in caplog.records] == [True] * (not fits)


@pytest.mark.gpu
@pytest.mark.parametrize("way", [*WAYS, {"ahead": False}], ids=str)
def test_batches_on_a_gpu_are_those_of_the_cpu(sloped, way):
    ours, theirs = (
        itertools.islice(endless_batches(sloped, 8, seed=1, flip=True, **options), 30)
        for options in (way | {"device": "cuda"}, {})
    )
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-6)
