"""Owns measuring a training step on this machine: `gantry doctor --speed`.

It is run as a process of its own, `python -m pipeline.cli.speed`, which prints JSON: a training finds the
same variables of the allocator in its environment.
"""

import itertools
import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from gan.config import Params
from gan.contract import ImageShape, Precision, TrainParams, VariantParams
from gan.device import prepare_torch
from gan.training import new_train_state, training_steps
from pipeline.stage import run_stage, selected_cells

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
SECONDS = 20.0  # for all recipes, so that the command takes less than 30 with its imports
PAST_WARM_UP = 100  # first step that is measured: the first 25 of WGAN train the critic a hundred times each
MADE_BATCHES = 4


class TimedTraining:
    """A run of one recipe on images of noise, whose steps are timed one by one."""

    def __init__(self, method: VariantParams, image: ImageShape, params: TrainParams) -> None:
        self._params = params
        self._device = prepare_torch(params)
        state = new_train_state(method, image, params, steps=10**6, seed=0, device=self._device)
        state.step = PAST_WARM_UP
        batches = [torch.rand(method.batch_size, *image) * 2 - 1 for _ in range(MADE_BATCHES)]
        self._steps = training_steps(state, itertools.cycle(batches))
        self.images = state.gan.objective.critic_steps(PAST_WARM_UP) * method.batch_size  # that a critic sees

    def step(self) -> float:
        """Train for one step and return its seconds."""
        if self._device.type == "cuda":
            prepare_torch(self._params)  # whose precision another training may have changed
        began = self._now()
        next(self._steps)
        return self._now() - began

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def take_turns(
    steps: Mapping[Precision, Callable[[], float]], seconds: float, now: Callable[[], float] = time.monotonic
) -> dict[Precision, float]:
    """Median seconds of a step of each, which take turns for this long; each has one step at least.

    steps: functions that do one step and return its seconds. The first step of each doesn't count.
    """
    end = now() + seconds
    taken: dict[Precision, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    while not all(taken.values()) or now() < end:
        for name, step in steps.items():
            taken[name].append(step())
    return {name: statistics.median(values) for name, values in taken.items()}


def measure(params: Params, seconds: float = SECONDS) -> Iterator[dict[str, Any]]:
    """Yield a row for each selected recipe: images a second in each precision, and a share of the study.

    `ratio` is how many times as fast as fp32 bf16 is; the numbers are None where no time was left. `steps`
    is how many the study has. Images are those that the critic sees.
    """
    end = time.monotonic() + seconds
    cells = selected_cells(params)
    recipes = dict.fromkeys((cell.dataset, cell.variant) for cell in cells)
    for done, (dataset, variant) in enumerate(recipes):
        recipe = params.recipes[dataset][variant]
        budgets = [cell.budget for cell in cells if (cell.dataset, cell.variant) == (dataset, variant)]
        row: dict[str, Any] = {"dataset": dataset, "variant": variant}
        row["steps"] = sum(
            steps for budget in budgets for name, steps in recipe.steps.items() if name == budget
        )
        left = end - time.monotonic()
        if left <= 0:
            yield row | {"ratio": None, "seconds": None, "images_per_second": None}
            continue
        began = time.monotonic()
        runs = {
            precision: TimedTraining(
                recipe.method,
                params.datasets[dataset].shape,
                params.train.model_copy(update={"precision": precision}),
            )
            for precision in PRECISIONS
        }
        share = left / (len(recipes) - done) - (time.monotonic() - began)
        medians = take_turns({name: run.step for name, run in runs.items()}, share)
        yield row | {
            "ratio": medians["fp32"] / medians["bf16"],
            "seconds": medians,
            "images_per_second": {name: runs[name].images / median for name, median in medians.items()},
        }


def main(params: Params, _: str) -> None:
    """Print the rows as JSON."""
    logging.getLogger().setLevel(logging.ERROR)  # the device, once for each recipe
    print(json.dumps(list(measure(params))))


if __name__ == "__main__":
    run_stage(main, "")
