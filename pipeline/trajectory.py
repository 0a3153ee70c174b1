"""Stage `trajectory`: scores the averaged generator along a run, and samples it from changing noise.

Each snapshot is scored by the data set's own evaluator against the validation split, or against training
images if the set has none: never against the split of the final scores. A step is chosen, by the lowest FID,
on a validation split only; training images would reward memorising them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gan.config import Params
from gan.data.image_store import ImageStore
from gan.data.store_manifest import read_manifest
from gan.device import prepare_scoring
from gan.errors import DataError
from gan.extractors import load_extractor
from gan.extractors.base import Extractor
from gan.extractors.mnistnet import CLASSES
from gan.files import replaced_atomically, write_json
from gan.generator import draw_images, load_snapshot, snapshot_steps
from gan.metrics.classes import classes_covered
from gan.metrics.distances import FeatureStats, frechet_distance
from gan.metrics.names import MetricName
from gan.metrics.neighbours import neighbourhoods
from gan.randomness import derive_seed
from pipeline.scores.history import read_history
from pipeline.stage import Cell, parse_cell, run_stage

PICTURED = 64  # images of each snapshot, from its own noise


def main(params: Params, key: str) -> None:
    """Write build/trajectory/KEY/scores.json and images.npy.

    scores.json: one entry of `points` for each snapshot, scores under their full names, and `chosen`, a step
    or null. images.npy: uint8 (snapshots, 64, C, H, W), each snapshot from its own noise. Raises
    DataError for a model without snapshots.
    """
    cell = parse_cell(key, params)
    device = prepare_scoring(params.train.num_threads)
    extractor = load_extractor(cell.evaluator, params.datasets[cell.dataset].shape, device)
    split = selection_split(cell)
    store = ImageStore(cell.store, split)
    n = min(params.trajectory.samples, len(store))
    drawn = np.random.default_rng(derive_seed("trajectory", "reference")).choice(len(store), n, replace=False)
    reference = extractor.extract(store.read(np.sort(drawn))).features
    steps = snapshot_steps(cell.model)
    if not steps:
        raise DataError(f"{cell.model}: no snapshots; run 'dvc repro -f train@{cell.key}'")
    names: dict[str, str] = {}
    points, pictures = [], []
    for step, seen in zip(steps, images_seen(cell, steps), strict=True):
        generator, card = load_snapshot(cell.model, step)
        generator.to(device)
        images = draw_images(generator, card, n, derive_seed("trajectory"))
        scores = score_snapshot(extractor, images.numpy(), reference)
        names = {metric: str(MetricName(metric, extractor.name, n, split)) for metric in scores}
        named = {names[metric]: value for metric, value in scores.items()}
        points.append({"step": step, "images_seen": seen, **named})
        pictures.append(draw_images(generator, card, PICTURED, derive_seed("trajectory", step)).numpy())
    record = {
        "split": split,
        "n": n,
        "data_digest": store.digest,
        "extractor": extractor.name,
        "extractor_sha256": extractor.sha256,
        "device": torch.device(extractor.device).type,
        "metrics": names,
        "chosen": choose_step(points, names["fid"]) if split == "validation" else None,
        "points": points,
    }
    write_json(cell.trajectory / "scores.json", record)
    with replaced_atomically(cell.trajectory / "images.npy") as path, path.open("wb") as stream:
        np.save(stream, np.stack(pictures))


def selection_split(cell: Cell) -> str:
    """Split that snapshots are scored against: validation if there is one, else train."""
    return "validation" if "validation" in read_manifest(cell.store).splits else "train"


def choose_step(points: Sequence[dict[str, Any]], metric: str) -> int:
    """Step of the lowest score; the later one of two that are equal."""
    return int(min(points, key=lambda point: (point[metric], -point["step"]))["step"])


def score_snapshot(
    extractor: Extractor, images: NDArray[np.uint8], reference: NDArray[np.floating[Any]]
) -> dict[str, float]:
    """Score images (N, C, H, W) against features (N, D) of the reference; classes if each image has one."""
    extracted = extractor.extract(images)
    near = neighbourhoods(extracted.features, reference)
    scores = {
        "fid": frechet_distance(FeatureStats.of(extracted.features), FeatureStats.of(reference)),
        "precision": near.precision,
        "recall": near.recall,
    }
    if extracted.probabilities is not None and extracted.probabilities.shape[1:] == (CLASSES,):
        scores["classes"] = classes_covered(extracted.probabilities)
    return scores


def images_seen(cell: Cell, steps: Sequence[int]) -> list[int]:
    """Images that the critic had seen at each of these steps, interpolated between rows of the history."""
    history = read_history(cell)
    known, seen = (np.concatenate([[0.0], history[name]]) for name in ("step", "images_seen"))
    return [round(float(value)) for value in np.interp(steps, known, seen)]


if __name__ == "__main__":
    run_stage(main)
