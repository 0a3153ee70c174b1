"""How fast each way to train is, by turns in one process, and what a step is made of."""

import gc
import resource
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import plain
from benchmarks.gpu_parts.runs import (
    PAST_WARMUP,
    Case,
    Check,
    GpuLostError,
    Options,
    Row,
    Run,
    Setting,
    say,
    synchronize,
)
from benchmarks.step import FlopCounter
from benchmarks.turns import significant

RATES, USE = "rates", "utilisation"
WARM_UP = 5  # steps; the first three of each update are eager where there are graphs
PROFILED = 3  # steps

# Each adds to the one before, but for the last, which is `+ graphs` in the other memory format.
CONTENDERS = {
    "textbook": Options(textbook=True, channels_last=False),
    "textbook, tf32": Options(textbook=True, channels_last=False, precision="tf32"),
    "today": Options(fill=True),
    "no fill": Options(),
    "+ resident": Options(resident=True),
    "+ graphs": Options(resident=True, graphs=True),
    "+ tf32": Options(resident=True, graphs=True, precision="tf32"),
    "+ bf16": Options(resident=True, graphs=True, precision="bf16"),
    "NCHW": Options(resident=True, graphs=True, channels_last=False),
}
BEST = "+ tf32"
NOT_ON_A_CPU = {
    "textbook, tf32": "a CPU has no TF32: this is fp32",
    "+ graphs": "a CPU has no graphs: this is the eager twin",
    "+ tf32": "a CPU has neither graphs nor TF32: this is the eager twin in fp32",
    "+ bf16": "a CPU has no graphs: this is the eager twin in bf16",
    "NCHW": "a CPU has no graphs: this is the eager twin",
}


def rate_checks(setting: Setting) -> Iterator[Check]:
    """All ways to train, case by case."""
    for case in setting.sizes.rate_cases:
        yield Check(RATES, case.name, lambda setting, c=case: measure_rates(setting, c))


def use_checks(setting: Setting) -> Iterator[Check]:
    """What a step is made of, case by case."""
    for case in setting.sizes.profiled:
        yield Check(USE, case.name, lambda setting, c=case: measure_use(setting, c))


def measure_rates(setting: Setting, case: Case) -> Iterator[Row]:
    """Images a second that the critic sees: medians of rounds in which the contenders take turns."""
    runs: dict[str, tuple[Run, int]] = {}
    for name, options in CONTENDERS.items():
        if name in setting.failed or options.textbook and case.variant not in plain.KINDS:
            continue
        try:
            runs[name] = _warm(setting, case, options)
        except Exception as error:
            yield {"contender": name, "ok": False, "error": say(error)}
            check_gpu()
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(setting.sizes.rounds):
        for name, (run, steps) in list(runs.items()):
            try:
                rates[name].append(_images(run, steps, case) / _seconds(run, steps))
            except Exception as error:
                yield {"contender": name, "ok": False, "error": say(error)}
                del runs[name], rates[name]
                check_gpu()
    for name, found in rates.items():
        note = {} if setting.on_gpu or name not in NOT_ON_A_CPU else {"note": NOT_ON_A_CPU[name]}
        yield {
            "contender": name,
            "value": significant(statistics.median(found)),
            "lowest": significant(min(found)),
            "highest": significant(max(found)),
            "rounds": len(found),
            "unit": "images/s",
        } | note


def check_gpu() -> None:
    """Raise GpuLostError where an error before has left the GPU unusable for this process."""
    if not torch.cuda.is_available():
        return
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        raise GpuLostError(str(error).strip().splitlines()[0]) from error
    gc.collect()
    torch.cuda.empty_cache()


def _warm(setting: Setting, case: Case, options: Options) -> tuple[Run, int]:
    """Start a run, and count the steps that fill a slice of time."""
    run = Run(setting, case, options, begin=PAST_WARMUP)
    run.advance(WARM_UP if setting.on_gpu else 1)
    each = _seconds(run, 1)
    return run, max(1, round(setting.sizes.slice / each))


def _seconds(run: Run, steps: int) -> float:
    run.advance(0)
    synchronize(run.device)
    begin = time.perf_counter()
    run.advance_unprepared(steps)
    synchronize(run.device)
    return time.perf_counter() - begin


def _images(run: Run, steps: int, case: Case) -> int:
    return steps * run.state.gan.objective.critic_steps(run.state.step) * case.batch


class OperationCounter(TorchDispatchMode):
    """Counts operations that do work, not views: a lower bound on kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        self.total += not (func.is_view or name.startswith(("empty", "detach", "_local_scalar")))
        return func(*args, **(kwargs or {}))


def measure_use(setting: Setting, case: Case) -> Iterator[Row]:
    """Operations, arithmetic and memory of an eager step; kernels and the busy share of eager and best."""
    run = Run(setting, case, Options(), begin=PAST_WARMUP)
    run.advance(2)
    with FlopCounter() as flops:
        run.advance(1)
    with OperationCounter() as operations:
        run.advance(1)
    gflop = flops.total / 1e9
    yield {"what": "arithmetic of a step", "value": significant(gflop), "unit": "GFLOP"}
    yield {"what": "operations of a step", "value": operations.total, "unit": "operations"}
    if not setting.on_gpu:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield {"what": "peak memory", "value": round(peak), "unit": "MB", "note": "of this process"}
        speed = gflop / _seconds(run, 1)
        yield {"what": "speed", "value": significant(speed), "unit": "GFLOP/s"} | _share(
            setting, speed, "fp32"
        )
        return
    del run
    for name, options in (("eager, fp32", Options()), (f"best ({BEST})", CONTENDERS[BEST])):
        if name in setting.failed:
            continue
        try:
            yield from _profile(setting, case, options, gflop, name)
        except Exception as error:
            yield {"contender": name, "ok": False, "error": say(error)}
        check_gpu()


def _profile(setting: Setting, case: Case, options: Options, gflop: float, name: str) -> Iterator[Row]:
    torch.cuda.reset_peak_memory_stats()
    run = Run(setting, case, options, begin=PAST_WARMUP)
    run.advance(WARM_UP)
    seconds = _seconds(run, PROFILED) / PROFILED
    peak = torch.cuda.max_memory_allocated() / 2**20
    yield {"contender": name, "what": "peak memory", "value": round(peak), "unit": "MB"}
    yield {"contender": name, "what": "step", "value": significant(1000 * seconds), "unit": "ms"}
    speed = gflop / seconds
    yield {"contender": name, "what": "speed", "value": significant(speed), "unit": "GFLOP/s"} | _share(
        setting, speed, options.precision
    )
    with profile(activities=[ProfilerActivity.CUDA]) as watched:
        taken = _seconds(run, PROFILED)
    kernels = [event for event in watched.events() if _is_kernel(event)]
    if not kernels:
        raise RuntimeError("the profiler saw no kernel")
    busy = sum(event.time_range.elapsed_us() for event in kernels) / 1e6
    yield {
        "contender": name,
        "what": "kernels of a step",
        "value": len(kernels) / PROFILED,
        "unit": "kernels",
    }
    note = "time of all kernels over time of the steps, under the profiler"
    share = significant(100 * busy / taken)
    yield {"contender": name, "what": "busy share", "value": share, "unit": "%", "note": note}
    share = significant(100 * busy / PROFILED / seconds)
    note = "the same over time of the steps without the profiler"
    yield {"contender": name, "what": "busy share, unwatched", "value": share, "unit": "%", "note": note}


def _is_kernel(event: Any) -> bool:
    """Tell kernels and copies from spans of an optimiser's step, which the profiler shows on the GPU too."""
    span = getattr(event, "is_user_annotation", False) or event.name.startswith("Optimizer.")
    return event.device_type.name == "CUDA" and not span


def _share(setting: Setting, speed: float, precision: str) -> Row:
    """The share of the measured ceiling of convolutions, where that was measured."""
    for row in setting.rows:
        if row.get("check") == f"convolution {precision}" and row.get("value"):
            return {"note": f"{speed / row['value'] / 10:.2g} % of a convolution's in {precision}"}
    return {"note": "the ceiling was not measured"}
