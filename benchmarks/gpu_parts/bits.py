"""Whether a run's bits depend on checkpoints, graphs or where its images lie, or differ from time to time."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_parts.runs import (
    DIGITS,
    FACES,
    Case,
    Check,
    Options,
    Row,
    Run,
    Setting,
    largest_difference,
    method_of,
    say,
    synchronize,
    through_a_file,
    train_params,
    variants,
    weights_of,
)
from gan.training import new_train_state, training_steps

PART = "bits"
BOTH = ("dcgan", "wgan_gp")  # tried in every precision


def checks(setting: Setting) -> Iterator[Check]:
    """Each variant on small images; two of them in other precisions and on large images."""
    batch = setting.sizes.batch
    for variant in reversed(variants()):
        case = Case(DIGITS, variant, 28, batch)
        yield Check(PART, f"{variant} 28", lambda setting, c=case: compare(setting, c, Options()))
    for variant in BOTH:
        for precision in ("tf32", "bf16"):
            case, options = Case(DIGITS, variant, 28, batch), Options(precision=precision)
            yield Check(
                PART, f"{variant} 28 {precision}", lambda setting, c=case, o=options: compare(setting, c, o)
            )
        case = Case(FACES, variant, setting.sizes.large, batch)
        name = f"{variant} {setting.sizes.large}"
        yield Check(PART, name, lambda setting, c=case: compare(setting, c, Options()))
    yield Check(PART, "checkpoint of a CPU", go_on_from_a_cpu)


def compare(setting: Setting, case: Case, options: Options) -> Iterator[Row]:
    """Train again, with a checkpoint half way, with graphs, from resident data: equal weights each time."""
    expected = train(setting, case, options)
    graphs, resident = replace(options, graphs=True), replace(options, resident=True)
    no_graphs = {} if setting.on_gpu else {"note": "a CPU has no graphs: this is the eager twin"}
    yield _row("twice", train(setting, case, options), expected)
    yield _row("checkpoint half way", train(setting, case, options, stop=True), expected)
    yield from _fenced("graphs", lambda: train(setting, case, graphs), expected, no_graphs)
    yield from _fenced(
        "graphs, checkpoint half way", lambda: train(setting, case, graphs, stop=True), expected, no_graphs
    )
    yield from _fenced("resident data", lambda: train(setting, case, resident), expected, {})


def train(setting: Setting, case: Case, options: Options, *, stop: bool = False) -> list[Tensor]:
    """Weights after two halves of a run, with a checkpoint between them if asked for."""
    half = setting.sizes.half
    run = _begin(setting, case, options)
    run.advance(half)
    if stop:
        run = _begin(setting, case, options, through_a_file(run.state))
    run.advance(half)
    return weights_of(run.state)


def _begin(setting: Setting, case: Case, options: Options, saved: dict[str, Any] | None = None) -> Run:
    method = method_of(case, warmup="none", critic_steps=2)
    return Run(setting, case, options, method=method, saved=saved)


def _fenced(what: str, train: Any, expected: list[Tensor], more: Row) -> Iterator[Row]:
    """Compare, or say why not; with a GPU that no longer answers, the check ends."""
    try:
        found = train()
    except Exception as error:
        synchronize(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        yield {"what": what, "ok": False, "error": say(error)} | more
    else:
        yield _row(what, found, expected) | more


def _row(what: str, found: list[Tensor], expected: list[Tensor]) -> Row:
    difference = largest_difference(found, expected)
    return {"what": what, "value": difference, "unit": "largest difference", "ok": difference == 0}


def go_on_from_a_cpu(setting: Setting) -> Iterator[Row]:
    """Load a state that was saved on a CPU: all of it is moved to the device, and training goes on.

    `pipeline.train` never does: the kind of device is part of what names a run's checkpoints.
    """
    case = Case(DIGITS, "dcgan", 28, setting.sizes.batch)
    cpu = torch.device("cpu")
    state = new_train_state(
        method_of(case), case.image, train_params(Options()), steps=100, seed=0, device=cpu
    )
    batches = itertools.repeat(torch.zeros(case.batch, *case.image))
    for _ in itertools.islice(training_steps(state, batches), 2):
        pass
    run = _begin(setting, case, Options(), through_a_file(state))
    scalars = run.advance(3)
    places = {tensor.device.type for tensor in _tensors(run.state.state_dict()) if tensor.dim()}
    finite = all(math.isfinite(float(value)) for value in scalars.values())
    yield {
        "what": "three steps after it",
        "value": float(scalars["loss/critic"]),
        "unit": "loss of the critic",
        "ok": finite and places == {run.device.type},
        "note": "gan.training goes on; pipeline.train begins anew, since a checkpoint names its device",
    }


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
