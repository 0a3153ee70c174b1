"""Whether a step waits for its device or uses an operation that isn't repeatable; too many processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu_parts.runs import (
    DIGITS,
    FACES,
    Case,
    Check,
    Options,
    Row,
    Run,
    Setting,
    importing_us,
    method_of,
    say,
    variants,
)
from gan import distributed
from gan.errors import GanError

PART = "hygiene"
RANKS = "benchmarks.gpu_parts.hygiene"  # the module that each process of a group runs
SECONDS = 45  # that a group of processes may take


def checks(setting: Setting) -> Iterator[Check]:
    """The group of processes, then each variant's steps."""
    yield Check(PART, "two processes on one GPU", start_too_many)
    for variant in reversed(variants()):
        case = Case(DIGITS, variant, 28, setting.sizes.batch)
        yield Check(PART, f"{variant} 28", lambda setting, c=case: watch(setting, c))
    for variant in ("dcgan", "wgan_gp"):
        case = Case(FACES, variant, setting.sizes.large, setting.sizes.batch)
        yield Check(PART, f"{variant} {setting.sizes.large}", lambda setting, c=case: watch(setting, c))


class ReadCounter(TorchDispatchMode):
    """Counts how often a value is read, each of which makes a step wait for its device."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def watch(setting: Setting, case: Case) -> Iterator[Row]:
    """Train steps that may not wait, then steps that may not use an operation that isn't repeatable."""
    run = Run(setting, case, Options(), method=method_of(case, warmup="none", critic_steps=2))
    run.advance(2)
    steps = 2 * setting.sizes.half
    if setting.on_gpu:
        error = _error_of(waiting_forbidden, run, steps)
        yield {"what": f"{steps} steps that may not wait", "ok": error is None} | _said(error)
        yield from watch_replays(setting, case, steps)
    else:
        with ReadCounter() as counter:
            run.advance(steps)
        note = f"in {steps} steps; a CPU can't say more"
        yield {"what": "values read", "value": counter.reads, "ok": counter.reads == 0, "note": note}
    error = _error_of(only_repeatable, run, steps)
    yield {"what": f"{steps} steps of repeatable operations", "ok": error is None} | _said(error)


def watch_replays(setting: Setting, case: Case, steps: int) -> Iterator[Row]:
    """Replay recorded steps that may not wait either; the recording itself may."""
    what = f"{steps} replayed steps that may not wait"
    try:
        run = Run(setting, case, Options(graphs=True), method=method_of(case, warmup="none", critic_steps=2))
        run.advance(5)
    except Exception as error:
        yield {"what": what, "ok": False, "error": say(error)}
    else:
        found = _error_of(waiting_forbidden, run, steps)
        yield {"what": what, "ok": found is None} | _said(found)


def _error_of(rule: Callable[[], Any], run: Run, steps: int) -> str | None:
    run.advance(0)  # prepares torch
    try:
        with rule():
            run.advance_unprepared(steps)
    except Exception as error:
        return say(error)
    return None


def _said(error: str | None) -> Row:
    return {} if error is None else {"error": error}


@contextmanager
def waiting_forbidden() -> Iterator[None]:
    """Raise where the program waits for the GPU."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def only_repeatable() -> Iterator[None]:
    """Raise where an operation gives other bits each time."""
    enabled = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=True)


def start_too_many(setting: Setting) -> Iterator[Row]:
    """Start one process more than there are GPUs, which must end with our error; on a CPU, two that work."""
    count = torch.cuda.device_count() + 1 if setting.on_gpu else 2
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    process = subprocess.Popen(
        [sys.executable, *torchrun, "-m", RANKS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | importing_us() | {"OMP_NUM_THREADS": "1"},
    )
    try:
        out, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes too
        out, errors = process.communicate(timeout=10)
        errors += f"\nwaited for {SECONDS} s"
    said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if setting.on_gpu:
        named = {f"{answer.get('error')}: {answer.get('message')}" for answer in said}
        ok = bool(said) and all(answer.get("error") == "ConfigError" for answer in said)
        note = "; ".join(sorted(named)) or _last_line(errors)
        yield {"what": f"{count} processes", "ok": ok, "note": note}
        return
    worlds = [answer.get("world_size") for answer in said]
    yield {
        "what": "two processes on a CPU",
        "value": len(said),
        "unit": "processes that joined",
        "ok": worlds == [2, 2],
        "note": "a CPU may have more than one" if said else _last_line(errors),
    }


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["said nothing"])[-1]


def join() -> dict[str, Any]:
    """Join the group and leave it; the size of the group, or the error."""
    try:
        with distributed.process_group():
            return {"world_size": distributed.world_size()}
    except GanError as error:
        return {"error": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    print(json.dumps(join()), flush=True)
