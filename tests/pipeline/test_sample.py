from collections.abc import Callable

import numpy as np
import pytest

from gan.config import Params
from gan.contract import ImageShape
from gan.data.image_store import ImageStore
from gan.data.store_writer import write_store
from gan.files import read_json
from pipeline import sample
from pipeline.stage import Cell


@pytest.fixture
def cell(make_cell: Callable[..., Cell]) -> Cell:
    """Return a cell with a generator of untrained weights and a store of twenty random images."""
    made = make_cell()
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 28, 28), dtype=np.uint8)
    splits = {"train": (0, 18), "test": (18, 20)}
    made.store.parent.mkdir(parents=True)
    records = [(image, number % 10) for number, image in enumerate(images)]
    write_store(made.store, records, image=ImageShape(1, 28, 28), splits=splits, recipe={})
    return made


def run(params: Params, cell: Cell) -> None:
    sample.main(params.model_copy(update={"samples": {cell.dataset: 64}}), cell.key)


def test_a_cells_samples_ways_and_nearest_images_have_their_shapes(params: Params, cell: Cell) -> None:
    run(params, cell)
    shapes = {path.stem: np.load(path).shape for path in cell.samples.glob("*.npy")}
    assert shapes == {
        "averaged": (64, 1, 28, 28),
        "raw": (64, 1, 28, 28),
        "interpolation": (8, 10, 1, 28, 28),
        "nearest": (8, 1, 28, 28),
    }
    assert {np.load(path).dtype for path in cell.samples.glob("*.npy")} == {np.dtype(np.uint8)}
    assert (cell.samples / "grid.png").is_file()
    nearest = read_json(cell.samples / "nearest.json")
    np.testing.assert_array_equal(
        ImageStore(cell.store, "train").read(nearest["numbers"]), np.load(cell.samples / "nearest.npy")
    )


def test_a_second_run_gives_equal_bytes(params: Params, cell: Cell) -> None:
    run(params, cell)
    first = {path.name: path.read_bytes() for path in cell.samples.iterdir()}
    run(params, cell)
    assert {path.name: path.read_bytes() for path in cell.samples.iterdir()} == first


def test_a_copy_of_a_training_image_is_found_in_any_portion(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "PORTION", 5)
    store = ImageStore(cell.store, "train")
    copies = store.read([17, 2, 9])
    copies[2, 0, 0, 0] ^= 2  # 2 grey levels in one of 784 values: a root mean square of 2 / 28
    images, numbers, distances = sample.nearest_images(copies, store)
    assert numbers == [17, 2, 9]
    assert distances == [0.0, 0.0, 0.071]
    np.testing.assert_array_equal(images, store.read([17, 2, 9]))
