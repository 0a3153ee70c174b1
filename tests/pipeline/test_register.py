"""Equal weights are one version, damaged ones none; a lost database is filled again, once."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gan.card import read_card
from gan.config import Params
from gan.errors import ConfigError, DataError
from gan.files import read_json
from pipeline import champion, register
from pipeline.stage import Cell, find_recipe
from pipeline.tracking import champions, live
from pipeline.tracking import database as tracking
from pipeline.tracking import models as registry
from pipeline.tracking import run as tracked
from pipeline.tracking.lineage import Settings, describe_run, run_params
from tests.courses import write_course

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's, and those of what it imports

MakeCell = Callable[..., Cell]
GAN, OTHER = "mnist_tiny-gan-smoke-0", "mnist_tiny-gan-smoke-1"


def versions() -> list[tuple[str, int, str]]:
    with tracking.mlflow_session() as client:
        return [(version.model, version.version, version.key) for version in registry.list_models(client)]


def test_registering_twice_leaves_one_version(project: Path, params: Params, make_cell: MakeCell) -> None:
    cell = make_cell()
    register.main(params, cell.key)
    first = cell.registered.read_bytes()
    register.main(params, cell.key)

    assert versions() == [("mnist_tiny-gan", 1, GAN)]
    assert cell.registered.read_bytes() == first
    assert json.loads(first) == {
        "status": "finished",
        "model": "mnist_tiny-gan",
        "weights_sha256": read_json(cell.model / "card.json")["weights_sha256"],
    }
    with tracking.mlflow_session() as client:
        assert registry.find_model(client, "mnist_tiny-gan", "latest").metrics == {
            "fid_mnistnet_1k_test": 40.0
        }


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "sqlite:///mlflow.db?timeout=30"])
def test_a_relative_uri_with_options_is_as_good_as_any(
    project: Path, params: Params, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    register.main(params, make_cell().key)
    with tracking.mlflow_session(create=False) as client:
        assert [version.key for version in registry.list_models(client)] == [GAN]
    assert (project / "mlartifacts" / "gantry" / "mnist_tiny").is_dir()


@pytest.mark.parametrize("name", ["My%20Project", "what? #1; ü%"])
def test_a_checkout_may_have_signs_in_its_name_that_uris_give_a_meaning(
    project: Path,
    params: Params,
    make_cell: MakeCell,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    cell = make_cell()
    root = project.rename(project.with_name(name))
    monkeypatch.chdir(root)
    before = {path.name for path in tmp_path.iterdir()}
    register.main(params, cell.key)
    with tracking.mlflow_session(create=False) as client:
        (version,) = registry.list_models(client)
        registry.download(client, version, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - before == {"card.json", "generator.safetensors"}
    assert (root / "mlartifacts" / "gantry" / "mnist_tiny").is_dir()


@pytest.mark.parametrize("linked", ["files", "folder"])
def test_a_model_that_dvc_keeps_as_links_is_registered_as_files(
    project: Path, params: Params, make_cell: MakeCell, tmp_path: Path, linked: str
) -> None:
    cell = make_cell()
    files = [path for path in cell.model.rglob("*") if path.is_file()]
    results = [cell.training, cell.run, cell.metrics, cell.history]
    links = results + (files if linked == "files" else [cell.model])
    for number, path in enumerate(dict.fromkeys(links)):
        path.symlink_to(shutil.move(path, tmp_path / f"{number:032x}"))
    register.main(params, cell.key)
    with tracking.mlflow_session() as client:
        (version,) = registry.list_models(client)
        registry.download(client, version, tmp_path / "downloaded")
    kept = list((project / "mlartifacts").rglob("*"))
    assert {"card.json", "history.csv", "generator.safetensors", "samples.png"} <= {
        path.name for path in kept
    }
    assert not [path for path in kept if path.is_symlink()]


def test_other_weights_are_another_version_and_the_latest(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    for key in (GAN, OTHER):
        register.main(params, make_cell(key).key)
    assert versions() == [("mnist_tiny-gan", 2, OTHER), ("mnist_tiny-gan", 1, GAN)]
    with tracking.mlflow_session() as client:
        assert registry.find_model(client, "mnist_tiny-gan", "latest").version == 2


def test_a_registered_model_holds_no_pickle_and_no_folder_of_this_machine(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    register.main(params, make_cell().key)
    model = next((project / "mlartifacts" / "gantry" / "mnist_tiny" / "models").iterdir()) / "artifacts"
    names = {path.name for path in model.rglob("*") if path.is_file()}
    assert {"MLmodel", "serving.py", "generator.py", "card.json", "generator.safetensors"} <= names
    assert not {name for name in names if name.endswith((".pkl", ".pt", ".pth", ".pyc", ".joblib"))}
    assert str(Path(register.__file__).parent) not in (model / "MLmodel").read_text()
    requirements = (model / "requirements.txt").read_text().split()
    assert all("==" in line and "+" not in line for line in requirements)


def test_one_flipped_byte_is_registered_nowhere(project: Path, params: Params, make_cell: MakeCell) -> None:
    cell = make_cell()
    weights = cell.model / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match="sha256 is .*, the card says"):
        register.main(params, cell.key)
    assert versions() == []
    assert not cell.registered.exists()


@pytest.mark.parametrize(
    "interrupted",
    ["create_logged_model", "finalize_logged_model", "create_registered_model", "create_model_version"],
)
def test_an_interrupted_registration_is_completed_by_the_next(
    project: Path, params: Params, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    cell = make_cell()
    client = tracking.load_mlflow().MlflowClient

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client, interrupted, die)
        with pytest.raises(KeyboardInterrupt):
            register.main(params, cell.key)
    register.main(params, cell.key)
    assert versions() == [("mnist_tiny-gan", 1, GAN)]


def test_a_run_made_again_from_files_is_whole_and_stays_one(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    cell = make_cell()
    register.main(params, cell.key)
    register.main(params, cell.key)
    with tracking.mlflow_session() as client:
        runs = client.search_runs([tracked.find_experiment(client, cell)])
        assert len(runs) == 1
        run = runs[0]
        history = client.get_metric_history(run.info.run_id, "loss/critic")
        scores = client.get_metric_history(run.info.run_id, "results/fid_mnistnet_1k_test")
        images = tracked.logged_image_steps(client, run.info.run_id)
        files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    start = 1767225600000  # 2026-01-01T00:00:00Z, 20 steps in 10 s
    assert [(p.step, p.value, p.timestamp - start) for p in sorted(history, key=lambda p: p.step)] == [
        (step, pytest.approx(1 / step), step * 500) for step in range(1, 21)
    ]
    assert [score.value for score in scores] == [40.0]
    assert images == {10, 20}
    assert files == {"images", "card.json", "history.csv", "samples.png"}
    assert run.data.tags["restored"] == "true"
    assert run.data.tags["device"] == "cpu"
    assert (run.info.status, run.info.end_time - start) == ("FINISHED", 10_000)
    assert "results/fid_mnistnet_1k_test_floor" not in run.data.metrics


def test_what_is_written_after_training_is_the_card_s_whatever_params_say_by_then(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    cell = make_cell()
    trained = find_recipe(cell, params)
    lr = trained.method.model_dump()["generator_optimizer"]["lr"]
    recipes = {name: dict(entries) for name, entries in params.recipes.items()}
    method = trained.method.model_dump(by_alias=True)
    method["generator_optimizer"]["lr"] = lr * 10
    changed = type(trained.method).model_validate(method)
    update = {"method": changed, "profile": "claim", "steps": {"smoke": 7}}
    recipes[cell.dataset][cell.variant] = trained.model_copy(update=update)
    edited = params.model_copy(update={"recipes": recipes})

    register.main(edited, cell.key)

    with tracking.mlflow_session() as client:
        (run,) = client.search_runs([tracked.find_experiment(client, cell)])
        version = client.get_model_version("mnist_tiny-gan", "1")
    assert float(run.data.params["method.generator_optimizer.lr"]) == lr
    assert run.data.params == run_params(Settings.of_recipe(cell, params))
    assert run.data.tags["profile"] == trained.profile
    expected = describe_run(cell, Settings.of_recipe(cell, params))
    assert run.data.tags["mlflow.note.content"] == expected
    assert version.description.startswith(expected)


def test_a_card_of_format_1_is_published_without_what_it_does_not_know(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    cell = make_cell()
    written = read_json(cell.model / "card.json") | {"format": 1}
    for name in ("profile", "log_points", "previews"):
        del written[name]
    (cell.model / "card.json").write_text(json.dumps(written))
    register.main(params, cell.key)
    with tracking.mlflow_session() as client:
        (run,) = client.search_runs([tracked.find_experiment(client, cell)])
    assert "profile" not in run.data.tags
    assert not {"train.log_points", "train.previews"} & run.data.params.keys()
    assert "Budget smoke, batches of" in run.data.tags["mlflow.note.content"]


def test_a_run_with_gaps_gets_the_missing_points_only(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    cell = make_cell()
    run = live.Run.open(cell, params, data_digest="d" * 64, code_digest="c" * 64)
    for step in range(1, 8):
        run.log_scalars(step, {"images_seen": step * 64, "loss/critic": 1 / step, "loss/generator": step})
    run.finish("KILLED")
    cell.run.write_text(json.dumps(run.reference))

    register.main(params, cell.key)

    assert run.run_id is not None
    with tracking.mlflow_session() as client:
        history = client.get_metric_history(run.run_id, "loss/critic")
        found = client.get_run(run.run_id)
    assert sorted(point.step for point in history) == list(range(1, 21))
    assert found.info.status == "FINISHED"
    assert "restored" not in found.data.tags
    assert found.data.tags["weights_sha256"] == read_json(cell.model / "card.json")["weights_sha256"]


def test_the_champion_is_the_cell_with_the_lowest_fid(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    for key, fid in ((GAN, 50.0), (OTHER, 40.0)):
        register.main(params, make_cell(key, fid=fid).key)
    champion.main(params, "")
    champion.main(params, "")
    chosen = read_json(Path("build/champions/default.json"))["mnist_tiny"]
    assert (chosen["key"], chosen["model"]) == (OTHER, "mnist_tiny-gan")
    assert (chosen["metric"], chosen["value"]) == ("fid_mnistnet_1k_test", 40.0)
    with tracking.mlflow_session() as client:
        best = registry.find_model(client, "mnist_tiny", "champion")
        assert [version.version for version in registry.list_versions(client, "mnist_tiny")] == [1]
    assert (best.key, best.aliases) == (OTHER, ["champion", "latest"])


def test_a_new_champion_takes_the_alias(project: Path, params: Params, make_cell: MakeCell) -> None:
    cells = [make_cell(GAN, fid=40.0), make_cell(OTHER, fid=50.0)]
    for cell in cells:
        register.main(params, cell.key)
    champion.main(params, "")
    cells[1].metrics.write_text(json.dumps({"fid_mnistnet_1k_test": 30.0}))
    champion.main(params, "")
    with tracking.mlflow_session() as client:
        found = registry.list_versions(client, "mnist_tiny")
    assert [(version.key, "champion" in version.aliases) for version in found] == [
        (OTHER, True),
        (GAN, False),
    ]


def test_equal_scores_crown_the_first_key(project: Path, params: Params, make_cell: MakeCell) -> None:
    cells = [make_cell(OTHER), make_cell(GAN)]
    for listed in (cells, cells[::-1]):
        assert champions.choose_champions(listed, params)["mnist_tiny"]["key"] == GAN


def test_with_a_validation_split_the_champion_is_chosen_on_it_by_the_last_step(
    params: Params, make_cell: MakeCell
) -> None:
    cells = [make_cell(GAN, fid=40.0, validation_fid=61.0), make_cell(OTHER, fid=50.0, validation_fid=60.0)]
    chosen = champions.choose_champions(cells, params)["mnist_tiny"]
    assert chosen["key"] == OTHER
    assert (chosen["metric"], chosen["value"]) == ("fid_mnistnet_1k_validation", 60.0)

    write_course(cells[0], [(10, 1.0), (20, 61.0)], "validation")  # its best step is not its last
    assert champions.choose_champions(cells, params)["mnist_tiny"]["key"] == OTHER


# ---- runs that diverged


def test_a_diverged_run_is_completed_and_registers_nothing(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    cell = make_cell(diverged_at=12)
    register.main(params, cell.key)
    register.main(params, cell.key)

    assert versions() == []
    digest = read_json(cell.model / "card.json")["weights_sha256"]
    assert read_json(cell.registered) == {"status": "diverged", "model": None, "weights_sha256": digest}
    with tracking.mlflow_session() as client:
        (run,) = client.search_runs([tracked.find_experiment(client, cell)])
        losses = client.get_metric_history(run.info.run_id, "loss/critic")
    assert run.info.status == "FAILED"
    assert (run.data.tags["status"], run.data.tags["diverged_at"]) == ("diverged", "12")
    assert "diverged at step 12** of 20" in run.data.tags["mlflow.note.content"]
    assert "gantry sample" not in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["results/fid_mnistnet_1k_test"] == 40.0
    start = 1767225600000  # the 12 steps took all of the 10 s
    assert (run.info.end_time - start, sorted(p.step for p in losses)) == (10_000, list(range(1, 12)))


def test_a_run_that_training_closed_as_diverged_stays_failed(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    cell = make_cell(diverged_at=12)
    run = live.Run.open(cell, params, data_digest="d" * 64, code_digest="c" * 64)
    run.log_scalars(1, {"images_seen": 64, "loss/critic": 1.0, "loss/generator": 1.0})
    run.complete(read_card(cell.model))
    cell.run.write_text(json.dumps(run.reference))
    with tracking.mlflow_session() as client:
        before = client.get_run(str(run.run_id))
    assert (before.info.status, before.data.tags["status"]) == ("FAILED", "diverged")

    register.main(params, cell.key)

    with tracking.mlflow_session() as client:
        (after,) = client.search_runs([tracked.find_experiment(client, cell)])
    assert (after.info.run_id, after.info.status) == (run.run_id, "FAILED")
    assert after.info.end_time == before.info.end_time


def test_a_diverged_cell_is_no_champion_however_good_its_score(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    for key, fid, diverged_at in ((GAN, 10.0, 12), (OTHER, 40.0, None)):
        register.main(params, make_cell(key, fid=fid, diverged_at=diverged_at).key)
    champion.main(params, "")
    assert read_json(Path("build/champions/default.json"))["mnist_tiny"]["key"] == OTHER


def test_where_every_run_diverged_there_is_no_champion_and_that_is_said(
    project: Path, params: Params, make_cell: MakeCell, caplog: pytest.LogCaptureFixture
) -> None:
    for key in (GAN, OTHER):
        register.main(params, make_cell(key, diverged_at=12).key)
    champion.main(params, "")
    assert read_json(Path("build/champions/default.json")) == {}
    assert "no champion of mnist_tiny: every run on it diverged" in caplog.text
    assert versions() == []


@pytest.mark.parametrize(
    "scores", ["{}", "{", "[]", '{"fid_mnistnet_1k_train": 1.0}', '{"fid_mnistnet_1k_test_raw": 1.0}']
)
def test_scores_that_decide_nothing_are_data_errors(
    project: Path, params: Params, make_cell: MakeCell, scores: str
) -> None:
    cell = make_cell()
    cell.metrics.write_text(scores)
    with pytest.raises(DataError, match="dvc repro evaluate@mnist_tiny-gan-smoke-0"):
        champions.choose_champions([cell], params)


@pytest.mark.parametrize("lost", ["mlartifacts", "generator.safetensors", "card.json", "cut off"])
def test_files_that_the_registry_lost_are_uploaded_again_to_the_same_version(
    project: Path, params: Params, make_cell: MakeCell, tmp_path: Path, lost: str
) -> None:
    cell = make_cell()
    register.main(params, cell.key)
    register.main(params, make_cell(OTHER, fid=90.0).key)
    champion.main(params, "")
    if lost == "mlartifacts":
        shutil.rmtree(project / "mlartifacts")
    for stored in (project / "mlartifacts").rglob("artifacts/generator.safetensors"):
        if lost == "cut off":
            stored.write_bytes(stored.read_bytes()[:-1])
        else:
            (stored.parent / lost).unlink()

    register.main(params, cell.key)

    assert versions() == [("mnist_tiny", 1, GAN), ("mnist_tiny-gan", 2, OTHER), ("mnist_tiny-gan", 1, GAN)]
    with tracking.mlflow_session() as client:
        for name, reference in (("mnist_tiny-gan", "1"), ("mnist_tiny", "champion")):
            folder = tmp_path / name
            folder.mkdir()
            registry.download(client, registry.find_model(client, name, reference), folder)


@pytest.mark.parametrize("how", ["moved", "copied", "moved without files"])
def test_a_checkout_that_was_moved_keeps_its_models_and_leaves_the_old_place_alone(
    project: Path,
    params: Params,
    make_cell: MakeCell,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    how: str,
) -> None:
    register.main(params, make_cell().key)
    old, new = project, project.with_name("My %20 new")
    if how == "copied":
        shutil.copytree(old, new)
    else:
        old.rename(new)
    monkeypatch.chdir(new)
    tracking.load_mlflow().tracking._tracking_service.utils._artifact_repos_cache.clear()  # a new process
    if how == "moved without files":
        shutil.rmtree("mlartifacts")
        register.main(params, GAN)
    before = sorted(old.rglob("*"))
    with tracking.mlflow_session() as client:
        registry.download(client, registry.find_model(client, "mnist_tiny-gan", "latest"), tmp_path / "a")
    register.main(params, make_cell(OTHER).key)
    with tracking.mlflow_session() as client:
        for run in client.search_runs([client.get_experiment_by_name("gantry/mnist_tiny").experiment_id]):
            assert run.info.artifact_uri.startswith((new / "mlartifacts").as_uri())
            files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
            assert files == {"images", "card.json", "history.csv", "samples.png"}
    with closing(sqlite3.connect("mlflow.db")) as connection:
        assert (old / "mlartifacts").as_uri() not in "".join(connection.iterdump())
    assert sorted(old.rglob("*")) == before
    assert versions() == [("mnist_tiny-gan", 2, OTHER), ("mnist_tiny-gan", 1, GAN)]


def test_a_database_taken_away_from_its_files_still_finds_them(
    project: Path, params: Params, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register.main(params, make_cell().key)
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy('mlflow.db', tmp_path / 'kept')}")
    with tracking.mlflow_session() as client:
        version = registry.find_model(client, "mnist_tiny-gan", "1")
        registry.download(client, version, tmp_path / "a")
        shutil.rmtree(project / "mlartifacts")
        with pytest.raises(DataError, match=r"card.json can't be read: .*; 'gantry sync' where it was train"):
            registry.download(client, version, tmp_path / "b")
    assert not (tmp_path / "kept" / "mlartifacts").exists()


def test_the_latest_is_the_newest_that_was_registered_here(
    project: Path, params: Params, make_cell: MakeCell, tmp_path: Path
) -> None:
    register.main(params, make_cell().key)
    with tracking.mlflow_session() as client:
        client.create_model_version("mnist_tiny-gan", source=(project / "elsewhere").as_uri())
        assert registry.find_model(client, "mnist_tiny-gan", "latest").version == 1
        foreign = registry.find_model(client, "mnist_tiny-gan", "2")
        with pytest.raises(DataError, match="not registered by 'gantry'.*use mnist_tiny-gan@latest"):
            registry.download(client, foreign, tmp_path)


def test_tags_that_people_set_are_no_scores_and_break_nothing(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    cell = make_cell()
    register.main(params, cell.key)
    with tracking.mlflow_session() as client:
        for name in ("is_approved", "recall_checked", "kid_mnistnet_1k_test"):
            client.set_model_version_tag("mnist_tiny-gan", "1", name, "yes")
        client.set_model_version_tag("mnist_tiny-gan", "1", "is_2", "3.5")
        (version,) = registry.list_models(client)
    assert version.metrics == {"fid_mnistnet_1k_test": 40.0}
    register.main(params, cell.key)
    assert len(versions()) == 1


@pytest.mark.parametrize("text", ["nan", "-inf", "1e999", "yes", ""])
def test_a_tag_is_a_score_only_if_it_is_a_finite_number(text: str) -> None:
    tags = {"fid_mnistnet_1k_test": text, "kid_mnistnet_1k_test": "0.5"}
    assert registry._metrics_of(tags) == {"kid_mnistnet_1k_test": 0.5}


def test_names_and_aliases_that_people_give_hide_no_version(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    for key in (GAN, OTHER):
        register.main(params, make_cell(key).key)
    with tracking.mlflow_session() as client:
        client.set_registered_model_alias("mnist_tiny-gan", "1", "2")
        assert registry.find_model(client, "mnist_tiny-gan", "1").version == 1
        for name in ("bob's", 'the "best"', "100%\\"):
            client.create_registered_model(name)
            client.create_model_version(name, source=(project / "elsewhere").as_uri())
        listed = [(version.model, version.version) for version in registry.list_models(client)]
    ours = [("mnist_tiny-gan", 2), ("mnist_tiny-gan", 1)]
    assert listed == [("100%\\", 1), ("bob's", 1), *ours, ('the "best"', 1)]


def test_an_unknown_model_says_what_there_is(project: Path, params: Params, make_cell: MakeCell) -> None:
    register.main(params, make_cell().key)
    with tracking.mlflow_session() as client:
        for name, reference in (("nothing", "latest"), ("mnist_tiny-gan", "7"), ("a' or 1=1", "latest")):
            with pytest.raises(ConfigError, match=r"there are mnist_tiny-gan@1\|latest"):
                registry.find_model(client, name, reference)


def test_a_version_changed_in_the_registry_is_refused(
    project: Path, params: Params, make_cell: MakeCell, tmp_path: Path
) -> None:
    register.main(params, make_cell().key)
    stored = next((project / "mlartifacts").rglob("generator.safetensors"))
    with tracking.mlflow_session() as client:
        version = registry.find_model(client, "mnist_tiny-gan", "latest")
        content = bytearray(stored.read_bytes())
        content[-1] ^= 1
        stored.write_bytes(content)
        with pytest.raises(DataError, match="sha256 is"):
            registry.download(client, version, tmp_path / "a")
        stored.unlink()
        os.symlink("/etc/hostname", stored)
        with pytest.raises(DataError):
            registry.download(client, version, tmp_path / "b")


def test_weights_swapped_with_their_card_disagree_with_the_registry(
    project: Path, params: Params, make_cell: MakeCell, tmp_path: Path
) -> None:
    register.main(params, make_cell().key)
    other = make_cell(OTHER)
    stored = next((project / "mlartifacts").rglob("generator.safetensors")).parent
    for name in ("card.json", "generator.safetensors"):
        (stored / name).write_bytes((other.model / name).read_bytes())
    with tracking.mlflow_session() as client:
        version = registry.find_model(client, "mnist_tiny-gan", "latest")
        with pytest.raises(DataError, match="its card says"):
            registry.download(client, version, tmp_path / "a")


def test_the_served_model_draws_what_the_command_draws(
    project: Path, params: Params, make_cell: MakeCell
) -> None:
    from gan.generator import draw_images, load_generator

    cell = make_cell()
    register.main(params, cell.key)
    mlflow = tracking.load_mlflow()
    served = mlflow.pyfunc.load_model("models:/mnist_tiny-gan/1")
    images = served.predict({"n": [4]}, params={"seed": 3})
    assert (images == draw_images(*load_generator(cell.model), 4, 3).numpy()).all()
    with pytest.raises(mlflow.MlflowException, match="n must be one number from 1 to 1024"):
        served.predict({"n": [5000]})
