"""Seconds of training until DCGAN's digits are at a stated distance from MNIST's; scoring is not counted."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.gpu_parts.rates import BEST, CONTENDERS, WARM_UP
from benchmarks.gpu_parts.runs import DIGITS, Case, Check, Row, Run, Setting, mnist_folder, synchronize
from gan.contract import ImageShape
from gan.extractors.mnistnet import MnistNet, load_mnistnet
from gan.files import read_json
from gan.metrics.distances import FeatureStats, frechet_distance
from gan.sampling import draw_noise, generate_images
from gan.training import TrainState, finish_average

PART = "quality"
CASE = Case(DIGITS, "dcgan", 28, 64)
LOOPS = {"best": BEST, "today": "today", "textbook": "textbook"}  # name in the results, contender of `rates`
EVALUATOR, REFERENCE = "build/evaluators/mnist", "build/reference/mnist"


def checks(_: Setting) -> Iterator[Check]:
    """Each loop by itself."""
    for name, contender in LOOPS.items():
        yield Check(PART, name, lambda setting, c=contender: reach(setting, c))


def missing(setting: Setting) -> str | None:
    """Name what a score needs and the data folder lacks."""
    for path in (f"{EVALUATOR}/card.json", f"{REFERENCE}/features.npz"):
        if not (setting.data / path).is_file():
            return f"{path} in {setting.data}"
    if setting.on_gpu and mnist_folder(setting) is None:
        return f"MNIST's raw files in {setting.data}"
    return None


class Judge:
    """Scores samples by mnistnet on the device, whose features differ from a CPU's by rounding."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        folder: Path = setting.data / EVALUATOR
        card = read_json(folder / "card.json")
        net = load_mnistnet(folder / "weights.safetensors", ImageShape(1, 28, 28), card["sha256"])
        self.net: MnistNet = net.to(device)
        self.device, self.samples = device, setting.sizes.samples
        with np.load(setting.data / REFERENCE / "features.npz") as archive:
            self.real = FeatureStats.of(archive["features"][: self.samples])

    @torch.no_grad()
    def distance(self, generator: nn.Module, state: TrainState) -> float:
        """FID of as many samples as there are real features, to these."""
        method = state.variant
        noise = draw_noise(self.real.n, method.z_dim, method.noise, torch.Generator().manual_seed(0))
        images = generate_images(generator, noise)
        features = [self.net.features(part.to(self.device)).cpu() for part in images.split(1000)]
        return frechet_distance(FeatureStats.of(torch.cat(features).numpy()), self.real)


def reach(setting: Setting, contender: str) -> Iterator[Row]:
    """Train until the distance falls to the level, or for as long as is allowed."""
    if lacking := missing(setting):
        yield {"what": "FID", "value": None, "note": f"skipped for want of {lacking}"}
        return
    options, sizes = CONTENDERS[contender], setting.sizes
    Run(setting, CASE, options).advance(WARM_UP)  # loads libraries, which is no part of training
    run = Run(setting, CASE, options)
    judge = Judge(setting, run.device)
    spent, distance, reached = 0.0, math.inf, False
    while not reached and spent < sizes.limit:
        spent += _train(run, sizes.every)
        if not options.textbook:
            finish_average(run.state)
        network = run.state.gan.generator if options.textbook else run.state.averaged
        distance = judge.distance(network, run.state)
        reached = distance <= sizes.level
    steps = run.state.step
    end = f"{'reached' if reached else 'not reached'}: FID {distance:.0f}"
    yield {
        "what": f"seconds to an FID of {sizes.level:g}, {judge.real.n} samples",
        "value": round(spent, 2),
        "unit": "s",
        "note": f"{end} after {steps:,} steps, {steps * CASE.batch:,} images; scored every {sizes.every:g} s",
    }


def _train(run: Run, seconds: float) -> float:
    run.advance(0)
    synchronize(run.device)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        run.advance_unprepared(20 if run.device.type == "cuda" else 1)
        synchronize(run.device)
    return time.perf_counter() - begin
