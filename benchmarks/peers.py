"""Compare Gantry with the textbook loop and with peers from the package index.

Each peer is installed without its dependencies into a folder of its own under build/peers, where it finds
the torch that Gantry uses. The baseline is the fastest that runs and is right: a WGAN-GP whose penalty
isn't a mean over samples is another algorithm, and no baseline.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.peer import PENALTY, SHIMS
from benchmarks.step import Case
from benchmarks.turns import Answer, Contender, Record, records_of
from pipeline.schedule.repro import ALLOCATOR

VERSIONS = {"torch-mimicry": "0.1.16", "torchgan": "0.1.0", "vegans": "0.4.0"}
ENVIRONMENTS = Path("build/peers").absolute()
OURS = {"textbook loop, fp32": "plain", "gantry, fp32": "fp32", "gantry, bf16": "bf16"}
CASES = (
    ("mnist_tiny", "dcgan", 32, 64),
    ("cifar10", "dcgan", 32, 64),
    ("celeba", "dcgan", 64, 64),
    ("mnist_tiny", "wgan_gp", 32, 64),
    ("cifar10", "wgan_gp", 32, 64),
    ("celeba", "wgan_gp", 64, 32),
)


def install(name: str) -> Path:
    """Install a peer, if it isn't there, and return its folder. Raises RuntimeError with pip's last line."""
    folder = ENVIRONMENTS / f"{name}-{VERSIONS[name]}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_suffix(".unfinished")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--upgrade", "--target", str(unfinished), f"{name}=={VERSIONS[name]}"]
    answer = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if answer.returncode:
        raise RuntimeError((answer.stderr.strip().splitlines() or ["pip failed"])[-1])
    unfinished.rename(folder)
    return folder


def start(name: str) -> Contender:
    """Start a contender; ours as `make repro` runs it. Raises RuntimeError for a peer without its package."""
    if name in OURS:
        environment = ALLOCATOR if name.startswith("gantry") else {}
        return Contender(["-m", "benchmarks.step", OURS[name]], environment)
    path = [str(install(name)), str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
    return Contender(["-W", "ignore", "-m", "benchmarks.peer", name], {"PYTHONPATH": os.pathsep.join(path)})


def measure_peers(quick: bool) -> Iterator[Record]:
    """Images a second that the critic sees, on all cores, with one recipe's networks, batch and steps."""
    seconds, rounds = (0.3, 1) if quick else (1.5, 5)
    for dataset, variant, side, batch in CASES[:4:3] if quick else CASES:
        case = Case(dataset, variant, side, batch, threads=os.cpu_count() or 1)
        yield from measure_case(case, seconds, rounds)


def measure_case(case: Case, seconds: float, rounds: int) -> Iterator[Record]:
    """Let all take turns; one that fails is dropped, with the reason."""
    values: dict[str, list[float]] = {name: [] for name in (*OURS, *VERSIONS)}
    notes = {name: f"{name} {VERSIONS[name]}, shims: {SHIMS[name]}" for name in VERSIONS}
    right = {"textbook loop, fp32", *VERSIONS}
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for name in values:
            try:
                contenders[name] = stack.enter_context(start(name))
            except RuntimeError as error:
                notes[name] += f"; does not install: {error}"
        for _ in range(rounds):
            for name in list(contenders):
                try:
                    found = contenders[name].ask(case=asdict(case), seconds=seconds)
                except RuntimeError as error:
                    if name in OURS:
                        raise
                    notes[name] += f"; does not run: {error}"
                    del contenders[name]
                    continue
                values[name].append(found["images"] / found["seconds"])
                if not values[name][1:] and (verdict := verdict_of(found)):
                    notes[name] += f"; {verdict}"
                    right -= {name} if "wrong" in verdict else set()
    best = max((name for name in right if values[name]), key=lambda name: median(values[name]))
    threads = f"{case.name}, batch {case.batch}, {case.threads} threads"
    yield from records_of("peers", threads, values, "images/s", best, notes)


def verdict_of(found: Answer) -> str:
    """Judge a peer's gradient penalty, if it has one."""
    penalty = found.get("penalty")
    if penalty is None:
        return ""
    if abs(penalty - PENALTY) < 1e-3:
        return "its penalty is right"
    return f"its penalty is wrong: {penalty:.4g} where norms per sample give {PENALTY}"
