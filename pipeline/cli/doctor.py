"""Owns `gantry doctor`: checks of this machine, each with a diagnosis and what mends it.

A check is a function without arguments in CHECKS. It returns a Diagnosis, or raises a GanError, which becomes
a diagnosis of level "error"; the first of these ends the command, with its exit code.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from gan.errors import GanError
from pipeline.cli.output import print_json, print_rich
from pipeline.stage import read_params

if TYPE_CHECKING:
    from rich.table import Table

CPUINFO = Path("/proc/cpuinfo")
COUNTS = 1.05  # a ratio of speeds below this is no reason to change a parameter
# From the commit that says so, "Say what bf16 costs in quality": 10,000 samples against the test images.
QUALITY = (
    "quality runs of bf16: dcgan on mnist, quick budget, 3 seeds: FID 188 (180, 181, 202), 195 in fp32 "
    "(180, 201, 203), which is no difference that 3 seeds show; no other recipe was tried"
)


class Diagnosis(NamedTuple):
    """What a check found, in one line, and the command or the change that mends it."""

    check: str
    level: Literal["ok", "warn", "error"]
    says: str
    repair: str = ""


def check_device() -> Diagnosis:
    """Which device trains, and why. Raises DeviceError for a GPU that doesn't answer."""
    import torch

    from gan.device import pick_device, unused_gpu
    from pipeline.schedule.slots import VISIBLE, visible_gpus

    device = pick_device()
    if device.type == "cuda":
        name, count = torch.cuda.get_device_name(device), len(visible_gpus()) or torch.cuda.device_count()
        gib = torch.cuda.get_device_properties(device).total_memory / 2**30
        said = f"{count} GPU{'s' * (count > 1)}; the first is {name}, {gib:.0f} GiB"
        return Diagnosis("device", "ok", f"cuda, since torch's CUDA answers: {said}")
    if reason := unused_gpu():
        why, _, what = reason.partition("; ")
        return Diagnosis("device", "warn", f"cpu: {why}", what)
    if VISIBLE in os.environ and not visible_gpus():
        return Diagnosis("device", "ok", f"cpu, since {VISIBLE}={os.environ[VISIBLE]} hides every GPU")
    return Diagnosis("device", "ok", "cpu, since this machine has no NVIDIA GPU that torch can see")


def check_cells() -> Diagnosis:
    """How many cells `make repro` trains at a time, and how many share a GPU. Raises ConfigError for JOBS."""
    import torch

    from pipeline.environment import JOBS
    from pipeline.schedule.slots import VISIBLE, Slots

    slots = Slots.of_machine()
    why = f"{JOBS}={slots.jobs}" if JOBS in os.environ else f"{JOBS} isn't set"
    if slots.gpus and not torch.cuda.is_available():
        says = f"{slots.jobs} at a time, one for each GPU ({why}), but they train on the CPU"
        return Diagnosis("cells", "warn", says, f"{VISIBLE}= make repro")
    return Diagnosis("cells", "ok", f"{slots} ({why})")


def check_processor() -> Diagnosis:
    """The processor, its cores and the threads of a cell."""
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    threads = read_params().train.num_threads
    name = re.search(r"^model name\s*: (.+)$", _cpuinfo(), re.MULTILINE)
    of_cores = f"{usable} of {cores} cores" if usable < cores else f"{cores} cores"
    says = f"{name[1] if name else platform.machine()}, {of_cores}; a cell has train.num_threads={threads}"
    return Diagnosis("processor", "ok", says)


def check_torch() -> Diagnosis:
    """The build of torch, and the instructions that it uses."""
    import torch

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    says = f"torch {torch.__version__}, {built}, {torch.backends.cpu.get_cpu_capability()} on this processor"
    return Diagnosis("torch", "ok", says)


def check_bf16() -> Diagnosis:
    """Whether the processor has instructions for products in bfloat16."""
    import torch

    flags = set(_cpuinfo().split())
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        says = "bfloat16 is slow: the processor lacks what oneDNN needs for it"
    elif "amx_bf16" in flags:
        says = "bfloat16 is fast on this processor: amx_bf16"
    elif "avx512_bf16" in flags:
        says = "bfloat16 may be faster or slower than float32: avx512_bf16; gantry doctor --speed measures it"
    else:
        says = "bfloat16 works without instructions of its own, slowly"
    return Diagnosis("bf16", "ok", says)


CHECKS: Sequence[Callable[[], Diagnosis]] = (
    check_device,
    check_cells,
    check_processor,
    check_torch,
    check_bf16,
)


def _cpuinfo() -> str:
    return CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""


def examine(checks: Sequence[Callable[[], Diagnosis]]) -> tuple[list[Diagnosis], list[GanError]]:
    """Run the checks; return what they found, and the errors among it."""
    diagnoses, errors = [], []
    for check in checks:
        try:
            diagnoses.append(check())
        except GanError as error:
            why, _, what = str(error).partition("; ")
            diagnoses.append(Diagnosis(check.__name__.removeprefix("check_"), "error", why, what))
            errors.append(error)
    return diagnoses, errors


@click.command()
@click.option("--speed", is_flag=True, help="Also time a training step in fp32 and bf16: half a minute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(speed: bool, as_json: bool) -> None:
    """Say what this machine trains with.

    Which device and why, how many cells share it, processor, torch. --speed measures the selected recipes,
    and recommends a precision; params.yaml stays as it is.
    """
    diagnoses, errors = examine(CHECKS)
    answer: dict[str, Any] = {"diagnoses": [diagnosis._asdict() for diagnosis in diagnoses]}
    if not as_json:
        for diagnosis in diagnoses:
            click.echo(f"{diagnosis.level:<5} {diagnosis.check}: {diagnosis.says}")
            if diagnosis.repair:
                click.echo(f"      {diagnosis.repair}")
    if speed and not errors:
        rows = measure_speed()
        answer["speed"] = {"recipes": rows, "recommendation": recommend(rows), "quality": QUALITY}
        if not as_json:
            print_rich(speed_table(rows))
            click.echo(f"{recommend(rows)}\n{QUALITY}")
    if as_json:
        print_json(answer)
    if errors:
        raise errors[0]


def measure_speed() -> list[dict[str, Any]]:
    """Rows of pipeline.cli.speed, measured in a process with the variables that stages find."""
    import json

    from pipeline.schedule.repro import ALLOCATOR

    # What it logs stays on stderr; where it fails it has said why.
    command = [sys.executable, "-m", "pipeline.cli.speed"]
    answer = subprocess.run(
        command, stdout=subprocess.PIPE, env=ALLOCATOR | os.environ, text=True, check=False
    )
    if answer.returncode != 0:
        raise SystemExit(answer.returncode)
    rows: list[dict[str, Any]] = json.loads(answer.stdout)
    return rows


def total_ratio(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """How many times as fast the study's measured steps are in bf16 as in fp32; None without any."""
    measured = [row for row in rows if row["seconds"]]
    total = {name: sum(row["steps"] * row["seconds"][name] for row in measured) for name in ("fp32", "bf16")}
    return total["fp32"] / total["bf16"] if measured else None


def recommend(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which precision is faster for the whole selection, and what to set; cells share one precision."""
    ratio = total_ratio(rows)
    if ratio is None:
        return "nothing was measured"
    if 1 / COUNTS < ratio < COUNTS:
        return f"the selection takes as long in bf16 as in fp32 ({ratio:.2f} times as fast): leave precision"
    faster, by = ("bf16", ratio) if ratio > 1 else ("fp32", 1 / ratio)
    return (
        f"{faster} is faster, {by:.2f} times for the selection: set train.precision: {faster} in params.yaml"
    )


def speed_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """Lay out images a second of each recipe, in both precisions."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("recipe")
    for heading in ("fp32, images/s", "bf16, images/s", "bf16 is faster by"):
        table.add_column(heading, justify="right")
    for row in rows:
        rates = row["images_per_second"]
        numbers = [f"{rates['fp32']:,.0f}", f"{rates['bf16']:,.0f}", f"{row['ratio']:.2f}"] if rates else []
        table.add_row(f"{row['dataset']}/{row['variant']}", *(numbers or ["no time was left", "", ""]))
    return table
