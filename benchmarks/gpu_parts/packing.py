"""How many runs fit a GPU: images a second of all, for one, two, four and eight processes, or streams.

`python -m benchmarks.gpu_parts.packing KIND DATA OUT LOOP` is one of the processes, and answers requests of
`benchmarks.turns`.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts.rates import CONTENDERS, WARM_UP, check_gpu
from benchmarks.gpu_parts.runs import (
    DIGITS,
    ON_CPU,
    ON_GPU,
    PAST_WARMUP,
    Case,
    Check,
    Row,
    Run,
    Setting,
    importing_us,
    store_of,
    synchronize,
)
from benchmarks.turns import Answer, Contender, serve, significant

PART = "packing"
CASE = Case(DIGITS, "dcgan", 28, 64)
LOOPS = {"eager": "no fill", "graphs": "+ graphs"}  # name in the results, contender of `rates`
STREAMS = (1, 2, 4)
SECONDS = 1.5  # that each of the processes trains for


def checks(_: Setting) -> Iterator[Check]:
    """Processes with the eager loop and with graphs, then streams."""
    for name, contender in LOOPS.items():
        yield Check(
            PART, f"processes, {name}", lambda setting, c=contender: measure_processes(setting, c, SECONDS)
        )
    yield Check(PART, "streams of one process, graphs", measure_streams)


def measure_processes(setting: Setting, contender: str, seconds: float) -> Iterator[Row]:
    """Images a second of all processes, which are started once and asked at the same time."""
    store_of(setting, CASE)
    seconds = seconds if setting.on_gpu else 0.3
    arguments = [setting.kind, str(setting.data), str(setting.out), contender]
    alone = None
    with ExitStack() as stack:
        command = ["-m", "benchmarks.gpu_parts.packing", *arguments]
        workers = [
            stack.enter_context(Contender(command, importing_us()))
            for _ in range(max(setting.sizes.processes))
        ]
        _ask(workers, seconds=0.0)  # each has started, and captured its graphs
        for count in setting.sizes.processes:
            found = _ask(workers[:count], seconds=seconds)
            total = sum(answer["images"] / answer["seconds"] for answer in found)
            alone = alone or total
            yield {
                "what": f"{count} at a time",
                "value": significant(total),
                "unit": "images/s",
                "note": f"{total / alone:.3g} times one",
            }


def _ask(workers: list[Contender], **request: Any) -> list[Answer]:
    for worker in workers:
        worker.send(request)
    return [worker.receive() for worker in workers]


def measure_streams(setting: Setting) -> Iterator[Row]:
    """Runs of one process by turns, each on a stream of its own: throughput alone, not their numbers."""
    options, alone = CONTENDERS["+ graphs"], None
    for count in STREAMS if setting.on_gpu else STREAMS[:2]:
        streams = [torch.cuda.Stream() if setting.on_gpu else None for _ in range(count)]
        runs = [Run(setting, CASE, options, begin=PAST_WARMUP) for _ in streams]
        steps = 200 if setting.on_gpu else 4
        synchronize(runs[0].device)  # the weights were made on another stream
        for warm in (True, False):
            begin = time.perf_counter()
            for _ in range(WARM_UP if warm else steps):
                for run, stream in zip(runs, streams, strict=True):
                    with torch.cuda.stream(stream):
                        run.advance_unprepared(1)
            synchronize(runs[0].device)
        total = count * steps * CASE.batch / (time.perf_counter() - begin)
        alone = alone or total
        yield {
            "what": f"{count} at a time",
            "value": significant(total),
            "unit": "images/s",
            "note": f"{total / alone:.3g} times one" + ("" if setting.on_gpu else "; a CPU has no streams"),
        }
        del runs
        check_gpu()


def main() -> None:
    """Answer {"seconds"} until the end of stdin."""
    kind, data, out, contender = sys.argv[1:]
    setting = Setting(kind, Path(data), Path(out), ON_GPU if kind == "cuda" else ON_CPU)
    run = Run(setting, CASE, CONTENDERS[contender], begin=PAST_WARMUP)
    run.advance(WARM_UP)

    def answer(request: dict[str, Any]) -> Answer:
        synchronize(run.device)
        begin, steps = time.perf_counter(), 0
        while steps == 0 or time.perf_counter() - begin < request["seconds"]:
            run.advance_unprepared(5)
            synchronize(run.device)
            steps += 5
        return {"images": steps * CASE.batch, "seconds": time.perf_counter() - begin}

    serve(answer)


if __name__ == "__main__":
    main()
