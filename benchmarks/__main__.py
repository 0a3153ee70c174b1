"""Measure Gantry beside its alternatives on this machine: `python -m benchmarks [PART ...] [--quick]`.

Contenders take turns, each run in a process of its own (A B C A B C), so that another load on the machine
hits all of them; medians are shown, with the spread of the rounds. `ratio` is how many times as fast as
the baseline a contender is, within one run; compare ratios between machines, never values. Writes
benchmarks/results.json, a list of records, and benchmarks/results.md, the same as a table.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent
ROUNDS = 5
# case -> data set whose recipe is run, variant, side of the images, batch, steps a round
STEPS = {
    "dcgan 28x28x1": ("mnist_tiny", "dcgan", 28, 64, 40),
    "dcgan 32x32x1": ("mnist_tiny", "dcgan", 32, 64, 30),
    "dcgan 64x64x3": ("celeba", "dcgan", 64, 16, 2),
    "wgan_gp 28x28x1": ("mnist_tiny", "wgan_gp", 28, 32, 30),
    "wgan_gp 32x32x1": ("mnist_tiny", "wgan_gp", 32, 32, 20),
}
LOOPS = {"plain": "textbook loop, fp32", "fp32": "gantry, fp32", "bf16": "gantry, bf16"}
COMMANDS = {
    "gantry --help": ["-m", "pipeline.cli", "--help"],
    "gantry check": ["-m", "pipeline.cli", "check"],
    "python -c 'import torch'": ["-c", "import torch"],
}

Record = dict[str, Any]


def records_of(
    part: str, case: str, values: dict[str, list[float]], unit: str, baseline: str
) -> Iterator[Record]:
    """Yield a record for each contender: median, spread, and ratio to the baseline; more is faster."""
    for contender, found in values.items():
        yield {
            "part": part,
            "case": case,
            "contender": contender,
            "value": round(statistics.median(found), 4),
            "lowest": round(min(found), 4),
            "highest": round(max(found), 4),
            "unit": unit,
            "baseline": baseline,
            "ratio": round(statistics.median(found) / statistics.median(values[baseline]), 3),
        }


def measure_steps(rounds: int) -> Iterator[Record]:
    """Images a second that the critic sees in training, on one thread."""
    for case, (dataset, variant, side, batch, steps) in STEPS.items():
        values: dict[str, list[float]] = {name: [] for name in LOOPS.values()}
        for _ in range(rounds):
            for loop, name in LOOPS.items():
                command = [sys.executable, "-m", "benchmarks.step", dataset, "--variant", variant]
                command += ["--batch", str(batch), "--side", str(side), "--steps", str(steps), "--loop", loop]
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(answer.stdout)
                values[name].append(batch * found["critic_steps"] / found["seconds"])
        yield from records_of("train step", case, values, "images/s", LOOPS["plain"])


def measure_start(rounds: int) -> Iterator[Record]:
    """Starts a second of what a person waits for."""
    values: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            values[name].append(1 / (time.perf_counter() - begin))
    yield from records_of("start-up", "cold process", values, "1/s", "python -c 'import torch'")


def measure_data(rounds: int) -> Iterator[Record]:
    """Conversion and reading, from `benchmarks.data`; it has rounds of its own."""
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:
        target = Path(folder) / "data.json"
        command = [sys.executable, "-m", "benchmarks.data", "--json", str(target)]
        subprocess.run(command + ["--quick"] * (rounds == 1), check=True, stdout=subprocess.DEVNULL)
        found = json.loads(target.read_text(encoding="utf-8"))
    for name, case in found["conversion"].items():
        if "pillow loop" in case if isinstance(case, dict) else False:
            values = {contender: [rate] for contender, rate in case.items()}
            yield from records_of("conversion", name, values, "images/s", "pillow loop")
    scaling = {
        name.split(", ")[1]: [case["rate"]]
        for name, case in found["conversion"].items()
        if isinstance(case, dict) and "rate" in case
    }
    yield from records_of("conversion", "archive to store", scaling, "images/s", "1 processes")
    reading = {name: [rate] for name, rate in found["reading"].items()}
    yield from records_of("reading", "batches of 128x3x64x64", reading, "images/s", "memory-mapped array")
    growth = found["memory"]["growth of RssAnon, MB"]
    values = {"gantry": [max(growth, 1e-3)]}
    yield from records_of("memory", "growth over a store of 3 GB", values, "MB", "gantry")


PARTS: dict[str, Callable[[int], Iterator[Record]]] = {
    "step": measure_steps,
    "start": measure_start,
    "data": measure_data,
}


def machine() -> str:
    """Processor, cores and versions, in one line."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.name == "posix" else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {versions}"


def as_table(records: list[Record]) -> str:
    """Records as Markdown, ratios first."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Compare ratios, not values, between machines. Training on one thread.",
        "",
        f"Machine: {machine()}.",
        "",
        "| part | case | contender | ratio | value | lowest to highest | unit |",
        "| :-- | :-- | :-- | --: | --: | --: | :-- |",
    ]
    lines += [
        f"| {r['part']} | {r['case']} | {r['contender']}{' (baseline)' * (r['contender'] == r['baseline'])} "
        f"| {r['ratio']:.2f} | {r['value']:,.5g} | {r['lowest']:,.5g} to {r['highest']:,.5g} | {r['unit']} |"
        for r in records
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure the parts that are named, or all; records of the other parts stay as they are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="one round: a check that it runs")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    target = FOLDER / "results.json"
    kept = json.loads(target.read_text(encoding="utf-8")) if target.exists() else []
    measured: list[Record] = []
    for part in given.parts or PARTS:
        for record in PARTS[part](1 if given.quick else ROUNDS):
            measured.append(record)
            print(json.dumps(record), flush=True)
    again = {record["part"] for record in measured}
    records = [record for record in kept if record["part"] not in again] + measured
    target.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "results.md").write_text(as_table(records), encoding="utf-8")


if __name__ == "__main__":
    main()
