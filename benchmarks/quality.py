"""A contender that trains DCGAN until its samples are good: `python -m benchmarks.quality LOOP`.

The images are all of MNIST. Seconds of training count, those of scoring do not. Gantry's loop trains the
recipe of params.yaml and is scored by its averaged generator. The textbook's has the same networks and no
average: `plain` at the recipe's batch and rates, `paper` at DCGAN's own. Batches come from the same store
for all. It answers requests of `benchmarks.turns`.
"""

import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import plain
from benchmarks.step import Case, new_state, read_params
from benchmarks.turns import Answer, Contender, Record, records_of, serve
from gan.data.batches import endless_batches
from gan.data.image_store import ImageStore
from gan.errors import DataError
from gan.extractors import load_extractor
from gan.metrics.distances import FeatureStats, frechet_distance
from gan.sampling import draw_noise, generate_images
from gan.training import TrainState, finish_average, training_steps
from pipeline.schedule.repro import ALLOCATOR
from pipeline.stage import Dataset

DATASET, SAMPLES = "mnist", 10_000
DATA = Dataset(DATASET)
LEVEL = 250.0  # where DCGAN's course begins to flatten; its runs in reports/mnist end near 183
LIMIT, EVERY = 150.0, 10.0  # seconds of training at most, and between scores
LOOPS = {
    "paper": "textbook loop, rates of the paper",
    "plain": "textbook loop, rates of the recipe",
    "fp32": "gantry, fp32",
}


class Judge:
    """Scores a generator as stage `evaluate` does."""

    def __init__(self) -> None:
        self.extractor = load_extractor(DATA.evaluator, read_params().datasets[DATASET].shape)
        with np.load(DATA.reference / "features.npz") as archive:
            self.real = FeatureStats.of(archive["features"])

    def distance(self, generator: nn.Module, state: TrainState) -> float:
        """FID of 10,000 samples to the test images."""
        stream = torch.Generator().manual_seed(0)
        method = state.variant
        images = generate_images(generator, draw_noise(SAMPLES, method.z_dim, method.noise, stream))
        return frechet_distance(FeatureStats.of(self.extractor.extract(images.numpy()).features), self.real)


def reach(loop: str, level: float, limit: float, every: float) -> Answer:
    """Train from the beginning until the distance falls to the level, or for this many seconds.

    `seconds` are those at which a line through the last two scores, in the logarithm, crosses the level.
    """
    variant = "dcgan_paper" if loop == "paper" else "dcgan"
    batch = read_params().recipes[DATASET][variant].method.batch_size
    cuda = torch.cuda.is_available()
    state = new_state(Case(DATASET, variant, 28, batch, cuda=cuda), "fp32" if loop == "fp32" else "plain")
    state.step = 0
    batches = endless_batches(ImageStore(DATA.store, "train"), batch, seed=0)
    ours = loop == "fp32"
    steps = (training_steps if ours else plain.training_steps)(state, batches)
    judge, spent, before = Judge(), 0.0, (0.0, math.inf)
    while True:
        spent += _train(steps, every)
        if ours:
            finish_average(state)
        distance = judge.distance(state.averaged if ours else state.gan.generator, state)
        reached = distance <= level
        if reached or spent >= limit:
            seconds = crossing(before, (spent, distance), level) if reached else spent
            found: dict[str, Any] = {"seconds": seconds, "reached": reached}
            return found | {"distance": distance, "steps": state.step, "images": state.step * batch}
        before = spent, distance


def _train(steps: Iterator[Any], seconds: float) -> float:
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        next(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def crossing(before: tuple[float, float], now: tuple[float, float], level: float) -> float:
    """Seconds at which the level was crossed."""
    if not math.isfinite(before[1]):
        return now[0]
    share = math.log(before[1] / level) / math.log(before[1] / now[1])
    return before[0] + share * (now[0] - before[0])


def measure_quality(quick: bool) -> Iterator[Record]:
    """Seconds of one thread, or of a GPU, until DCGAN's samples of all of MNIST are at a stated distance."""
    device = "1 GPU" if torch.cuda.is_available() else "1 thread"
    case = f"dcgan on {DATASET}, FID {LEVEL:g} of 10,000 samples, {device}"
    values: dict[str, list[float]] = {name: [] for name in LOOPS.values()}
    limits = (1.0, 1.0) if quick else (LIMIT, EVERY)
    notes: dict[str, str] = {}
    for loop, name in LOOPS.items():
        with Contender(["-m", "benchmarks.quality", loop], ALLOCATOR if loop == "fp32" else {}) as contender:
            try:
                found = contender.ask(level=LEVEL, limit=limits[0], every=limits[1])
            except RuntimeError as error:
                if DATA.store.is_file() and DATA.reference.is_dir():
                    raise
                notes[name] = (
                    f"not measured: {error}; select {DATASET} and run 'dvc repro reference@{DATASET}'"
                )
                continue
        values[name].append(found["seconds"])
        reached = "reached" if found["reached"] else "not reached, FID"
        notes[name] = f"{reached} {found['distance']:.0f} after {found['steps']:,} steps"
    baseline = LOOPS["plain"]
    if values[baseline]:
        yield from records_of("time to quality", case, values, "s", baseline, notes)
    else:
        yield from records_of("time to quality", case, {baseline: []}, "s", baseline, notes)


def main() -> None:
    """Answer {"level", "limit", "every"} until the end of stdin."""
    loop = sys.argv[1]

    def answer(request: dict[str, Any]) -> Answer:
        try:
            return reach(loop, **request)
        except DataError as error:
            raise SystemExit(str(error)) from error

    serve(answer)


if __name__ == "__main__":
    main()
