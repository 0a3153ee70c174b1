"""Measures what surrounds a step: a whole run, two cells side by side, scores, samples on disk."""

import contextlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.utils import save_image

from benchmarks.step import Case, new_state
from benchmarks.turns import Contender, Record, records_of
from gan.config import Params, load_params
from gan.data.digits import SPLIT_RULES
from gan.data.store_writer import write_store
from gan.files import read_json, write_json
from gan.metrics.catalogue import score
from gan.metrics.reference import Reference, Samples
from gan.sampling import draw_noise, generate_images
from pipeline import train
from pipeline.schedule.repro import ALLOCATOR
from pipeline.stage import PARAMS, parse_cell
from pipeline.tracking.live import Run
from pipeline.training import loop

ROOT = Path(__file__).parents[1]
KEY = "mnist_tiny-dcgan-quick-0"
SAMPLES, SAVED = 50_000, 2_000


def measure_whole(quick: bool) -> Iterator[Record]:
    """Measure all four; a quick run has few steps, samples and features."""
    yield from measure_run(100 if quick else 3400)
    yield from measure_side_by_side(*((0.5, 1) if quick else (3.0, 5)))
    yield from measure_sampling(*((1000, 200) if quick else (SAMPLES, SAVED)))
    yield from measure_scores(1000 if quick else 10_000)


def measure_run(steps: int) -> Iterator[Record]:
    """A cell as stage `train` runs it: how much of its time is spent outside the loop.

    Times are taken inside one process, around the calls that log, save and draw, so that another load on
    the machine stretches both alike. The rest is reading data and the steps.
    """
    spent: dict[str, float] = {}
    with _checkout(steps) as params:
        cell = parse_cell(KEY, params)
        with (
            _timed(spent, "MLflow", Run, "log_scalars"),
            _timed(spent, "MLflow", Run, "log_image"),
            _timed(spent, "checkpoints", loop, "save"),
            _timed(spent, "snapshots", loop, "save_snapshot"),
            _timed(spent, "previews", loop, "preview"),
            _timed(spent, "held-out scores", loop, "held_out_scalars"),
            _timed(spent, "reading scalars", loop, "take_row"),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            train.train_cell(params, cell)
        found = read_json(cell.training)
    total = found["seconds"]
    images = found["images_seen"]
    values = {"steps and data alone": [images / (total - sum(spent.values()))], "whole run": [images / total]}
    case = f"dcgan 28x28x1, {steps} steps of 64 images"
    notes = {"whole run": f"of its {total:.1f} s: " + ", ".join(f"{k} {v:.2f} s" for k, v in spent.items())}
    yield from records_of("end to end", case, values, "images/s", "steps and data alone", notes)
    shares = {name: [100 * seconds / total] for name, seconds in spent.items()}
    yield from records_of("end to end", f"{case}: share of the run", shares, "% of the run", "MLflow")


def measure_side_by_side(seconds: float, rounds: int) -> Iterator[Record]:
    """Throughput of all cores: one cell on each, or one after the other with all threads."""
    cores = os.cpu_count() or 1
    one, many = f"one cell, {cores} threads", f"{cores} cells, 1 thread each"
    for variant in ("dcgan", "wgan_gp"):
        rates: dict[str, list[float]] = {one: [], many: []}
        alone = Case("mnist_tiny", variant, 28, 64, threads=cores)
        beside = Case("mnist_tiny", variant, 28, 64)
        with contextlib.ExitStack() as stack:
            contenders = [
                stack.enter_context(Contender(["-m", "benchmarks.step", "fp32"], ALLOCATOR))
                for _ in range(cores)
            ]
            for _ in range(rounds):
                found = contenders[0].ask(case=asdict(alone), seconds=seconds)
                rates[one].append(found["images"] / found["seconds"])
                for contender in contenders:
                    contender.send({"case": asdict(beside), "seconds": seconds})
                answers = [contender.receive() for contender in contenders]
                rates[many].append(sum(answer["images"] / answer["seconds"] for answer in answers))
        yield from records_of("study", beside.name, rates, "images/s", one)


def measure_sampling(count: int, saved: int) -> Iterator[Record]:
    """Images generated and written, into one array and by save_image."""
    torch.set_num_threads(1)
    state = new_state(Case("mnist_tiny", "dcgan", 28, 64), "fp32")
    generator, method = state.averaged, state.variant
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:

        def ours() -> None:
            images = generate_images(generator, draw_noise(count, method.z_dim, method.noise))
            np.save(Path(folder) / "images.npy", images.numpy())

        def usual() -> None:
            with torch.no_grad():
                images = generator.eval()(draw_noise(saved, method.z_dim, method.noise))
            for index, image in enumerate(images):
                save_image(image, Path(folder) / f"{index}.png", normalize=True, value_range=(-1, 1))

        loop, product = saved / _seconds(usual), count / _seconds(ours)
    values = {"save_image in a loop": [loop], "gantry, one array": [product]}
    notes = {"save_image in a loop": f"of {saved:,} images"}
    case = f"{count:,} images of 1x28x28, 1 thread"
    yield from records_of("sampling", case, values, "images/s", "save_image in a loop", notes)


def measure_scores(count: int) -> Iterator[Record]:
    """All scores of this many features against as many of the reference, with 60,000 training images."""
    random = np.random.default_rng(0)
    features, real, train_features = (
        random.normal(size=(n, 128)).astype(np.float32) for n in (count, count, 6 * count)
    )
    probabilities = random.dirichlet(np.full(10, 0.1), count).astype(np.float32)
    reference = Reference.of(real, probabilities, train_features)
    samples = Samples(features, probabilities)
    values = {"gantry": [_seconds(lambda: score(samples, reference))]}
    yield from records_of("evaluation", f"{count:,} x 128 features, all scores", values, "s", "gantry")


@contextmanager
def _checkout(steps: int) -> Iterator[Params]:
    """A folder with nothing but converted digits, in which a cell has this many steps."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as name:
        folder = Path(name)
        shutil.copy(PARAMS, folder)
        os.chdir(folder)
        tracking = os.environ.get("MLFLOW_TRACKING_URI")
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        try:
            params = load_params(Path(PARAMS))
            recipe = params.recipes["mnist_tiny"]["dcgan"]
            recipe.steps["quick"] = steps
            parts = SPLIT_RULES[params.datasets["mnist_tiny"].split](ROOT / "data/mnist_tiny")
            counts = {name: len(part.labels) for name, part in parts.items()}
            ends = np.cumsum(list(counts.values())).tolist()
            splits = {n: (e - c, e) for (n, c), e in zip(counts.items(), ends, strict=True)}
            records = (record for part in parts.values() for record in part.records())
            image = params.datasets["mnist_tiny"].shape
            write_store(Path("data/lmdb/mnist_tiny.lmdb"), records, image=image, splits=splits, recipe={})
            write_json(Path("build/code/train-mnist_tiny-dcgan.json"), {"digest": "0" * 64})
            yield params
        finally:
            os.chdir(before)
            if tracking is None:
                del os.environ["MLFLOW_TRACKING_URI"]
            else:
                os.environ["MLFLOW_TRACKING_URI"] = tracking


@contextmanager
def _timed(spent: dict[str, float], what: str, owner: Any, name: str) -> Iterator[None]:
    """Add to `spent[what]` the seconds of each call of a function."""
    original: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent[what] = spent.get(what, 0.0) + time.perf_counter() - begin

    setattr(owner, name, timed)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
