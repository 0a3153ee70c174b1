"""Measure Gantry beside its alternatives on this machine: `python -m benchmarks [PART ...] [--quick]`.

Contenders take turns, each in a process of its own (A B C A B C), so that another load on the machine
hits all of them; medians are shown, with the spread of the rounds. `ratio` is how many times as fast as
the baseline a contender is, within one run; compare ratios between machines, never values. Writes
benchmarks/results.json, a list of records, and benchmarks/results.md, the same as a table; quick runs
write to build/benchmarks instead.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks.limit import KINDS
from benchmarks.peers import measure_peers
from benchmarks.quality import measure_quality
from benchmarks.results import as_table, lost, merge, processor_of, table_row
from benchmarks.seeding import measure_seeding
from benchmarks.step import Case, read_params
from benchmarks.turns import Contender, Record, machine, records_of
from benchmarks.whole import measure_whole
from pipeline.schedule.repro import ALLOCATOR

FOLDER = Path(__file__).parent
QUICK = Path("build/benchmarks")
LOOPS = {"plain": "textbook loop, fp32", "fp32": "gantry, fp32", "bf16": "gantry, bf16"}
TEXTBOOK = ("dcgan", "wgan_gp")  # what the textbook loop can train
HEAVY = ("began", "wgan_gp_resnet")  # at 64 pixels a step takes seconds
IMPORTS = "import torch, mlflow"
COMMANDS = {  # and the exit code of each
    IMPORTS: (["-c", IMPORTS], 0),
    "gantry --help": (["-m", "pipeline.cli", "--help"], 0),
    "gantry check": (["-m", "pipeline.cli", "check"], 0),
    **{
        f"stage {name}, up to its work": (["-c", f"import pipeline.{name}"], 0)
        for name in ("download", "convert", "train", "trajectory", "sample", "evaluate", "register", "report")
    },
}


def step_cases(variants: Sequence[str], *, quick: bool) -> list[Case]:
    """Each variant at 28 and 32 pixels, grey, and at 64, in colour; a quick run has few large ones."""
    cases = [Case("mnist_tiny", variant, 28, 32) for variant in variants]
    cases += [Case("mnist_tiny", variant, 32, 32) for variant in variants if not quick or variant in TEXTBOOK]
    return cases + [
        Case("celeba", variant, 64, 4 if variant in HEAVY else 16)
        for variant in variants
        if not quick or variant == "dcgan"
    ]


def measure_textbook(quick: bool) -> Iterator[Record]:
    """Images a second that the critic sees in training, on one thread, beside the textbook loop."""
    for case, loops, limit in _started(step_cases(TEXTBOOK, quick=quick)):
        yield from measure_case(case, loops, limit, *((0.2, 1) if quick else (1.0, 5)))


def measure_steps(quick: bool) -> Iterator[Record]:
    """The same of all other variants, beside Gantry itself in float32."""
    variants = [variant for variant in read_params().select.variants if variant not in TEXTBOOK]
    for case, loops, limit in _started(step_cases(variants, quick=quick)):
        yield from measure_case(case, loops, limit, *((0.2, 1) if quick else (1.0, 3)))


def _started(cases: list[Case]) -> Iterator[tuple[Case, dict[str, Contender], Contender]]:
    """Start the loops and the process that measures the limit, and yield them with each case in turn."""
    with ExitStack() as stack:
        loops = {
            # Gantry's runs as under `make repro`, the textbook's as a person would run it.
            loop: stack.enter_context(
                Contender(["-m", "benchmarks.step", loop], {} if loop == "plain" else ALLOCATOR)
            )
            for loop in LOOPS
        }
        limit = stack.enter_context(Contender(["-m", "benchmarks.limit"]))
        for case in cases:
            yield case, loops, limit


def measure_case(
    case: Case, loops: dict[str, Contender], limit: Contender, seconds: float, rounds: int
) -> Iterator[Record]:
    """One case of the train step; without a textbook loop, the baseline is Gantry's in float32."""
    names = [loop for loop in loops if loop != "plain" or case.variant in TEXTBOOK]
    rates: dict[str, list[float]] = {LOOPS[loop]: [] for loop in names}
    speeds: dict[str, list[float]] = {LOOPS[loop]: [] for loop in names}
    size: dict[str, str] = {}
    peaks: dict[str, list[float]] = {f"convolution, {precision}": [] for precision in ("fp32", "bf16")}
    device = {"threads": case.threads, "cuda": case.cuda}
    for _ in range(rounds):
        for loop in names:
            found = loops[loop].ask(case=asdict(case), seconds=seconds)
            rates[LOOPS[loop]].append(found["images"] / found["seconds"])
            speeds[LOOPS[loop]].append(found["gflop"] / found["seconds"])
            each = found["gflop"] / found["images"]
            size[LOOPS[loop]] = f"{each:.3g} GFLOP for each image that the critic sees"
        for precision in ("fp32", "bf16"):
            found = limit.ask(kind="convolution", precision=precision, seconds=seconds / 4, **device)
            peaks[f"convolution, {precision}"].append(found["size"] / found["seconds"])
    part = "train step, GPU" if case.cuda else "train step"
    yield from records_of(part, case.name, rates, "images/s", LOOPS[names[0]])
    for loop in names:
        peak = f"convolution, {'bf16' if loop == 'bf16' else 'fp32'}"
        values = {LOOPS[loop]: speeds[LOOPS[loop]], peak: peaks[peak]}
        yield next(records_of(f"{part}, share of the limit", case.name, values, "GFLOP/s", peak, size))


def measure_limit(quick: bool) -> Iterator[Record]:
    """Peak rates of matrix products and convolutions, and the bandwidth of memory, by threads."""
    threads = sorted({1, os.cpu_count() or 1})
    with Contender(["-m", "benchmarks.limit"]) as limit:
        for kind in KINDS:
            unit = "GB/s, read and written" if kind == "copy" else "GFLOP/s"
            precisions = ("fp32",) if kind == "copy" else ("fp32", "bf16")
            values: dict[str, list[float]] = {f"{p}, 1 thread": [] for p in precisions}
            for _ in range(1 if quick else 5):
                for precision in precisions:
                    for count in threads:
                        name = f"{precision}, {count} thread{'s' * (count > 1)}"
                        found = limit.ask(
                            kind=kind, precision=precision, threads=count, seconds=0.1 if quick else 0.5
                        )
                        values.setdefault(name, []).append(found["size"] / found["seconds"])
            yield from records_of("limit", kind, values, unit, "fp32, 1 thread")


def measure_start(quick: bool) -> Iterator[Record]:
    """Measure the waiting times that a person notices, in seconds."""
    values: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(1 if quick else 5):
        for name, (arguments, code) in COMMANDS.items():
            values[name].append(_seconds(arguments, code))
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:
        text = Path("params.yaml").read_text(encoding="utf-8")
        (Path(folder) / "params.yaml").write_text(f"{text}\nselct: none\n", encoding="utf-8")
        for recipes in ("recipes", "pipeline/claims"):
            shutil.copytree(recipes, Path(folder) / recipes)
        wrong = ["-m", "pipeline.cli", "check"]
        values["an error in params.yaml"] = [_seconds(wrong, 78, folder) for _ in range(1 if quick else 5)]
    yield from records_of("start-up", "process", values, "s", IMPORTS)
    # Only where the study is complete does `make repro` have nothing to do.
    repro = ["-m", "pipeline.schedule"]
    found = subprocess.run([sys.executable, "-m", "dvc", "status", "-q"], check=False, capture_output=True)
    again = [] if found.returncode else [_seconds(repro, 0) for _ in range(1 if quick else 3)]
    notes = {} if again else {"make repro": "not measured: the study of params.yaml has not been run here"}
    yield from records_of("start-up", "nothing to do", {"make repro": again}, "s", "make repro", notes)


def _seconds(arguments: list[str], code: int, folder: str = ".") -> float:
    """Time a Python process in a folder. Raises RuntimeError unless it ends with this exit code."""
    command, path = [sys.executable, *arguments], os.environ | {"PYTHONPATH": str(Path.cwd())}
    begin = time.perf_counter()
    found = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=path)
    if found.returncode != code:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {found.returncode}: {found.stderr}")
    return time.perf_counter() - begin


def measure_data(quick: bool) -> Iterator[Record]:
    """Conversion and reading, from `benchmarks.data`, which has its own rounds."""
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:
        target = Path(folder) / "data.json"
        command = [sys.executable, "-m", "benchmarks.data", "--json", str(target)]
        subprocess.run(command + ["--quick"] * quick, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(target.read_text(encoding="utf-8"))
    for name, case in found["conversion"].items():
        if "pillow loop" in case if isinstance(case, dict) else False:
            values = {contender: [rate] for contender, rate in case.items()}
            yield from records_of("conversion", name, values, "images/s", "pillow loop")
    for which, case in (
        ("rate", "archive to store"),
        ("rate once running", "archive to store, once running"),
    ):
        scaling = {
            name.split(", ")[1]: [measured[which]]
            for name, measured in found["conversion"].items()
            if isinstance(measured, dict) and which in measured
        }
        yield from records_of("conversion", case, scaling, "images/s", "1 processes")
    reading = {name: [rate] for name, rate in found["reading"].items()}
    yield from records_of("reading", "batches of 128x3x64x64", reading, "images/s", "memory-mapped array")
    growth = found["memory"]["growth of RssAnon, MB"]
    values = {"gantry": [max(growth, 1e-3)]}
    yield from records_of("memory", "growth over a store of 3 GB", values, "MB", "gantry")


PARTS: dict[str, Callable[[bool], Iterator[Record]]] = {
    "limit": measure_limit,
    "textbook": measure_textbook,
    "step": measure_steps,
    "seeding": measure_seeding,
    "peers": measure_peers,
    "start": measure_start,
    "data": measure_data,
    "whole": measure_whole,
    "quality": measure_quality,
}


def measure(parts: list[str], *, quick: bool) -> list[Record]:
    """Measure parts one after the other, and print each record as it arrives."""
    measured: list[Record] = []
    load = round(os.getloadavg()[0], 2)
    for part in parts:
        begin = time.perf_counter()
        for record in PARTS[part](quick):
            measured.append({"measured_by": part, "load": load} | record)
            print(table_row(record), flush=True)
        print(f"{part}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    return measured


def measure_check() -> Iterator[Record]:
    """The train steps that have a textbook loop beside them, at 28 and 32 pixels: about two minutes."""
    cases = [case for case in step_cases(TEXTBOOK, quick=False) if case.side < 64]
    for case, loops, limit in _started(cases):
        yield from measure_case(case, loops, limit, 1.0, 5)


def check() -> None:
    """Measure the quick parts again; exit with 1, naming each case, if a ratio got worse."""
    results = FOLDER / "results.json"
    if not results.is_file():
        raise SystemExit(f"{results}: there is none to compare with; run 'make bench' first")
    committed = json.loads(results.read_text(encoding="utf-8"))
    fresh = []
    for record in measure_check():
        fresh.append(record)
        print(table_row(record), flush=True)
    here = processor_of(machine())
    own = [record for record in committed if processor_of(record["machine"]) == here]
    faults = lost(own or committed, fresh)
    if faults:
        raise SystemExit("\n".join(["slower than committed by more than 15 %:", *faults]))
    print("no ratio is more than 15 % below the committed one")


def main() -> None:
    """Measure the named parts, or all; records of other parts and of other processors are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="one short round: a check that it runs")
    parser.add_argument("--check", action="store_true", help="compare ratios with the committed ones")
    given = parser.parse_args()
    if given.check:
        check()
        return
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    folder = QUICK if given.quick else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "results.json"
    kept = json.loads(target.read_text(encoding="utf-8")) if target.exists() else []
    records = merge(kept, measure(given.parts or list(PARTS), quick=given.quick))
    target.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    (folder / "results.md").write_text(as_table(records), encoding="utf-8")


if __name__ == "__main__":
    main()
