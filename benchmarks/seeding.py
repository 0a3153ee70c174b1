"""Measure what seeding torch for every draw costs: its CPU generator alone, or all of its generators."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict

from benchmarks.step import Case, read_params
from benchmarks.turns import Contender, Record, records_of
from pipeline.schedule.repro import ALLOCATOR

LOOPS = {"torch.manual_seed": "manual_seed", "gantry, the CPU's generator": "fp32"}
CASES = (
    ("mixture", "gan", 1),
    ("mixture", "wgan_gp", 1),
    ("mnist_tiny", "gan", 28),
    ("mnist_tiny", "dcgan", 28),
    ("mnist_tiny", "wgan_gp", 28),
)


def measure_seeding(quick: bool) -> Iterator[Record]:
    """Images a second that the critic sees, on one thread, at each recipe's own batch."""
    with ExitStack() as stack:
        loops = {
            name: stack.enter_context(Contender(["-m", "benchmarks.step", loop], ALLOCATOR))
            for name, loop in LOOPS.items()
        }
        for dataset, variant, side in CASES:
            batch = read_params().recipes[dataset][variant].method.batch_size
            case = Case(dataset, variant, side, batch)
            values: dict[str, list[float]] = {name: [] for name in loops}
            for _ in range(1 if quick else 9):
                for name, loop in loops.items():
                    found = loop.ask(case=asdict(case), seconds=0.1 if quick else 1.0)
                    values[name].append(found["images"] / found["seconds"])
            yield from records_of("seeding", f"{dataset} {case.name}", values, "images/s", next(iter(loops)))
