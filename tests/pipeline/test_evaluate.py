"""Stages evaluator, reference and evaluate, run one after the other on a store of made-up digits."""

import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline.convert
import pipeline.download
import pipeline.evaluate
import pipeline.evaluator
import pipeline.reference
from gan.config import load_params
from gan.contract import ImageShape
from gan.data.image_store import NO_LABEL, ImageStore, Record
from gan.data.store_writer import write_store
from gan.errors import ConfigError, DataError
from gan.extractors import load_extractor
from gan.extractors.base import Features
from gan.files import read_json, sha256_of, write_json
from gan.metrics.catalogue import METRICS
from gan.metrics.modes import Modes, stacked_modes
from gan.versions import installed_versions
from pipeline import sample, trajectory
from pipeline.claims.vocabulary import score_names
from pipeline.scores.protocol import read_protocol
from pipeline.stage import run_stage

KEY = "mnist_tiny-dcgan-smoke-0"
SCORES = [metric.name for metric in METRICS if metric.needs != "modes"]
SAMPLES = 130  # just above the evaluator's 128 features
ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT / "params.yaml")


def with_evaluation(samples=SAMPLES, reference="test"):
    evaluate = PARAMS.evaluate.model_copy(update={"reference": reference})
    evaluator = PARAMS.evaluator.model_copy(update={"epochs": 1})
    counts = dict.fromkeys(PARAMS.samples, samples)
    return PARAMS.model_copy(update={"evaluate": evaluate, "evaluator": evaluator, "samples": counts})


def digits(n, seed):
    """Class k is a bright row at height 2 k + 4."""
    images = np.random.default_rng(seed).integers(0, 60, (n, 1, 28, 28), dtype=np.uint8)
    labels = np.arange(n) % 10
    images[np.arange(n), 0, 2 * labels + 4, 4:24] = 255
    return images, labels


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Root of a project whose evaluator and reference stages have run, with samples to score."""
    root = tmp_path_factory.mktemp("built")
    images, labels = digits(300 + SAMPLES, seed=0)
    write_store(
        root / "data/lmdb/mnist_tiny.lmdb",
        zip(images, map(int, labels), strict=True),
        image=ImageShape(1, 28, 28),
        splits={"train": (0, 300), "test": (300, 300 + SAMPLES)},
        recipe={},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        pipeline.evaluator.main(with_evaluation(), "mnist_tiny")
        pipeline.reference.main(with_evaluation(), "mnist_tiny")
    samples = root / "build/samples" / KEY
    samples.mkdir(parents=True)
    np.save(samples / "averaged.npy", digits(SAMPLES, seed=1)[0])
    np.save(samples / "raw.npy", digits(SAMPLES, seed=2)[0] // 4)
    return root


@pytest.fixture
def project(built, tmp_path, monkeypatch):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_evaluators_card_says_what_the_weights_are(project):
    folder = project / "build/evaluators/mnist_tiny"
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]
    card = read_json(folder / "card.json")
    assert 0 <= card.pop("accuracy") <= 1
    assert card == {
        "name": "mnistnet",
        "sha256": sha256_of(folder / "weights.safetensors"),
        "features": 128,
        "classes": 10,
        "data_digest": read_json(project / "data/lmdb/mnist_tiny.json")["digest"],
        "versions": installed_versions(),
    }


def test_the_references_card_says_what_the_features_are_of(project):
    folder = project / "build/reference/mnist_tiny"
    card = read_json(folder / "card.json")
    assert (card["n"], card["split"]) == (SAMPLES, "test")
    assert card["data_digest"] == read_json(project / "data/lmdb/mnist_tiny.json")["digest"]
    assert card["evaluator_sha256"] == read_json(project / "build/evaluators/mnist_tiny/card.json")["sha256"]
    with np.load(folder / "features.npz") as archive:
        assert archive.files == ["features", "classes", "train"]
        assert (archive["features"].shape, archive["features"].dtype) == ((SAMPLES, 128), np.float32)
        assert (archive["train"].shape, archive["train"].dtype) == ((300, 128), np.float32)
        assert archive["classes"].sum() == SAMPLES
    assert card["training_images"] == 300
    assert card["suspicious"] > 0


def test_the_floor_lies_below_the_ceiling(project):
    card = read_json(project / "build/reference/mnist_tiny/card.json")
    assert list(card["floor"]) == list(card["ceiling"]) == sorted(SCORES)
    assert card["floor"]["fid"] < card["ceiling"]["fid"]
    assert card["floor"]["kid"] < card["ceiling"]["kid"]


@pytest.mark.parametrize("split", ["test", "train"])
def test_the_floor_is_of_training_images_beside_the_reference_and_the_ceiling_of_uniform_noise(
    project, monkeypatch, split
):
    scored = []

    def record(samples, reference):
        scored.append((samples, reference))
        return {"fid": 0.0}

    monkeypatch.setattr(pipeline.reference, "score", record)
    pipeline.reference.main(with_evaluation(reference=split), "mnist_tiny")
    (floor, beside), (ceiling, reference) = scored
    path = Path("data/lmdb/mnist_tiny.lmdb")
    train, test = (rows_of(ImageStore(path, name)) for name in ("train", "test"))
    own = {image.tobytes() for image in floor.images}
    assert (len(own), len(own & train), len(own & test)) == (SAMPLES, SAMPLES, 0)
    np.testing.assert_array_equal(beside.features, reference.features)
    own = {row.tobytes() for row in floor.features}
    assert len(own & {row.tobytes() for row in reference.features}) == 0
    # A floor's images are no copies of themselves.
    assert (len(beside.train), len(reference.train)) == (300 - SAMPLES, 300)
    assert len(own & {row.tobytes() for row in beside.train}) == 0

    assert ceiling.images.shape == (SAMPLES, 1, 28, 28)
    counts = np.bincount(ceiling.images.ravel(), minlength=256) / ceiling.images.size
    np.testing.assert_allclose(counts, 1 / 256, rtol=0.3)


def rows_of(store):
    """Images of a split, as bytes."""
    return {image.tobytes() for image in store.read(np.arange(len(store)))}


def test_the_evaluator_learns_from_the_training_split_and_is_measured_on_the_test_split(project, monkeypatch):
    learned, measured = [], []

    def record(net, images, labels, **_):
        learned.append((images, labels))
        return iter(())

    def measure(probabilities, labels):
        measured.append((probabilities, labels))
        return 0.5

    monkeypatch.setattr(pipeline.evaluator, "train_mnistnet", record)
    monkeypatch.setattr(pipeline.evaluator, "accuracy", measure)
    monkeypatch.setattr(pipeline.evaluator, "extract", lambda net, images: Features(images, images))
    pipeline.evaluator.main(with_evaluation(), "mnist_tiny")
    path = Path("data/lmdb/mnist_tiny.lmdb")
    for (images, labels), split in zip((*learned, *measured), ("train", "test"), strict=True):
        store = ImageStore(path, split)
        np.testing.assert_array_equal(images, store.read(np.arange(len(store))))
        np.testing.assert_array_equal(labels, store.read_labels(np.arange(len(store))))


def test_the_features_archive_bears_no_date_of_its_making(project):
    with zipfile.ZipFile(project / "build/reference/mnist_tiny/features.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_stages_run_again_write_equal_bytes(project):
    files = sorted(
        path for path in (project / "build").rglob("*") if path.suffix != ".npy" and path.is_file()
    )
    assert len(files) == 4
    before = [sha256_of(path) for path in files]
    pipeline.evaluator.main(with_evaluation(), "mnist_tiny")
    pipeline.reference.main(with_evaluation(), "mnist_tiny")
    assert [sha256_of(path) for path in files] == before


def test_metrics_are_flat_and_have_floor_and_ceiling_beside_them(project):
    pipeline.evaluate.main(with_evaluation(), KEY)
    metrics = read_json(project / "build/metrics" / f"{KEY}.json")
    suffixes = ["", "_raw", "_floor", "_ceiling"]
    assert sorted(metrics) == sorted(
        f"{metric}_mnistnet_130_test{suffix}" for metric in SCORES for suffix in suffixes
    )
    assert all(isinstance(value, (int, float)) for value in metrics.values())
    assert set(SCORES) == set(score_names("mnist_tiny", with_evaluation()))  # what claims may name
    card = read_json(project / "build/reference/mnist_tiny/card.json")
    assert metrics["fid_mnistnet_130_test_floor"] == card["floor"]["fid"]
    assert metrics["kid_mnistnet_130_test_ceiling"] == card["ceiling"]["kid"]


def test_samples_that_are_more_like_the_data_score_lower(project):
    pipeline.evaluate.main(with_evaluation(), KEY)
    metrics = read_json(project / "build/metrics" / f"{KEY}.json")
    for metric in ("fid", "kid"):
        name = f"{metric}_mnistnet_130_test"
        assert metrics[name] < metrics[f"{name}_raw"] < metrics[f"{name}_ceiling"]


def test_the_protocol_of_the_scores_is_written_beside_them(project):
    pipeline.evaluate.main(with_evaluation(), KEY)
    path = project / "build/protocols" / f"{KEY}.json"
    averaged, raw = read_protocol(path), read_protocol(path, "raw")
    store = read_json(project / "data/lmdb/mnist_tiny.json")
    card = read_json(project / "build/evaluators/mnist_tiny/card.json")
    assert (averaged.data_digest, averaged.extractor_sha256) == (store["digest"], card["sha256"])
    assert (averaged.samples, averaged.reference_samples, averaged.split) == (SAMPLES, SAMPLES, "test")
    assert (averaged.weights, raw.weights) == ("averaged", "raw")


def test_copies_of_training_images_are_noticed_and_the_floors_images_are_none(project):
    np.save(project / "build/samples" / KEY / "raw.npy", digits(300 + SAMPLES, seed=0)[0][:SAMPLES])
    pipeline.evaluate.main(with_evaluation(), KEY)
    metrics = read_json(project / "build/metrics" / f"{KEY}.json")
    assert metrics["memorised_mnistnet_130_test_raw"] == 1
    assert metrics["memorised_mnistnet_130_test_floor"] < 0.1


def test_evaluating_again_writes_equal_bytes_and_shows_a_table(project, capsys):
    pipeline.evaluate.main(with_evaluation(), KEY)
    first = (project / "build/metrics" / f"{KEY}.json").read_bytes()
    pipeline.evaluate.main(with_evaluation(), KEY)
    assert (project / "build/metrics" / f"{KEY}.json").read_bytes() == first
    shown = capsys.readouterr().out
    assert "*_mnistnet_130_test" in shown
    assert re.search(r"fid .*│", shown)


def test_a_reference_of_another_evaluator_is_an_error(project):
    path = project / "build/reference/mnist_tiny/card.json"
    write_json(path, read_json(path) | {"evaluator_sha256": "0" * 64})
    with pytest.raises(DataError, match=r"evaluator 000000000000\.\.\..*dvc repro reference@mnist_tiny"):
        pipeline.evaluate.main(with_evaluation(), KEY)


@pytest.mark.parametrize(("changes", "found"), [({"device": "cuda"}, "cuda"), ({}, "an unknown device")])
def test_a_reference_of_another_device_is_an_error(project, changes, found):
    path = project / "build/reference/mnist_tiny/card.json"
    card = read_json(path)
    assert card.pop("device") == "cpu"
    write_json(path, card | changes)
    with pytest.raises(DataError, match=rf"made on {found}, .* on cpu; .*-f reference@mnist_tiny' here"):
        pipeline.evaluate.main(with_evaluation(), KEY)


@pytest.mark.parametrize(
    ("stage", "argument"),
    [
        (pipeline.reference, "mnist_tiny"),
        *((stage, KEY) for stage in (sample, trajectory, pipeline.evaluate)),
    ],
)
def test_a_gpu_that_does_not_answer_ends_a_stage_with_one_line(stage, argument, monkeypatch, capsys):
    def silent(*_, **__):
        raise RuntimeError("CUDA error: no kernel image\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", silent)
    monkeypatch.setattr(sys, "argv", [stage.__name__, argument])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="^69$"):
        run_stage(stage.main)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the GPU doesn't answer: CUDA error: no kernel image; see nvidia-smi")


def test_a_reference_of_another_protocol_is_an_error(project):
    with pytest.raises(DataError, match="holds 130 of test, expected 200 of train"):
        pipeline.evaluate.main(with_evaluation(samples=200, reference="train"), KEY)


@pytest.mark.parametrize(
    ("damaged", "found"),
    [
        (np.zeros((129, 1, 28, 28), np.uint8), "uint8 (129, 1, 28, 28)"),
        (np.zeros((SAMPLES, 1, 28, 28), np.float32), "float32"),
        (np.zeros((SAMPLES, 3, 28, 28), np.uint8), "(130, 3, 28, 28)"),
    ],
)
def test_samples_of_another_count_or_kind_are_an_error(project, damaged, found):
    np.save(project / "build/samples" / KEY / "raw.npy", damaged)
    with pytest.raises(DataError, match=re.escape(found)):
        pipeline.evaluate.main(with_evaluation(), KEY)
    assert not (project / "build/metrics").exists()


@pytest.mark.parametrize("kept", [0, 60, 5000])
def test_a_truncated_array_is_an_error(project, kept):
    path = project / "build/samples" / KEY / "averaged.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"averaged\.npy: not a whole array .*sample@{KEY}"):
        pipeline.evaluate.main(with_evaluation(), KEY)


def test_more_samples_than_the_reference_split_has_are_refused(project):
    with pytest.raises(ConfigError, match="samples.mnist_tiny is 131, and its split test has 130"):
        pipeline.reference.main(with_evaluation(samples=131), "mnist_tiny")


def test_a_reference_in_the_training_split_has_a_floor_of_other_images(project):
    pipeline.reference.main(with_evaluation(reference="train"), "mnist_tiny")
    card = read_json(project / "build/reference/mnist_tiny/card.json")
    assert card["split"] == "train"
    assert card["floor"]["fid"] > 1e-6  # to themselves, images have a distance below 1e-9
    with pytest.raises(ConfigError, match="beside the reference has 149 images"):
        pipeline.reference.main(with_evaluation(samples=151, reference="train"), "mnist_tiny")


def test_an_unknown_data_set_is_refused_by_name():
    for stage in (pipeline.evaluator, pipeline.reference):
        with pytest.raises(ConfigError, match="no data set 'cifar'"):
            stage.main(PARAMS, "cifar")


def stacked_digits(n, seed):
    """Three of `digits` a stack; the label has theirs as decimals."""
    images, labels = digits(3 * n, seed)
    order = np.random.default_rng(seed).permutation(3 * n)
    return images[order].reshape(n, 3, 28, 28), labels[order].reshape(n, 3) @ np.array([100, 10, 1])


@pytest.mark.slow  # `make smoke` takes stacked digits through every stage
def test_stacked_digits_are_scored_by_their_modes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    n = 385  # just above 128 features of each of three channels
    stacks, labels = stacked_digits(2 * n, seed=0)
    write_store(
        Path("data/lmdb/stacked_mnist.lmdb"),
        zip(stacks, map(int, labels), strict=True),
        image=ImageShape(3, 28, 28),
        splits={"train": (0, n), "test": (n, 2 * n)},
        recipe={},
    )
    params, key = with_evaluation(samples=n), "stacked_mnist-dcgan-smoke-0"
    pipeline.evaluator.main(params, "stacked_mnist")
    pipeline.reference.main(params, "stacked_mnist")
    samples = Path("build/samples") / key
    samples.mkdir(parents=True)
    np.save(samples / "averaged.npy", stacked_digits(n, seed=1)[0])
    np.save(samples / "raw.npy", np.repeat(stacks[:1], n, axis=0))
    pipeline.evaluate.main(params, key)

    metrics = read_json(Path("build/metrics") / f"{key}.json")
    assert {name.removesuffix("_mnistnet_385_test") for name in metrics} >= set(Modes._fields)
    assert not any(name.startswith("classes_") for name in metrics)
    assert metrics["modes_mnistnet_385_test_raw"] == 1
    assert "confident_mnistnet_385_test" in metrics
    assert metrics["mode_kl_mnistnet_385_test_raw"] == pytest.approx(np.log(1000), rel=1e-12)
    card = read_json(Path("build/reference/stacked_mnist/card.json"))
    assert card["uniform"]["modes"] == pytest.approx(1000 * (1 - 0.999**n), rel=1e-9)
    evaluator = read_json(Path("build/evaluators/stacked_mnist/card.json"))
    assert (evaluator["features"], evaluator["classes"]) == (384, 10)


def test_points_of_a_mixture_are_scored_by_their_modes(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "data/mixture", tmp_path / "data/mixture")
    shutil.copy(ROOT / "data/manifest.yaml", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for stage in (pipeline.download, pipeline.convert, pipeline.evaluator, pipeline.reference):
        stage.main(PARAMS, "mixture")
    store, key = ImageStore(Path("data/lmdb/mixture.lmdb"), "train"), "mixture-coulomb-smoke-0"
    points = store.read(np.arange(2000) * 4)
    lost = store.read_labels(np.arange(2000) * 4) < 3
    samples = Path("build/samples") / key
    samples.mkdir(parents=True)
    np.save(samples / "averaged.npy", np.where(lost[:, None, None, None], np.uint8(128), points))
    np.save(samples / "raw.npy", points)
    pipeline.evaluate.main(PARAMS, key)

    metrics = read_json(Path("build/metrics") / f"{key}.json")
    assert metrics["modes_confident_points_2k_test"] == 22
    assert metrics["modes_confident_points_2k_test_raw"] == 25
    assert metrics["confident_points_2k_test_floor"] > 0.97  # 98.9 % of a Gaussian lie within the radius
    assert metrics["mode_kl_confident_points_2k_test"] > 10 * metrics["mode_kl_confident_points_2k_test_raw"]
    card = read_json(Path("build/reference/mixture/card.json"))
    assert card["uniform"]["modes"] == pytest.approx(25, rel=1e-9)
    evaluator = read_json(Path("build/evaluators/mixture/card.json"))
    assert (evaluator["name"], evaluator["accuracy"], evaluator["classes"]) == ("points", 1.0, 25)


@pytest.mark.slow  # about ten minutes of one core
@pytest.mark.timeout(3600)
@pytest.mark.skipif("GANTRY_MIRROR" not in os.environ, reason="needs MNIST: a mirror in GANTRY_MIRROR")
def test_real_stacked_digits_have_every_mode_and_the_divergence_of_their_classes(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data/manifest.yaml", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for stage in (pipeline.download, pipeline.convert, pipeline.evaluator):
        stage.main(PARAMS, "stacked_mnist")
    folder = Path("build/evaluators/stacked_mnist")
    assert 0.992 <= read_json(folder / "card.json")["accuracy"] < 1

    store = ImageStore(Path("data/lmdb/stacked_mnist.lmdb"), "test")
    extractor = load_extractor(folder, store.image)
    portions = np.array_split(np.arange(26_000), 10)
    found = stacked_modes(
        np.concatenate([extractor.extract(store.read(part)).probabilities for part in portions])
    )
    assert found.modes == 1000
    assert found.mode_kl == pytest.approx(0.0235, abs=0.003)


def test_a_stack_of_digits_is_three_that_are_named_alone_and_trained_on_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zero, one, two = digits(3, seed=0)[0]
    stacks = np.stack([np.concatenate([zero, one, one]), np.concatenate([one, zero, two])])
    write_store(
        Path("stacks.lmdb"),
        zip(stacks, [11, 102], strict=True),  # the first channel's digit is the hundreds
        image=ImageShape(3, 28, 28),
        splits={"train": (0, 2)},
        recipe={},
    )
    images, labels = pipeline.evaluator._digits(ImageStore(Path("stacks.lmdb"), "train"))
    np.testing.assert_array_equal(images, np.stack([zero, one, two]))
    np.testing.assert_array_equal(labels, [0, 1, 2])


def test_inceptions_weights_come_from_a_mirror_and_no_others_are_taken(tmp_path, monkeypatch):
    root = tmp_path / "root"
    images = np.zeros((2, 3, 16, 16), np.uint8)
    write_store(
        root / "data/lmdb/cifar10.lmdb",
        zip(images, [0, 1], strict=True),
        image=ImageShape(3, 16, 16),
        splits={"train": (0, 2)},
        recipe={},
    )
    monkeypatch.chdir(root)
    content = b"weights"
    entry = {"name": "weights.pth", "urls": ["nowhere.pth"], "bytes": len(content), "count": 1}
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    listed = {"inception": {"licence": "none", "citation": "none", "files": [entry]}}
    Path("data/manifest.yaml").write_text(json.dumps(listed))
    mirror = tmp_path / "mirror"
    (mirror / "inception").mkdir(parents=True)
    monkeypatch.setenv("GANTRY_MIRROR", str(mirror))

    (mirror / "inception/weights.pth").write_bytes(b"others!")
    with pytest.raises(ConnectionError, match=f"SHA-256 of its 7 bytes is .*, expected {entry['sha256']}"):
        pipeline.evaluator.main(PARAMS, "cifar10")
    assert not Path("build").exists()

    (mirror / "inception/weights.pth").write_bytes(content)
    pipeline.evaluator.main(PARAMS, "cifar10")
    folder = Path("build/evaluators/cifar10")
    assert (folder / "weights.pth").read_bytes() == content
    card = read_json(folder / "card.json")
    assert (card["name"], card["sha256"], card["accuracy"]) == ("inception", entry["sha256"], None)


def test_attributes_are_trained_on_where_the_images_have_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = with_evaluation()
    chosen = params.evaluator.model_copy(update={"pictures": "attributes"})
    params = params.model_copy(update={"evaluator": chosen})
    records = [
        Record(np.full((3, 16, 16), n + 200 * (n % 2), np.uint8), NO_LABEL, (bool(n % 2),)) for n in range(40)
    ]
    for name, attributes, rows in (
        ("celeba", ["Bright"], records),
        ("cifar10", [], [record._replace(attributes=()) for record in records]),
    ):
        write_store(
            Path(f"data/lmdb/{name}.lmdb"),
            rows,
            image=ImageShape(3, 16, 16),
            splits={"train": (0, 30), "test": (30, 40)},
            recipe={},
            attributes=attributes,
        )
    learned, measured = [], []
    train, extract = pipeline.evaluator.train_mnistnet, pipeline.evaluator.extract

    def watched_train(net, images, *others, **more):
        learned.extend(images[:, 0, 0, 0] % 200)
        return train(net, images, *others, **more)

    def watched_extract(net, images):
        measured.extend(images[:, 0, 0, 0] % 200)
        return extract(net, images)

    monkeypatch.setattr(pipeline.evaluator, "train_mnistnet", watched_train)
    monkeypatch.setattr(pipeline.evaluator, "extract", watched_extract)
    pipeline.evaluator.main(params, "celeba")
    assert (learned, measured) == (list(range(30)), list(range(30, 40)))
    card = read_json(Path("build/evaluators/celeba/card.json"))
    assert (card["name"], card["attributes"], card["features"]) == ("attributes", 1, 128)
    with pytest.raises(ConfigError, match="the images have none; use inception"):
        pipeline.evaluator.main(params, "cifar10")


def test_outs_hold_no_path_of_this_machine(project):
    pipeline.evaluate.main(with_evaluation(), KEY)
    for path in (project / "build").rglob("*.json"):
        assert str(project) not in json.dumps(read_json(path))
