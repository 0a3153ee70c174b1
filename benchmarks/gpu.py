"""Find out in ten minutes what holds on a GPU: `python benchmarks/gpu.py --data FOLDER --out FOLDER`.

It needs torch, torchvision, numpy, pydantic, lmdb, ruamel.yaml, safetensors and Pillow, not DVC nor MLflow.
--data may hold MNIST's raw files (in data/raw/mnist or by themselves), build/evaluators/mnist and
build/reference/mnist; without them a part says what it lacks. Results are appended to results.jsonl in --out
as they come, and a table follows in results.md. With --device cpu every part runs in smaller sizes.

Checks run in a process of their own: one that crashes, hangs or breaks the GPU costs itself only, and what is
done already isn't done again. Each part has its share of the time; what comes too late waits behind the
other parts, and what the clock leaves out gets a row that says so.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # as a script it sees benchmarks/ alone
    sys.path.insert(0, str(ROOT))

from benchmarks.gpu_parts import bits, ceilings, hygiene, packing, parity, quality, rates, table  # noqa: E402
from benchmarks.gpu_parts.runs import ON_CPU, ON_GPU, STORES, Check, GpuLostError, Row, Setting, say  # noqa: E402

MINUTES = 9.5
SHARES = {  # name of a part: the minute by which it ends, of 9.5
    ceilings.PART: 0.5,
    parity.PART: 2.0,
    bits.PART: 3.0,
    hygiene.PART: 3.5,
    rates.RATES: 7.0,
    rates.USE: 7.75,
    packing.PART: 8.5,
    quality.PART: 9.5,
}
PARTS: tuple[Callable[[Setting], Iterator[Check]], ...] = (
    ceilings.checks,
    parity.checks,
    bits.checks,
    hygiene.checks,
    rates.rate_checks,
    rates.use_checks,
    packing.checks,
    quality.checks,
)
LONGEST = 90.0  # seconds that a check may take before its process is ended
GPU_LOST = 75  # exit code of a process whose GPU no longer answers


@dataclass(frozen=True)
class Clock:
    """When each part's share of the time ends."""

    begin: float
    minutes: float
    now: Callable[[], float] = time.time

    @property
    def end(self) -> float:
        """When nothing more is begun or goes on."""
        return self.begin + 60 * self.minutes

    def left(self) -> float:
        """Seconds until the end."""
        return self.end - self.now()

    def is_late(self, part: str) -> bool:
        """Tell whether the part's share is used up."""
        return self.now() - self.begin > 60 * SHARES[part] * self.minutes / MINUTES


@dataclass
class Results:
    """Rows in a file, one a line, appended as they come; and the check that is in progress."""

    folder: Path
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.read()

    @property
    def path(self) -> Path:
        """The file of rows."""
        return self.folder / "results.jsonl"

    @property
    def running(self) -> Path:
        """The file that names the check in progress."""
        return self.folder / "running.json"

    def read(self) -> None:
        """Read what the file holds by now."""
        if self.path.is_file():
            text = self.path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:  # a process was ended while it wrote
                self.path.write_text(whole, encoding="utf-8")
            self.rows = [json.loads(line) for line in whole.splitlines()]

    def add(self, check: Check, row: Row) -> None:
        """Append a row of a check."""
        self.rows.append({"part": check.part, "check": check.name} | row)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(self.rows[-1]) + "\n")

    def rows_of(self, check: Check) -> list[Row]:
        """Rows of one check."""
        return [row for row in self.rows if (row["part"], row["check"]) == (check.part, check.name)]

    def is_done(self, check: Check) -> bool:
        """Tell whether a check has ended."""
        return any(row.get("done") for row in self.rows_of(check))


def in_order(checks: Iterable[Check], clock: Clock) -> Iterator[Check]:
    """Yield checks part by part; those whose part has used up its share come last."""
    late = []
    for check in checks:
        if clock.is_late(check.part):
            late.append(check)
        else:
            yield check
    yield from late


def run_checks(checks: Iterable[Check], setting: Setting, clock: Clock, results: Results) -> None:
    """Run what isn't done yet until the clock ends; a check that raises costs itself only.

    Raises GpuLostError where the GPU no longer answers this process.
    """
    for check in in_order([check for check in checks if not results.is_done(check)], clock):
        if clock.left() <= 0:
            return
        results.running.write_text(json.dumps([check.part, check.name, time.time()]), encoding="utf-8")
        run_check(check, setting, results)
        results.running.unlink()


def run_check(check: Check, setting: Setting, results: Results) -> None:
    """Run one check and append its rows, or its error."""
    before = results.rows_of(check)
    failed = frozenset(row["contender"] for row in before if "error" in row and "contender" in row)
    begin = time.perf_counter()
    try:
        for row in check.run(replace(setting, failed=failed, rows=tuple(results.rows))):
            results.add(check, row)
    except GpuLostError:  # the contender that did it has its row; the others get another process
        results.running.unlink(missing_ok=True)
        raise
    except Exception as error:
        results.add(check, {"ok": False, "error": say(error)})
    seconds = time.perf_counter() - begin
    results.add(check, {"done": True, "seconds": round(seconds, 2)})
    print(f"{seconds:6.1f} s  {check.part}, {check.name}", file=sys.stderr, flush=True)
    try:
        rates.check_gpu()
    except GpuLostError:
        results.running.unlink(missing_ok=True)
        raise


def supervise(
    checks: Sequence[Check], command: Sequence[str], clock: Clock, results: Results, longest: float = LONGEST
) -> None:
    """Start processes that run checks until all are done or the clock ends, then say what was left out."""
    idle = 0
    while clock.left() > 0 and idle < 2 and not all(results.is_done(check) for check in checks):
        known = len(results.rows)
        results.running.unlink(missing_ok=True)
        process = subprocess.Popen(command, start_new_session=True)
        reason = _watch(process, clock, results, longest)
        results.read()
        if results.running.is_file() and clock.left() > 0:
            part, name, begin = json.loads(results.running.read_text(encoding="utf-8"))
            check = Check(part, name, lambda _: iter(()))
            results.add(check, {"ok": False, "error": reason})
            results.add(check, {"done": True, "seconds": round(time.time() - begin, 2)})
        idle = idle + 1 if len(results.rows) == known else 0
    results.running.unlink(missing_ok=True)
    why = "the clock had run out" if clock.left() <= 0 else "the process ended twice before its first check"
    for check in checks:
        if not results.is_done(check):
            results.add(check, {"cut": why, "done": True})


def _watch(process: subprocess.Popen[bytes], clock: Clock, results: Results, longest: float) -> str:
    """Wait for a process, or end it when the clock or a check's time runs out; say how it ended."""
    while process.poll() is None:
        time.sleep(0.2)
        if clock.left() <= 0:
            _end(process)
            return "the clock ran out"
        try:
            _, _, begin = json.loads(results.running.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # between two checks, or just being written
            continue
        if time.time() - begin > longest:
            _end(process)
            return f"took more than {longest:g} s"
    code = process.returncode
    return (
        f"its process ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started, which are in its session."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def all_checks(setting: Setting) -> list[Check]:
    """Every check, part by part."""
    return [check for part in PARTS for check in part(setting)]


def main() -> None:
    """Run all parts, or write what is kept of a run."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.py", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT, help="folder of MNIST and of what scores it")
    parser.add_argument("--out", type=Path, default=ROOT / "build/gpu", help="folder of the results")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--parts", nargs="+", choices=list(SHARES), default=list(SHARES), metavar="PART")
    parser.add_argument(
        "--keep", action="store_true", help="copy the results in --out to benchmarks/gpu.json"
    )
    parser.add_argument("--docs", action="store_true", help="write the table of docs/gpu.md again")
    parser.add_argument("--worker", type=float, help=argparse.SUPPRESS)  # when the clock began
    given = parser.parse_args()
    if given.keep or given.docs:
        if given.keep:
            table.keep(Results(given.out).rows)
        page = table.page_with_table(table.PAGE.read_text(encoding="utf-8"), table.committed_rows())
        table.PAGE.write_text(page, encoding="utf-8")
        return
    results = Results(given.out)
    sizes = ON_GPU if given.device == "cuda" else ON_CPU
    setting = Setting(given.device, given.data, given.out, sizes)
    checks = [check for check in all_checks(setting) if check.part in given.parts]
    clock = Clock(given.worker or time.time(), given.minutes)
    if not setting.on_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before anything asks for a GPU
    elif not torch.cuda.is_available():
        parser.error("torch finds no GPU; see nvidia-smi, or name --device cpu")
    if given.worker:
        _work(checks, setting, clock, results)
        return
    if results.rows:
        parser.error(f"{results.path} has rows already; name another folder, or remove it")
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--worker", repr(clock.begin)]
    supervise(checks, command, clock, results)
    shutil.rmtree(given.out / STORES, ignore_errors=True)
    text = table.summary(results.rows, given.parts)
    (given.out / "results.md").write_text(text, encoding="utf-8")
    print(text)
    if any(table.is_fault(row) for row in results.rows):
        raise SystemExit("not all of it holds; the lines that begin with - name what doesn't")


def _work(checks: list[Check], setting: Setting, clock: Clock, results: Results) -> None:
    """Run checks in this process. Exits with GPU_LOST where another process has to go on."""
    try:
        run_checks(checks, setting, clock, results)
    except GpuLostError as error:
        print(error, file=sys.stderr)
        raise SystemExit(GPU_LOST) from error


if __name__ == "__main__":
    main()
