"""Owns how contenders take turns, each in a process of its own, and what is recorded of them.

A contender is a process that answers requests, one line of JSON each: `serve` is its side, `Contender` ours.
It is started once and asked once a round, so that torch's import is paid once, and another load on the
machine hits all contenders alike.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

Record = dict[str, Any]
Answer = dict[str, Any]


class Contender:
    """A process that measures on request. Its own output goes to a file, for error messages."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.name = " ".join(command[:3])
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | dict(environment or {}),
            text=True,
        )

    def send(self, request: Mapping[str, Any]) -> None:
        """Ask without waiting; `receive` waits."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `receive` says why

    def receive(self) -> Answer:
        """Wait for the answer. Raises RuntimeError with the last line of a process that ended instead."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise RuntimeError(said[-1])
        answer: Answer = json.loads(line)
        return answer

    def ask(self, **request: Any) -> Answer:
        """Ask and wait."""
        self.send(request)
        return self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def serve(answer: Callable[[dict[str, Any]], Answer]) -> None:
    """Answer requests until there are no more. Whatever else the process prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)


def records_of(
    part: str,
    case: str,
    values: Mapping[str, Sequence[float]],
    unit: str,
    baseline: str,
    notes: Mapping[str, str] | None = None,
) -> Iterator[Record]:
    """Yield a record for each contender: the median of its rounds, their spread, its ratio to the baseline.

    The ratio is how many times as fast as the baseline it is: of rates, or of seconds the other way round;
    other units have none.
    notes: what is to be known about a contender; one without values does not run, and its note says why.
    """
    notes = notes or {}
    for contender, found in values.items():
        record: Record = {"part": part, "case": case, "contender": contender, "unit": unit}
        record |= {"baseline": baseline, "machine": machine()}
        if contender in notes:
            record["note"] = notes[contender]
        if not found:
            yield record | {"value": None, "lowest": None, "highest": None, "ratio": None, "rounds": 0}
            continue
        value, base = statistics.median(found), statistics.median(values[baseline])
        ratio = base / value if unit == "s" else value / base if "/s" in unit else None
        yield record | {
            "value": significant(value),
            "lowest": significant(min(found)),
            "highest": significant(max(found)),
            "ratio": ratio and significant(ratio),
            "rounds": len(found),
        }


def significant(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def machine() -> str:
    """Processor, cores and versions, in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    flags = set(" ".join(line for line in lines if line.startswith("flags")).split())
    name += "".join(f", {flag}" for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in flags)
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    return f"{name}, {os.cpu_count()} cores, {versions}"
