"""Where runs are kept, what they hold after a resume, and that an outage costs training nothing."""

import math
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan.config import Params
from gan.errors import ConfigError, DataError
from pipeline.stage import Cell, parse_cell
from pipeline.tracking import database as tracking
from pipeline.tracking import live
from pipeline.tracking import run as tracked
from pipeline.tracking.lineage import Settings, describe_run, git_tags, run_params, run_tags

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's, and those of what it imports

DIGESTS = {"data_digest": "d" * 64, "code_digest": "c" * 64}


@pytest.fixture
def cell(params: Params) -> Cell:
    return parse_cell("mnist_tiny-gan-smoke-0", params)


def points(run_id: str, key: str) -> list[tuple[int, float]]:
    history = tracking.connect().get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in history)


def test_importing_the_module_loads_no_mlflow() -> None:
    code = "import sys, pipeline.tracking.database; print('mlflow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


# ---- where runs are kept


def test_the_variable_decides_where_runs_are_kept(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.test:5000")
    assert tracking.tracking_uri() == "http://example.test:5000"


def test_a_checkout_has_a_database_of_its_own_wherever_one_stands_in_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "models").mkdir()
    monkeypatch.chdir(checkout / "models")
    assert tracking.tracking_uri() == f"sqlite:///{checkout}/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:///kept/mlflow.db?timeout=30", "kept/mlflow.db"),
        ("sqlite+pysqlite:////absolute/mlflow.db", "/absolute/mlflow.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://user@host/mlflow", None),
        ("http://example.test:5000", None),
        ("databricks", None),
    ],
)
def test_the_file_of_a_uri_is_the_one_that_mlflow_opens(checkout: Path, uri: str, path: str | None) -> None:
    assert tracking.sqlite_path(uri) == (checkout / path if path else None)


def test_a_uri_that_is_none_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="not a database URI"):
        tracking.sqlite_path("sqlite:mlflow.db")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("SQLITE:///mlflow.db", "Can't load plugin"),
        ("sqlite+nope:///mlflow.db", "Can't load plugin"),
        ("sqlite:///mlflow.db?timeout=abc", "could not convert string to float"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("nodriver://user:secret@host/mlflow", "failed"),
    ],
)
def test_an_address_that_nothing_can_be_opened_at_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, uri: str, reason: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises((ConfigError, ConnectionError), match=reason) as caught, tracking.mlflow_session():
        pytest.fail("opened")
    assert isinstance(caught.value, ConfigError) == (reason != "failed")
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_a_fault_of_the_configuration(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@host/mlflow")
    for module in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match="postgresql://host/mlflow: .*psycopg"), tracking.mlflow_session():
        pytest.fail("opened")


def test_a_file_that_is_no_database_is_a_fault_of_the_data(checkout: Path) -> None:
    (checkout / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match="mlflow.db: .*file is not a database.*'gantry sync'"):
        tracking.mlflow_session().__enter__()


@pytest.mark.slow  # it runs all of MLflow's migrations
def test_the_database_of_a_newer_release_is_a_fault_of_the_data(project: Path) -> None:
    with sqlite3.connect(project / "mlflow.db") as connection:
        connection.execute("update alembic_version set version_num = 'ffffffffffff'")
    with pytest.raises(DataError, match=r"can't read this database: .*ffffffffffff.*move it away"):
        tracking.mlflow_session().__enter__()


@pytest.mark.parametrize("name", ["plain", "My Project", "My%20Project", "what?", "50%"])
def test_the_uri_of_a_checkout_names_its_file_whatever_it_is_called(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = checkout.rename(checkout.with_name(name))
    monkeypatch.chdir(root)
    assert tracking.sqlite_path(tracking.tracking_uri()) == root / "mlflow.db"


def test_outside_of_a_checkout_the_variable_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="set MLFLOW_TRACKING_URI"):
        tracking.tracking_uri()


def test_a_temporary_experiment_answers_with_the_checkout_it_came_from(checkout: Path) -> None:
    copy = checkout / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    copy.mkdir(parents=True)
    (copy / "dvc.yaml").touch()
    (copy / ".git").mkdir()
    assert tracking.checkout_root(copy) == checkout


def test_a_linked_worktree_answers_with_the_main_one(checkout: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
        subprocess.run(["git", *identity, *arguments], cwd=checkout, check=True, capture_output=True)

    git("init", "-q")
    git("add", "dvc.yaml")
    git("commit", "-qm", "one")
    git("worktree", "add", "-q", "../linked")
    assert tracking.checkout_root(checkout.parent / "linked") == checkout


def test_a_migrated_database_is_recognised_in_a_moment(project: Path) -> None:
    database = project / "mlflow.db"
    before = database.stat().st_mtime_ns
    started = time.monotonic()
    tracking.prepare_database()
    assert time.monotonic() - started < 0.5
    assert database.stat().st_mtime_ns == before


# ---- what a run says


def test_params_are_the_whole_method_with_dotted_names(cell: Cell, params: Params) -> None:
    flat = run_params(Settings.of_recipe(cell, params))
    assert flat["steps"] == "20"
    assert flat["method.kind"] == "gan"
    assert float(flat["method.generator_optimizer.lr"]) == 5e-4
    assert flat["train.precision"] == "fp32"
    assert {name.split(".")[0] for name in flat} == {"method", "train", "steps"}


def test_equal_parameters_have_equal_digests_and_others_another(cell: Cell, params: Params) -> None:
    def digest(budget: str, seed: int) -> str:
        other = Cell(cell.dataset, cell.variant, budget, seed)
        return run_tags(other, Settings.of_recipe(other, params), **DIGESTS)["params.sha256"]

    assert digest("smoke", 0) == digest("smoke", 1)
    assert digest("smoke", 0) != digest("quick", 0)


def test_a_description_begins_with_the_command_that_repeats_the_run(cell: Cell, params: Params) -> None:
    text = describe_run(cell, Settings.of_recipe(cell, params))
    assert "    dvc repro register@mnist_tiny-gan-smoke-0\n" in text.split("\n\n", 2)[1] + "\n"
    assert "[arXiv:1406.2661](https://arxiv.org/abs/1406.2661)" in text


def test_outside_of_git_a_run_has_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    assert git_tags() == {}


# ---- an open run


def test_a_run_holds_what_was_logged(project: Path, cell: Cell, params: Params) -> None:
    run = live.Run.open(cell, params, device="cpu", **DIGESTS)
    assert run.run_id is not None
    for step in (1, 2, 3):
        run.log_scalars(step, {"loss/critic": step / 2, "images_seen": step * 64})
    run.log_scalars(4, {"loss/critic": math.inf, "images_seen": 256})
    run.log_image("samples", Image.new("L", (16, 16)), 2)
    run.finish("FINISHED", {"seconds": 3.5}, {"weights_sha256": "e" * 64})

    found = tracking.connect().get_run(run.run_id)
    assert points(run.run_id, "loss/critic") == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert points(run.run_id, "progress/images_seen")[-1] == (4, 256.0)
    assert tracked.logged_image_steps(tracking.connect(), run.run_id) == {2}
    assert (found.info.status, found.info.run_name) == ("FINISHED", cell.key)
    assert found.data.metrics["results/seconds"] == 3.5
    assert found.data.params == run_params(Settings.of_recipe(cell, params))
    assert found.data.tags["weights_sha256"] == "e" * 64
    assert {"dataset", "variant", "budget", "seed", "profile", "dvc.stage"} <= found.data.tags.keys()
    assert found.inputs.dataset_inputs[0].dataset.digest == "d" * 12
    assert run.reference == {"run_id": run.run_id, "experiment": "gantry/mnist_tiny"}
    assert (run.url or "").endswith(f"/runs/{run.run_id}?workflowType=machine_learning")
    artifacts = project / "mlartifacts" / "gantry" / "mnist_tiny" / run.run_id
    assert found.info.artifact_uri == f"{artifacts.as_uri()}/artifacts"


def test_a_resumed_run_goes_on_without_double_points(project: Path, cell: Cell, params: Params) -> None:
    first = live.Run.open(cell, params, **DIGESTS)
    for step in (1, 2, 3):
        first.log_scalars(step, {"loss/critic": step})
    first.log_image("samples", Image.new("L", (16, 16)), 2)
    first.finish("KILLED")

    second = live.Run.open(cell, params, **DIGESTS, run_id=first.run_id)
    assert second.run_id is not None
    for step in (2, 3, 4):  # from a checkpoint at step 1
        second.log_scalars(step, {"loss/critic": step})
        second.log_image("samples", Image.new("L", (16, 16)), step)
    second.finish()

    assert second.run_id == first.run_id
    assert points(second.run_id, "loss/critic") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    images = tracking.connect().list_artifacts(second.run_id, "images")
    assert sum(artifact.path.endswith(".png") for artifact in images) == 3
    assert tracking.connect().get_run(second.run_id).info.status == "FINISHED"


def test_a_run_that_the_database_lost_is_opened_anew(project: Path, cell: Cell, params: Params) -> None:
    run = live.Run.open(cell, params, **DIGESTS, run_id="f" * 32)
    run.finish()
    assert run.run_id not in (None, "f" * 32)


def test_a_run_that_a_killed_process_left_open_is_closed(project: Path, cell: Cell, params: Params) -> None:
    orphan = live.Run.open(cell, params, **DIGESTS)
    assert orphan.run_id is not None
    live.Run.open(cell, params, **DIGESTS).finish()
    assert tracking.connect().get_run(orphan.run_id).info.status == "KILLED"
    orphan.finish()


# ---- outages


def use_run(cell: Cell, params: Params) -> tuple[live.Run, float]:
    started = time.monotonic()
    run = live.Run.open(cell, params, **DIGESTS)
    for step in range(1, 500):
        run.log_scalars(step, {"loss/critic": 1.0, "loss/generator": 2.0, "images_seen": step})
    run.log_image("samples", Image.new("L", (8, 8)), 1)
    run.finish("FINISHED", {"seconds": 1.0})
    return run, time.monotonic() - started


@pytest.mark.parametrize(
    "uri", ["http://user:secret@127.0.0.1:9", "nonsense://x", "sqlite:////proc/none/mlflow.db"]
)
def test_an_outage_is_one_line_and_costs_no_time(
    migrated: Path,
    cell: Cell,
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    uri: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run, seconds = use_run(cell, params)
    assert run.run_id is None
    assert seconds < 5
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: MLflow failed, training goes on")
    assert "gantry sync" in lines[0]
    assert "secret" not in lines[0]


def test_a_server_that_never_answers_holds_up_only_the_opening(
    migrated: Path, cell: Cell, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        run, seconds = use_run(cell, params)
    assert run.run_id is None
    assert seconds < 6


def test_an_outage_during_training_ends_the_logging_only(
    project: Path,
    cell: Cell,
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = live.Run.open(cell, params, **DIGESTS)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk I/O error")

    monkeypatch.setattr(tracked, "log_points", fail)
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.0)
    for step in range(1, 50):
        run.log_scalars(step, {"loss/critic": 1.0})
    run.finish()
    assert run.run_id is not None
    assert capsys.readouterr().err.count("warning: MLflow failed") == 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("disk I/O error\nTraceback: much more", "disk I/O error"),
        ("\n\n  disk I/O error\n", "disk I/O error"),
        (
            "Failures while uploading to x:\n\n##### File a #####\nno such file",
            "Failures while uploading to x: ##### File a ##### no such file",
        ),
        ("Failed:\n{\n'card.json': 'no such file'\n}", "Failed: { 'card.json': 'no such file'"),
        ("Failed:", "Failed:"),
        ("\n", "MlflowException"),
    ],
)
def test_an_error_of_several_lines_keeps_its_reason(
    migrated: Path, checkout: Path, message: str, reason: str
) -> None:
    mlflow = tracking.load_mlflow()
    with pytest.raises(ConnectionError) as caught, tracking.mlflow_session():
        raise mlflow.MlflowException(message)
    assert str(caught.value).endswith(f"mlflow.db failed: {reason}")


def test_a_warning_of_training_keeps_the_reason_too(capsys: pytest.CaptureFixture[str]) -> None:
    with live.Run("gantry/x").guarded():
        raise OSError("\nUpload failed:\ncard.json: no such file")
    assert "training goes on: Upload failed: card.json: no such file; " in capsys.readouterr().err


def test_work_that_needs_mlflow_says_that_it_is_down(
    migrated: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    session: Callable[[], Any] = tracking.mlflow_session
    with pytest.raises(ConnectionError, match="MLflow at http://127.0.0.1:9 failed"), session() as client:
        client.search_experiments()
