"""The stage `train`: what it writes, and that no interruption changes it."""

import csv
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from gan.card import read_card
from gan.config import load_params
from gan.contract import ImageShape
from gan.data.store_writer import write_store
from gan.errors import TrainingDiverged
from gan.files import read_json, write_json
from gan.generator import load_generator, load_snapshot, snapshot_steps
from gan.training import new_train_state
from pipeline import train
from pipeline.stage import find_recipe, parse_cell, run_stage
from pipeline.training.checkpoints import folder_of
from pipeline.training.loop import held_out_batches
from tests.parameters import DIGITS

ROOT = Path(__file__).resolve().parents[2]
KEY = "mnist_tiny-gan-smoke-0"
SMALL = "batch_size: 8\n    networks: {kind: mlp, hidden: 16"
BUDGET = "critic_lr: 2.0e-4}]\n  steps: {smoke: "  # of the entry `gan` alone
NO_SERVER = "http://127.0.0.1:9"  # the discard port: refused at once


@pytest.fixture
def workplace(checkout: Path, tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout with converted data and a hash of the code; MLflow is out of reach."""
    (checkout / "data/lmdb").mkdir(parents=True)
    for suffix in (".lmdb", ".json"):
        shutil.copy(tiny_store.with_suffix(suffix), checkout / "data/lmdb" / f"mnist_tiny{suffix}")
    write_json(checkout / "build/code/train-mnist_tiny-gan-smoke.json", {"digest": "c" * 64})
    rewrite(checkout, "batch_size: 64\n    networks: {kind: mlp, hidden: 256", SMALL)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NO_SERVER)
    return checkout


def rewrite(checkout: Path, old: str, new: str) -> None:
    path = checkout / DIGITS
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")


def start(checkout: Path, *, checkpoint_seconds: str = "15") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", KEY],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(ROOT), "GANTRY_CHECKPOINT_SECONDS": checkpoint_seconds},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_checkpoint(checkout: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not list(checkout.glob(".ckpt/*/step-*.pt")):
        assert process.poll() is None, "it ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cell_is_trained_and_everything_it_promises_is_written(workplace):
    train.main(load_params(workplace / "params.yaml"), KEY)
    card = read_card(Path("models") / KEY)
    assert (card.steps, card.images_seen, card.kind, card.seed) == (20, 160, "gan", 0)
    assert (card.format, card.device) == (3, "cpu")
    with Path("models", KEY, "history.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, 21))
    assert [int(row["images_seen"]) for row in rows] == list(range(8, 168, 8))
    assert {"loss/critic", "loss/generator"} <= rows[0].keys()
    assert len(list(Path("models", KEY, "previews").glob("*.png"))) == 11  # the untrained one first
    steps = [0, *range(2, 22, 2)]
    assert snapshot_steps(Path("models") / KEY) == steps
    final, _ = load_generator(Path("models") / KEY)
    states = [load_snapshot(Path("models") / KEY, step)[0].state_dict() for step in (0, 20)]
    assert all(torch.equal(states[1][name], tensor) for name, tensor in final.state_dict().items())
    assert not all(torch.equal(states[0][name], tensor) for name, tensor in final.state_dict().items())
    timing = read_json(Path("build/training") / f"{KEY}.json")
    assert timing["steps"] == 20 and timing["seconds"] > 0
    assert list(timing["snapshot_seconds"]) == [str(step) for step in steps]
    assert list(timing["snapshot_seconds"].values()) == sorted(timing["snapshot_seconds"].values())
    assert read_json(Path("build/runs") / f"{KEY}.json")["experiment"] == "gantry/mnist_tiny"
    assert not list(Path(".ckpt").glob("*/step-*"))  # a finished run needs none


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"train": 8, "validation": 8, "test": 8}, "validation"),
        ({"train": 8, "test": 8}, "test"),
        ({"train": 8, "validation": 2, "test": 8}, "test"),  # two are too few for a batch
        ({"train": 8, "test": 2}, None),
    ],
)
def test_curves_of_held_out_images_are_of_the_validation_split_or_else_of_the_test_split(
    checkout, counts, expected
):
    shades = {"train": 0, "validation": 100, "test": 200}
    shown = [shades[split] for split, count in counts.items() for _ in range(count)]
    ends = np.cumsum(list(counts.values())).tolist()
    Path("data/lmdb").mkdir(parents=True)
    write_store(
        Path("data/lmdb/mnist_tiny.lmdb"),
        ((np.full((1, 28, 28), shade, np.uint8), 0) for shade in shown),
        image=ImageShape(1, 28, 28),
        splits={split: (end - counts[split], end) for split, end in zip(counts, ends, strict=True)},
        recipe={},
    )
    params = load_params(checkout / "params.yaml")
    cell = parse_cell(KEY, params)
    method = find_recipe(cell, params).method.model_copy(update={"batch_size": 4})
    state = new_train_state(
        method, ImageShape(1, 28, 28), params.train, steps=1, seed=0, device=torch.device("cpu")
    )
    batches = held_out_batches(cell, state, start=0)
    if expected is None:
        assert batches is None
        return
    for batch in islice(batches, 5):  # beyond the end of an epoch
        assert batch.unique().item() == pytest.approx(shades[expected] / 127.5 - 1, abs=1e-6)


def test_two_fresh_runs_give_equal_folders_and_an_outage_of_mlflow_changes_nothing(
    workplace, migrated, monkeypatch
):
    params = load_params(workplace / "params.yaml")
    train.main(params, KEY)
    first = files_of(Path("models") / KEY)
    for path in migrated.glob("mlflow.db*"):
        shutil.copy(path, workplace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'mlflow.db'}")
    train.main(params, KEY)
    assert files_of(Path("models") / KEY) == first
    assert read_json(Path("build/runs") / f"{KEY}.json")["run_id"] is not None


def test_a_killed_run_goes_on_and_ends_with_the_weights_of_an_uninterrupted_one(workplace):
    rewrite(workplace, f"{BUDGET}20", f"{BUDGET}600")
    uninterrupted = start(workplace)
    uninterrupted.communicate()
    assert uninterrupted.returncode == 0
    whole = files_of(workplace / "models" / KEY)
    shutil.rmtree(workplace / "models")
    process = start(workplace, checkpoint_seconds="0.1")
    wait_for_checkpoint(workplace, process)
    process.kill()
    process.communicate()
    assert not (workplace / "models").exists()
    process = start(workplace)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert "resuming at step" in said
    assert files_of(workplace / "models" / KEY) == whole


def test_sigterm_saves_at_the_next_step_and_is_no_success(workplace):
    rewrite(workplace, f"{BUDGET}20", f"{BUDGET}100000")
    process = start(workplace, checkpoint_seconds="0.1")
    wait_for_checkpoint(workplace, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143, said
    assert "stopped and saved at step" in said
    assert not (workplace / "models").exists()
    rewrite(workplace, f"{BUDGET}100000", f"{BUDGET}5")  # other parameters start fresh
    process = start(workplace)
    _, said = process.communicate()
    assert process.returncode == 0 and "resuming" not in said


def test_a_second_trainer_of_the_same_cell_is_turned_away(workplace):
    params = load_params(workplace / "params.yaml")
    rewrite(workplace, f"{BUDGET}20", f"{BUDGET}100000")
    process = start(workplace, checkpoint_seconds="0.1")
    try:
        wait_for_checkpoint(workplace, process)
        second = start(workplace)
        _, said = second.communicate(timeout=60)
        assert second.returncode == 75, said
        assert f"held by process {process.pid}" in said
    finally:
        process.kill()
        process.communicate()
    train.main(params, KEY)  # and the lock ends with its holder


def test_divergence_is_said_with_its_step_and_writes_no_model(workplace):
    text = DIGITS.read_text(encoding="utf-8")
    DIGITS.write_text(text.replace("lr: 5.0e-4", "lr: 1.0e+38"), encoding="utf-8")
    with pytest.raises(TrainingDiverged, match=r"is (nan|inf|-inf) at step \d+"):
        train.main(load_params(Path("params.yaml")), KEY)
    assert not Path("models").exists()


def test_a_recorded_divergence_ends_well_with_the_last_finite_weights(workplace):
    def diverge_late():
        # A rate that is finite until the last quarter of the run, then as large as a float can be.
        text = DIGITS.read_text(encoding="utf-8")
        late = (
            "schedule: [{from: 0.75, generator_lr: 1.0e+38, critic_lr: 1.0e+38}]\n    on_divergence: record"
        )
        text = text.replace("schedule: [{from: 0.3, generator_lr: 2.0e-4, critic_lr: 2.0e-4}]", late, 1)
        DIGITS.write_text(text, encoding="utf-8")
        return load_params(Path("params.yaml"))

    params = diverge_late()
    train.main(params, KEY)
    card = read_card(Path("models") / KEY)
    assert card.status == "diverged"
    assert card.steps == 20 and 15 < card.diverged_at <= 20
    with Path("models", KEY, "history.csv").open(encoding="utf-8") as stream:
        rows = [
            {name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)
        ]
    assert [int(row["step"]) for row in rows] == list(range(1, card.diverged_at + 1))
    assert all(math.isfinite(value) for row in rows[:-1] for value in row.values())
    assert read_json(Path("build/training") / f"{KEY}.json")["seconds"] > 0
    first = files_of(Path("models") / KEY)
    train.main(params, KEY)
    assert files_of(Path("models") / KEY) == first


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on_where_they_were(workplace):
    rewrite(workplace, f"{BUDGET}20", f"{BUDGET}3000")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GANTRY_CHECKPOINT_SECONDS": "0.1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*launch, "-m", "pipeline.train", KEY],
        cwd=workplace,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_checkpoint(workplace, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.count("stopped and saved at step") == 1, said
    assert not (workplace / "models").exists()
    alone = start(workplace)
    _, said = alone.communicate(timeout=100)
    assert alone.returncode == 0, said
    assert "resuming at step" in said
    card = read_card(workplace / "models" / KEY)
    assert (card.steps, card.images_seen) == (3000, 3000 * 8)


def test_a_wrong_cell_is_one_line_and_exit_code_78(workplace):
    answer = subprocess.run(
        [sys.executable, "-m", "pipeline.train", "mnist_tiny-gna-smoke-0"],
        cwd=workplace,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 78
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ") and "no variant 'gna'" in line


def test_a_run_of_the_other_device_is_another_run_and_a_line_says_where_it_is(tmp_path, caplog):
    caplog.set_level("INFO")
    on_cpu = folder_of(tmp_path, "cpu", seed=0)
    on_cpu.mkdir()
    (on_cpu / "step-000000001-ab.pt").touch()
    assert folder_of(tmp_path, "cpu", seed=0) == on_cpu
    assert folder_of(tmp_path, "cuda", seed=1) != on_cpu
    assert caplog.messages == []
    assert folder_of(tmp_path, "cuda", seed=0) != on_cpu
    (line,) = caplog.messages
    assert line.startswith(f"{on_cpu} has checkpoints of this run on cpu; they are left alone")


def test_a_gpu_that_is_announced_and_does_not_answer_ends_with_one_line_and_69(
    workplace, monkeypatch, capsys
):
    def fail() -> int:
        raise RuntimeError("no CUDA-capable device is detected")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", fail)
    monkeypatch.setattr(sys, "argv", ["train.py", KEY])
    with pytest.raises(SystemExit) as caught:
        run_stage(train.main)
    assert caught.value.code == 69
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: the GPU doesn't answer: no CUDA-capable device is detected; see nvidia-smi"
    )
