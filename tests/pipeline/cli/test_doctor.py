"""`gantry doctor`: which device is used and why, and what a step takes in which precision."""

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from gan import device
from gan.config import Params, load_params
from gan.errors import ConfigError
from pipeline.cli import doctor, main, speed
from pipeline.cli.doctor import Diagnosis, examine, recommend, total_ratio
from pipeline.schedule import slots
from pipeline.stage import run_stage

NO_GPU = "no CUDA-capable device is detected"


@pytest.fixture(autouse=True)
def _no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have no GPU, driver or nvidia-smi, and nothing be set."""
    for name in (slots.VISIBLE, "JOBS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slots, "version", lambda _: "2.14.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("NODE", "DRIVER"):
        monkeypatch.setattr(device, name, tmp_path / "none")


def gantry(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["doctor", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def diagnoses(result: Result) -> dict[str, dict[str, str]]:
    return {each["check"]: each for each in json.loads(result.stdout)["diagnoses"]}


def announce_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise RuntimeError(NO_GPU)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", fail)


def test_without_a_gpu_it_names_the_cpu_and_how_many_cells_it_trains(checkout, monkeypatch):
    monkeypatch.setenv("JOBS", "3")
    result = gantry()
    assert result.exit_code == 0
    assert "ok    device: cpu, since this machine has no NVIDIA GPU that torch can see" in result.stdout
    assert "ok    cells: 3 at a time (JOBS=3)" in result.stdout
    assert f"torch {torch.__version__}" in result.stdout
    assert "train.num_threads=1" in result.stdout


def test_gpus_that_the_user_hides_are_named_as_hidden(checkout, monkeypatch):
    monkeypatch.setenv(slots.VISIBLE, "")
    assert diagnoses(gantry("--json"))["device"]["says"] == "cpu, since CUDA_VISIBLE_DEVICES= hides every GPU"


def test_a_gpu_is_named_with_how_many_there_are_and_how_many_cells_share_each(checkout, monkeypatch):
    class Properties:
        total_memory = 80 * 2**30

    monkeypatch.setattr(device, "pick_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    monkeypatch.setenv(slots.VISIBLE, "0,1")
    monkeypatch.setenv("JOBS", "4")
    found = diagnoses(gantry("--json"))
    assert found["device"]["says"].endswith("2 GPUs; the first is NVIDIA H100, 80 GiB")
    assert found["cells"]["says"] == "4 at a time, 2 on each of 2 GPUs (JOBS=4)"


def test_a_gpu_that_torch_can_not_use_is_a_warning_with_what_to_do(checkout, monkeypatch, tmp_path):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(device, "NODE", tmp_path / "nvidia0")
    monkeypatch.setattr(slots, "visible_gpus", lambda: ["GPU-a"])
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = diagnoses(gantry("--json"))
    assert found["device"]["level"] == "warn"
    assert "its driver is not loaded" in found["device"]["says"]
    assert found["device"]["repair"].startswith("update the driver, or install")
    assert found["cells"]["level"] == "warn"
    assert found["cells"]["repair"] == "CUDA_VISIBLE_DEVICES= make repro"


def test_a_gpu_that_is_announced_and_does_not_answer_is_one_line_and_69(checkout, monkeypatch):
    announce_gpu(monkeypatch)
    result = gantry("--speed")
    assert result.exit_code == 69
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: the GPU doesn't answer: {NO_GPU}; see nvidia-smi")
    assert f"error device: the GPU doesn't answer: {NO_GPU}\n" in result.stdout
    assert "torch: " in result.stdout, "the other checks are made all the same"


def test_its_measurement_ends_with_one_line_and_69_too(checkout, monkeypatch, capsys, caplog):
    caplog.set_level("INFO")  # puts the level back afterwards, which the program raises
    announce_gpu(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["speed.py"])
    with pytest.raises(SystemExit) as caught:
        run_stage(speed.main, "")
    assert caught.value.code == 69
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: the GPU doesn't answer: {NO_GPU}; see nvidia-smi")


def test_a_number_of_jobs_that_is_none_is_one_line_and_78(checkout, monkeypatch):
    monkeypatch.setenv("JOBS", "many")
    result = gantry()
    assert (result.exit_code, len(result.stderr.splitlines())) == (78, 1)
    assert "error cells: JOBS is 'many'\n      give a whole number of at least 1" in result.stdout


def test_all_checks_are_made_and_the_first_error_ends_the_command():
    def check_first() -> Diagnosis:
        raise ConfigError("one is wrong; mend it")

    def check_second() -> Diagnosis:
        return Diagnosis("second", "ok", "fine")

    found, errors = examine([check_first, check_second])
    assert found == [
        Diagnosis("first", "error", "one is wrong", "mend it"),
        Diagnosis("second", "ok", "fine"),
    ]
    assert [str(error) for error in errors] == ["one is wrong; mend it"]


@pytest.mark.parametrize(
    ("flags", "is_supported", "expected"),
    [
        ("avx512f avx512_bf16 amx_bf16", True, "is fast on this processor: amx_bf16"),
        ("avx512f avx512_bf16", True, "may be faster or slower"),
        ("avx512f", True, "without instructions of its own, slowly"),
        ("avx2", False, "is slow"),
    ],
)
def test_bf16_is_as_fast_as_the_instructions_of_the_processor(
    tmp_path, monkeypatch, flags, is_supported, expected
):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags}\n", encoding="utf-8")
    monkeypatch.setattr(doctor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: is_supported, raising=False)
    assert expected in doctor.check_bf16().says


# ---- --speed


def row(fp32: float, bf16: float, steps: int = 100) -> dict[str, object]:
    return {
        "dataset": "mnist",
        "variant": "gan",
        "steps": steps,
        "ratio": fp32 / bf16,
        "seconds": {"fp32": fp32, "bf16": bf16},
        "images_per_second": {"fp32": 64 / fp32, "bf16": 64 / bf16},
    }


UNMEASURED = {"dataset": "m", "variant": "v", "steps": 9, "ratio": None, "seconds": None}


def test_precisions_take_turns_and_the_first_step_of_each_does_not_count():
    done, clock = [], [0.0]
    times = {"fp32": iter([9.0, 1.0, 1.0, 4.0]), "bf16": iter([9.0, 2.0, 2.0, 2.0])}

    def step(name: str) -> float:
        done.append(name)
        clock[0] += (seconds := next(times[name]))
        return seconds

    steps = {name: lambda name=name: step(name) for name in times}
    assert speed.take_turns(steps, seconds=25.0, now=lambda: clock[0]) == {"fp32": 1.0, "bf16": 2.0}
    assert done == ["fp32", "bf16"] * 4


def test_each_precision_has_a_step_though_no_time_is_left():
    steps = {"fp32": lambda: 2.0, "bf16": lambda: 3.0}
    assert speed.take_turns(steps, seconds=-1.0) == {"fp32": 2.0, "bf16": 3.0}


def test_the_ratio_of_a_selection_counts_each_recipe_by_its_steps():
    assert total_ratio([row(2.0, 1.0, steps=300), row(1.0, 2.0, steps=100), UNMEASURED]) == 700 / 500
    assert total_ratio([UNMEASURED]) is None


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(3.0, 2.0)], "bf16 is faster, 1.50 times for the selection: set train.precision: bf16"),
        ([row(2.0, 3.0)], "fp32 is faster, 1.50 times for the selection: set train.precision: fp32"),
        ([row(1.02, 1.0)], "the selection takes as long in bf16 as in fp32 (1.02 times as fast)"),
        ([UNMEASURED], "nothing was measured"),
    ],
)
def test_what_is_recommended_is_the_precision_that_is_faster_for_the_selection(rows, expected):
    assert recommend(rows).startswith(expected)


def test_the_selected_recipes_are_measured_and_what_has_no_time_left_is_said(params: Params, monkeypatch):
    threads = torch.get_num_threads()
    (measured,) = speed.measure(params, seconds=0.1)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    assert (measured["dataset"], measured["variant"]) == ("mnist_tiny", "gan")
    assert measured["steps"] == 2 * params.recipes["mnist_tiny"]["gan"].steps["smoke"]  # two seeds
    batch, seconds = params.recipes["mnist_tiny"]["gan"].method.batch_size, measured["seconds"]
    assert measured["ratio"] == seconds["fp32"] / seconds["bf16"] > 0
    assert measured["images_per_second"] == {name: batch / taken for name, taken in seconds.items()}
    (late,) = speed.measure(params, seconds=0.0)
    assert (late["ratio"], late["seconds"], late["images_per_second"]) == (None, None, None)


def test_speeds_are_a_table_with_a_recommendation_and_what_quality_runs_say(checkout, monkeypatch):
    before = (checkout / "params.yaml").read_bytes()
    rows = [row(3.0, 2.0), UNMEASURED | {"images_per_second": None}]
    monkeypatch.setattr(doctor, "measure_speed", lambda: rows)
    said = gantry("--speed").stdout
    assert "mnist/gan" in said and "1.50" in said and "m/v" in said and "no time was left" in said
    assert "bf16 is faster" in said and "FID 188 (180, 181, 202), 195 in fp32 (180, 201, 203)" in said
    answer = json.loads(gantry("--speed", "--json").stdout)
    assert answer["speed"]["recipes"] == rows
    assert (checkout / "params.yaml").read_bytes() == before
    assert load_params(checkout / "params.yaml").train.precision == "fp32"


@pytest.mark.slow  # torch is imported once more
def test_the_whole_command_measures_in_a_process_of_its_own(checkout, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    answer = json.loads(gantry("--speed", "--json").stdout)
    assert [each["variant"] for each in answer["speed"]["recipes"]] == ["gan"]
    assert "the selection" in answer["speed"]["recommendation"]
