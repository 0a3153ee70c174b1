from collections.abc import Callable

import numpy as np
import pytest

from gan.card import write_card
from gan.config import Params
from gan.contract import ImageShape
from gan.data.image_store import ImageStore
from gan.data.store_writer import write_store
from gan.files import read_json
from gan.generator import draw_images, load_generator, save_generator
from gan.randomness import derive_seed
from pipeline import sample
from pipeline.scores.protocol import make_protocols
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


def test_all_cells_and_both_generators_get_one_noise_which_is_that_of_the_stamp(
    params: Params, cell: Cell, make_cell: Callable[..., Cell]
) -> None:
    other = make_cell("mnist_tiny-gan-smoke-1", weights_seed=cell.seed)  # the same weights, twice each
    for made in (cell, other):
        run(params, made)
    first, *others = (
        np.load(made.samples / f"{name}.npy") for made in (cell, other) for name in ("averaged", "raw")
    )
    assert len(np.unique(first, axis=0)) == len(first)
    for images in others:
        np.testing.assert_array_equal(images, first)
    interpolations = [np.load(made.samples / "interpolation.npy") for made in (cell, other)]
    np.testing.assert_array_equal(*interpolations)

    evaluator = {"name": "mnistnet", "sha256": "e" * 64}
    reference = {"n": 64, "split": "test", "data_digest": "d" * 64, "device": "cpu"}
    generator, card = load_generator(cell.model)
    for stamp in make_protocols(cell, params, evaluator, reference).values():
        np.testing.assert_array_equal(draw_images(generator, card, 64, stamp.noise_seed).numpy(), first)


def test_raw_samples_are_the_raw_generators(params: Params, cell: Cell) -> None:
    generator, card = load_generator(cell.model)
    state = {name: tensor * 1.5 for name, tensor in generator.state_dict().items()}
    sha256 = save_generator(cell.model, state, "generator_raw")
    write_card(cell.model, card.model_copy(update={"raw_weights_sha256": sha256}))
    run(params, cell)
    for name, weights in (("averaged", "generator"), ("raw", "generator_raw")):
        expected = draw_images(load_generator(cell.model, weights)[0], card, 64, derive_seed("sample"))  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.load(cell.samples / f"{name}.npy"), expected.numpy())
    assert (np.load(cell.samples / "averaged.npy") != np.load(cell.samples / "raw.npy")).any()


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
