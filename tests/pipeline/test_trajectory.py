"""Scores along a run: what is scored, against which split, and which step is chosen."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline.evaluator
from gan.config import load_params
from gan.contract import ImageShape
from gan.data.image_store import ImageStore
from gan.data.store_writer import write_store
from gan.errors import DataError
from gan.extractors.mnistnet import extract, load_mnistnet
from gan.files import read_json, write_json
from gan.generator import draw_images, load_generator, load_snapshot, save_snapshot
from gan.metrics.distances import FeatureStats, frechet_distance
from pipeline import trajectory
from pipeline.claims.vocabulary import snapshot_score_names
from pipeline.scores.course import Course, Point, read_course, read_seconds
from pipeline.scores.history import write_history
from pipeline.stage import Cell
from pipeline.trajectory import choose_step, images_seen
from tests.courses import write_course

KEY = "mnist_tiny-gan-smoke-0"
N = 140
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def evaluators(tmp_path_factory):
    """Root of a project with an evaluator that was trained on made-up digits for an epoch."""
    root = tmp_path_factory.mktemp("evaluators")
    params = load_params(ROOT / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_digits(root, {"train": (0, 300), "test": (300, 440)})
        evaluator = params.evaluator.model_copy(update={"epochs": 1})
        pipeline.evaluator.main(params.model_copy(update={"evaluator": evaluator}), "mnist_tiny")
    return root / "build/evaluators"


def write_digits(root, splits):
    """Write a store of images whose class is the height of a bright row."""
    n = max(end for _, end in splits.values())
    images = np.random.default_rng(0).integers(0, 60, (n, 1, 28, 28), dtype=np.uint8)
    labels = np.arange(n) % 10
    images[np.arange(n), 0, 2 * labels + 4, 4:24] = 255
    (root / "data/lmdb").mkdir(parents=True, exist_ok=True)
    for path in (root / "data/lmdb").iterdir():
        path.unlink()
    records = zip(images, map(int, labels), strict=True)
    image = ImageShape(1, 28, 28)
    write_store(root / "data/lmdb/mnist_tiny.lmdb", records, image=image, splits=splits, recipe={})


@pytest.fixture
def cell(make_cell, checkout, evaluators):
    """Return a trained cell with three snapshots: the last one holds the weights of the generator."""
    made = make_cell(KEY)
    shutil.copytree(evaluators, checkout / "build/evaluators")
    write_snapshots(made, [0, 10, 20])
    return made


def write_snapshots(cell: Cell, steps: list[int]) -> None:
    """Write snapshots as training does, each with weights of its own."""
    for step in steps:
        generator, card = load_generator(cell.model)
        torch.manual_seed(step)
        state = {
            name: tensor + 0.05 * torch.randn(tensor.shape) * (step != steps[-1])
            for name, tensor in generator.state_dict().items()
        }
        save_snapshot(cell.model / "snapshots", state, step)


def run(params, splits, samples=N):
    write_digits(Path(), splits)
    scored = params.trajectory.model_copy(update={"samples": samples})
    trajectory.main(params.model_copy(update={"trajectory": scored}), KEY)
    return read_json(Path("build/trajectory") / KEY / "scores.json")


WITH_VALIDATION = {"train": (0, 300), "validation": (300, 460), "test": (460, 620)}
WITHOUT = {"train": (0, 300), "test": (300, 460)}


def test_each_snapshot_is_scored_against_the_validation_split(params, cell):
    found = run(params, WITH_VALIDATION, samples=160)
    assert (found["split"], found["n"]) == ("validation", 160)
    assert [point["step"] for point in found["points"]] == [0, 10, 20]
    assert [point["images_seen"] for point in found["points"]] == [0, 640, 1280]
    assert found["metrics"]["fid"] == "fid_mnistnet_160_validation"
    assert set(found["metrics"]) == set(snapshot_score_names("mnist_tiny", params))  # what claims may name

    card = read_json(cell.evaluator / "card.json")
    net = load_mnistnet(cell.evaluator / "weights.safetensors", ImageShape(1, 28, 28), card["sha256"])
    real = extract(net, ImageStore(cell.store, "validation").read(range(160))).features
    for point in found["points"]:
        generator, model = load_snapshot(cell.model, point["step"])
        images = draw_images(generator, model, 160, trajectory.derive_seed("trajectory")).numpy()
        fid = frechet_distance(FeatureStats.of(extract(net, images).features), FeatureStats.of(real))
        assert point["fid_mnistnet_160_validation"] == pytest.approx(fid, rel=1e-6)


def test_without_a_validation_split_training_images_are_the_reference_and_nothing_is_chosen(params, cell):
    found = run(params, WITHOUT)
    assert (found["split"], found["n"], found["chosen"]) == ("train", N, None)
    assert read_course(cell).best is None


def test_with_a_validation_split_the_step_of_the_lowest_fid_is_chosen(params, cell):
    found = run(params, WITH_VALIDATION)
    fids = {point["step"]: point["fid_mnistnet_140_validation"] for point in found["points"]}
    assert found["chosen"] == min(fids, key=fids.get)
    assert read_course(cell).best.fid == min(fids.values())


def test_images_seen_are_those_of_the_history_and_grow_evenly_between_its_rows(cell):
    write_history(cell, [{"step": step, "images_seen": seen} for step, seen in ((4, 400), (8, 600))])
    assert images_seen(cell, [0, 2, 4, 7, 8]) == [0, 200, 400, 550, 600]


@pytest.mark.parametrize(
    ("fids", "step"),
    [([9.0, 3.0, 5.0], 10), ([3.0, 5.0, 3.0], 20), ([7.0, 7.0, 7.0], 20), ([1.0, 2.0, 3.0], 0)],
)
def test_the_later_step_of_equals_is_chosen(fids, step):
    points = [{"step": 10 * index, "fid": fid} for index, fid in enumerate(fids)]
    assert choose_step(points, "fid") == step
    assert choose_step(points[::-1], "fid") == step


def test_no_more_samples_are_scored_than_the_split_has_images(params, cell):
    assert run(params, WITH_VALIDATION, samples=1000)["n"] == 160


def test_each_snapshot_is_pictured_from_noise_of_its_own(params, cell):
    run(params, WITHOUT)
    images = np.load(cell.trajectory / "images.npy")
    assert (images.shape, images.dtype) == ((3, 64, 1, 28, 28), np.uint8)
    generator, card = load_snapshot(cell.model, 20)
    expected = draw_images(generator, card, 64, trajectory.derive_seed("trajectory", 20)).numpy()
    np.testing.assert_array_equal(images[2], expected)
    other = draw_images(generator, card, 64, trajectory.derive_seed("trajectory", 10)).numpy()
    assert (other != expected).mean() > 0.5


def test_a_second_run_gives_equal_bytes(params, cell):
    run(params, WITHOUT)
    first = {path.name: path.read_bytes() for path in cell.trajectory.iterdir()}
    assert set(first) == {"scores.json", "images.npy"}
    run(params, WITHOUT)
    assert {path.name: path.read_bytes() for path in cell.trajectory.iterdir()} == first


def test_a_model_without_snapshots_is_an_error_that_says_what_to_run(params, cell):
    shutil.rmtree(cell.model / "snapshots")
    with pytest.raises(DataError, match=rf"no snapshots; run 'dvc repro -f train@{KEY}'"):
        run(params, WITHOUT)


def test_a_course_is_read_with_its_last_and_its_chosen_point(make_cell):
    cell = make_cell(KEY)
    write_course(cell, [(0, 90.0), (10, 70.0), (20, 80.0)], "validation", per_step=32)
    points = [Point(0, 0, 90.0), Point(10, 320, 70.0), Point(20, 640, 80.0)]
    found = read_course(cell)
    assert found == Course("fid_mnistnet_1k_validation", "validation", 1000, 10, points)
    assert (found.last, found.best) == (points[2], points[1])


@pytest.mark.parametrize(
    "changes", [{"points": []}, {"points": [{"step": 1}]}, {"metrics": {}}, {"points": None}]
)
def test_a_course_of_another_shape_is_one_line_with_the_stage_to_run(make_cell, changes):
    cell = make_cell(KEY)
    write_course(cell, [(20, 80.0)], "train")
    path = cell.trajectory / "scores.json"
    write_json(path, read_json(path) | changes)
    with pytest.raises(DataError, match=rf"scores along the run .*'dvc repro trajectory@{KEY}'") as caught:
        read_course(cell)
    assert len(str(caught.value).splitlines()) == 1


def test_the_times_of_snapshots_are_those_of_the_training(make_cell):
    cell = make_cell(KEY)
    write_json(cell.training, {"snapshot_seconds": {"0": 0.1, "10": 4.5}})
    assert read_seconds(cell) == {0: 0.1, 10: 4.5}
    write_json(cell.training, {"seconds": 4.5})
    with pytest.raises(DataError, match=rf"no times of the snapshots .*'dvc repro -f train@{KEY}'"):
        read_seconds(cell)
