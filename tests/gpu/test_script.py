"""benchmarks/gpu.py around its checks: the clock, the fences, the tables, and what it may import."""

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import hygiene, parity, quality, rates, table
from benchmarks.gpu_parts.runs import ON_CPU, ON_GPU, Check, GpuLostError, Setting, method_of

ROOT = Path(__file__).resolve().parents[2]
CARRIED = {
    "torch",
    "torchvision",
    "numpy",
    "pydantic",
    "pydantic_core",
    "lmdb",
    "ruamel",
    "safetensors",
    "PIL",
}


def imports_of(path, *, deferred):
    """Names that a file imports; those inside functions only when `deferred`, type checkers' never."""

    def statements(tree):
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield node
            elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                continue
            elif deferred or not isinstance(node, ast.FunctionDef):
                yield from statements(node)

    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def closure(*, deferred):
    """Every name that the script imports, by itself or through others of ours."""
    seen, waiting = set(), ["benchmarks.gpu", "benchmarks.gpu_parts.packing"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            stem = ROOT.joinpath(*parts[:end])
            for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                if path.is_file():
                    waiting += imports_of(path, deferred=deferred)
    return {name.split(".")[0] for name in seen}


def test_the_script_needs_only_what_travels_with_it():
    found = closure(deferred=False) - sys.stdlib_module_names - {"gan", "benchmarks"}
    assert {"torch", "lmdb"} <= found <= CARRIED


def test_the_script_never_imports_the_pipeline():
    assert not closure(deferred=True) & {"pipeline", "dvc", "mlflow", "click", "rich", "jinja2"}


class Time:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def now():
    return Time()


@pytest.fixture
def results(tmp_path):
    return gpu.Results(tmp_path)


@pytest.fixture
def setting(tmp_path):
    return Setting("cpu", tmp_path, tmp_path, ON_CPU)


def gives(*rows):
    return lambda _: iter(rows)


def raises(error):
    def run(_):
        yield {"what": "before"}
        raise error

    return run


def test_a_check_that_raises_costs_itself_only(setting, results, now):
    checks = [
        Check("parity", "broken", raises(ValueError("the reason\nand more"))),
        Check("parity", "sound", gives({"value": 1.0})),
    ]
    gpu.run_checks(checks, setting, gpu.Clock(now(), 9.5, now), results)

    assert [row.get("error") for row in results.rows_of(checks[0])] == [None, "ValueError: the reason", None]
    assert results.rows_of(checks[1])[0]["value"] == 1.0
    assert all(results.is_done(check) for check in checks)
    assert [json.loads(line) for line in results.path.read_text().splitlines()] == results.rows
    assert not results.running.exists()


def test_what_is_done_is_not_done_again(setting, results, now):
    check = Check("parity", "once", gives({"value": 1.0}))
    for _ in range(2):
        gpu.run_checks([check], setting, gpu.Clock(now(), 9.5, now), gpu.Results(results.folder))
    assert len(gpu.Results(results.folder).rows) == 2  # its number, and that it is done


def test_a_row_that_was_being_written_when_its_process_ended_is_left_out(results):
    results.path.write_text('{"part": "bits", "check": "a"}\n{"part": "bi', encoding="utf-8")
    assert gpu.Results(results.folder).rows == [{"part": "bits", "check": "a"}]
    results.read()
    results.add(Check("bits", "b", gives()), {"value": 1.0})
    assert [row["check"] for row in gpu.Results(results.folder).rows] == ["a", "b"]


def test_nothing_begins_after_the_end(setting, results, now):
    def slow(_):
        now.seconds += 600
        yield {"value": 1.0}

    checks = [Check("parity", "slow", slow), Check("parity", "late", gives({"value": 2.0}))]
    gpu.run_checks(checks, setting, gpu.Clock(now(), 9.5, now), results)
    assert [results.is_done(check) for check in checks] == [True, False]


def test_a_part_that_has_used_its_share_waits_behind_the_others(now):
    order = []
    checks = [Check(part, name, gives()) for part, name in [("parity", "a"), ("parity", "b"), ("rates", "c")]]
    for check in gpu.in_order(checks, gpu.Clock(now(), 9.5, now)):
        order.append(check.name)
        now.seconds += 130 if check.name == "a" else 1
    assert order == ["a", "c", "b"]


def test_the_shares_of_the_parts_grow_with_the_time(now):
    clock = gpu.Clock(now(), 19.0, now)
    now.seconds += 3 * 60
    assert not clock.is_late("parity")  # ends at minute 2 of 9.5
    now.seconds += 70
    assert clock.is_late("parity")


def test_a_lost_gpu_ends_the_process_and_only_the_contender_that_lost_it_is_skipped(setting, results, now):
    asked = []

    def run(setting):
        asked.append(setting.failed)
        if "bad" not in setting.failed:
            yield {"contender": "bad", "error": "illegal address"}
            raise GpuLostError("illegal address")
        yield {"contender": "good", "value": 1.0}

    checks = [Check("rates", "case", run)]
    clock = gpu.Clock(now(), 9.5, now)
    with pytest.raises(GpuLostError):
        gpu.run_checks(checks, setting, clock, results)
    assert not results.is_done(checks[0])
    gpu.run_checks(checks, setting, clock, results)

    assert asked == [frozenset(), frozenset({"bad"})]
    assert results.is_done(checks[0])
    assert results.rows[1]["contender"] == "good"


WORKER = """
import os, sys, time
from pathlib import Path
from benchmarks import gpu
from benchmarks.gpu_parts.runs import ON_CPU, Check, Setting

def killed(_):
    os.kill(os.getpid(), 9)

def hangs(_):
    time.sleep(60)

def works(_):
    yield {"value": 1.0}

folder = Path(sys.argv[1])
checks = [Check("bits", "killed", killed), Check("bits", "hangs", hangs), Check("bits", "works", works)]
clock = gpu.Clock(time.time(), 9.5)
gpu.run_checks(checks, Setting("cpu", folder, folder, ON_CPU), clock, gpu.Results(folder))
"""


@pytest.mark.slow  # each process imports torch
def test_a_process_that_dies_or_hangs_costs_one_check(results):
    checks = [Check("bits", name, gives()) for name in ("killed", "hangs", "works")]
    command = [sys.executable, "-c", WORKER, str(results.folder)]
    gpu.supervise(checks, command, gpu.Clock(time.time(), 2.0), results, longest=3.0)

    first = [results.rows_of(check)[0] for check in checks]
    assert [row.get("error") for row in first] == [
        "its process ended by SIGKILL",
        "took more than 3 s",
        None,
    ]
    assert first[2]["value"] == 1.0


def test_what_the_clock_left_out_says_so(results, now):
    checks = [Check("bits", "never", gives())]
    gpu.supervise(checks, ["false"], gpu.Clock(now() - 600, 9.5, now), results)

    assert results.rows == [
        {"part": "bits", "check": "never", "cut": "the clock had run out", "done": True},
    ]


def test_a_process_that_never_begins_is_not_started_for_ever(results):
    checks = [Check("bits", "never", gives())]
    gpu.supervise(checks, [sys.executable, "-S", "-c", "exit(3)"], gpu.Clock(time.time(), 9.5), results)
    assert results.rows[0]["cut"] == "the process ended twice before its first check"


def test_every_part_has_a_share_and_checks_with_names_of_their_own(setting):
    for sizes in (ON_CPU, ON_GPU):
        checks = gpu.all_checks(Setting("cpu", setting.data, setting.out, sizes))
        names = [(check.part, check.name) for check in checks]
        assert len(set(names)) == len(names)
        assert {part for part, _ in names} == set(gpu.SHARES)
    assert list(gpu.SHARES.values()) == sorted(gpu.SHARES.values())
    assert gpu.SHARES[quality.PART] == gpu.MINUTES


def test_a_predicted_factor_is_of_contenders_that_are_measured():
    predicted = table.read_predictions()
    for factor in predicted["factors"]:
        assert {factor["of"], factor["to"]} <= set(rates.CONTENDERS)
    assert [step["case"] for step in predicted["steps"]] == [case.name for case in ON_GPU.profiled]


@pytest.mark.parametrize(
    "case", dict.fromkeys([*ON_GPU.rate_cases, *ON_GPU.profiled]), ids=lambda case: case.name
)
def test_every_case_of_a_gpu_has_a_recipe_that_makes_its_images(case):
    with torch.device("meta"):
        method = method_of(case)
        images = method.build(case.image).generator(torch.zeros(2, method.z_dim))
    assert images.shape == (2, *case.image)
    assert method.batch_size == case.batch


def rate(contender, value, check="dcgan 28 b64"):
    return {"part": "rates", "check": check, "contender": contender, "value": value}


def test_a_prediction_stands_beside_what_was_measured():
    rows = [rate("today", 100.0), rate("no fill", 150.0)]
    rows += [rate("today", 100.0, "gan 28 b64"), rate("no fill", 130.0, "gan 28 b64")]
    rows += [{"part": "packing", "check": "processes, eager", "value": value} for value in (10.0, 15.0, 12.0)]
    text = "\n".join(table.prediction_table(rows))

    assert "| new tensors are not filled | 28 pixels | 1.1 to 1.4 | 1.4 (1.3 to 1.5) |" in text
    assert "| new tensors are not filled | 64 pixels | 1.1 to 1.4 | not measured yet |" in text
    assert "| several cells on one GPU, throughput | 28 pixels | 2 to 4 | 1.5 |" in text


def test_the_table_of_a_run_counts_what_holds_and_names_what_does_not():
    rows = [
        {"part": "bits", "check": "dcgan 28", "what": "twice", "value": 0.0, "ok": True},
        {
            "part": "bits",
            "check": "dcgan 28",
            "what": "graphs",
            "value": 0.5,
            "unit": "difference",
            "ok": False,
        },
        {"part": "bits", "check": "gan 28", "error": "RuntimeError: the reason", "ok": False},
        {"part": "bits", "check": "lsgan 28", "cut": "the clock had run out", "done": True},
        {"part": "bits", "check": "dcgan 28", "done": True, "seconds": 3.2},
    ]
    text = table.summary(rows, ["bits"])

    assert "| bits | 3 | 1 | 1 | 1 | 1 | 3 |" in text
    assert "- bits, dcgan 28, graphs: 0.5 difference" in text
    assert "- bits, gan 28: RuntimeError: the reason" in text
    assert "- bits, lsgan 28: the clock had run out" in text


def test_the_page_has_the_predictions_and_what_the_last_run_measured():
    page = table.PAGE.read_text(encoding="utf-8")
    assert page == table.page_with_table(page, table.committed_rows()), (
        "run 'python benchmarks/gpu.py --docs'"
    )


def test_a_page_without_the_marks_is_an_error():
    with pytest.raises(ValueError, match="not 0 times"):
        table.page_with_table("no marks", [])


def test_kept_rows_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "RESULTS", tmp_path / "gpu.json")
    assert table.committed_rows() == []
    rows = [{"part": "environment", "check": "machine", "what": "CUDA", "note": "13.0"}, rate("today", 1.0)]
    table.keep(rows, tmp_path / "gpu.json")
    assert table.committed_rows() == rows
    with pytest.raises(ValueError, match="aren't of a GPU"):
        table.keep(rows[1:], tmp_path / "gpu.json")


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_every_part_has_rows_on_a_cpu_and_the_clock_leaves_nothing_out(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "benchmarks/gpu.py"),
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    rows = gpu.Results(tmp_path / "out").rows
    assert found.returncode == any(table.is_fault(row) for row in rows), found.stderr

    for part in gpu.SHARES:
        assert any(row["part"] == part and not row.get("done") for row in rows), part
    assert [row for row in rows if "cut" in row] == []
    held = [row for row in rows if row["part"] in (parity.PART, hygiene.PART)]
    assert held
    assert [row for row in held if row.get("ok") is False] == []
    assert (tmp_path / "out/results.md").read_text(encoding="utf-8") in found.stdout
    assert not (tmp_path / "out/stores").exists()
