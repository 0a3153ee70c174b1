"""`make repro` over the committed pipeline, its stages replaced by stand-ins that write their outs at once.

DVC, params.yaml, dvc.yaml, the stage `code` and the scheduler are the real ones.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from gan.config import load_params
from pipeline.schedule import local, repro, watch
from pipeline.schedule.slots import Slots
from pipeline.stage import Cell, selected_cells
from tests.parameters import DIGITS, copy_parameters

ROOT = Path(__file__).resolve().parents[3]
STAND_IN = """
import os, sys
from pathlib import Path
stage, argument, *outs = sys.argv[1:]
with Path("ran.txt").open("a") as log:
    log.write(f"{stage} {argument}\\n")
if os.environ.get("STAND_IN_FAILS") == f"{stage} {argument}":
    sys.exit("this cell was told to fail")
for out in map(Path, outs):
    if out.suffix:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"{stage} {argument}")
    else:
        out.mkdir(parents=True, exist_ok=True)
        (out / "content").write_text(f"{stage} {argument}")
"""


@pytest.fixture
def study(tmp_path, migrated):
    """Return a copy of the sources with stand-ins for all stages but `code`, and a small selection."""
    root = tmp_path / "study"
    for name in ("gan", "pipeline"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    (root / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    shutil.copy(ROOT / ".dvcignore", root)
    (root / "data").mkdir()
    shutil.copy(ROOT / "data/manifest.yaml", root / "data")
    for path in migrated.glob("mlflow.db*"):
        shutil.copy(path, root)
    yaml = YAML()
    pipeline = yaml.load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in pipeline["stages"].items():
        if name == "code":
            continue
        outs = [
            next(iter(out)) if isinstance(out, dict) else out
            for out in [*stage.get("outs", []), *stage.get("metrics", [])]
        ]
        argument = stage["cmd"].split(" ", 3)[3] if stage["cmd"].count(" ") > 2 else "-"
        stage["cmd"] = f"python stand_in.py {name} {argument} {' '.join(outs)}"
    with (root / "dvc.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(pipeline, stream)
    (root / "stand_in.py").write_text(STAND_IN, encoding="utf-8")
    copy_parameters(root)
    edit(root / "params.yaml", "variants: [", "variants: [gan, wgan]  # [")
    return root


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def make(root, **environment):
    """Run the scheduler; return what it said and the stages that ran."""
    log = root / "ran.txt"
    log.unlink(missing_ok=True)
    answer = subprocess.run(
        [sys.executable, "-m", "pipeline.schedule"],
        cwd=root,
        env={**os.environ, "JOBS": "2", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return answer, log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def chain(*cells):
    return {
        f"{stage} {cell}"
        for stage in ("train", "trajectory", "sample", "evaluate", "register", "collect")
        for cell in cells
    }


GAN, WGAN = "mnist_tiny-gan-quick-0", "mnist_tiny-wgan-quick-0"
SHARED = {f"{stage} mnist_tiny" for stage in ("download", "convert", "contact", "evaluator", "reference")}
LAST = {"champion -", "report -"}
WGAN_STEPS = "    critic_steps: 2\n    generator_optimizer: {kind: rmsprop, lr"  # in the recipe for digits


@pytest.mark.slow  # DVC is started some thirty times
@pytest.mark.timeout(600)
def test_a_study_is_run_once_and_each_change_runs_what_depends_on_it_and_nothing_else(study):
    answer, ran = make(study)
    assert answer.returncode == 0, answer.stdout
    assert set(ran) == SHARED | chain(GAN, WGAN) | LAST
    assert len(ran) == len(set(ran)), "a stage ran twice"

    answer, ran = make(study)
    assert (answer.returncode, ran) == (0, [])
    assert "nothing to do" in answer.stdout

    edit(study / DIGITS, WGAN_STEPS, WGAN_STEPS.replace("2", "3"))
    _, ran = make(study)
    assert ran == [f"train {WGAN}"]  # the stand-in's model is the same, so nothing follows

    edit(
        study / DIGITS,
        "quick: 4400, full: 6400}\n  departures: {batch",
        "quick: 4400, full: 6401}\n  departures: {batch",
    )
    answer, ran = make(study)
    assert (answer.returncode, ran) == (0, [])  # another budget's steps

    edit(study / DIGITS, 'networks: "ancestor: 128, relu, none"', 'networks: "ancestor: 128"')
    _, ran = make(study)
    assert ran == ["report -"]  # which shows what a recipe departs from

    edit(
        study / "gan/objectives/losses.py", "def wasserstein_estimate", "# a remark\ndef wasserstein_estimate"
    )
    answer, ran = make(study)
    assert (answer.returncode, ran) == (0, [])

    edit(study / "gan/variants/gan.py", "class GANParams", "THRESHOLD = 1\n\n\nclass GANParams")
    _, ran = make(study)
    assert ran == [f"train {GAN}"]

    edit(study / "params.yaml", "  mnist: 10000\n", "  mnist: 9000\n")  # not in the selection
    answer, ran = make(study)
    assert (answer.returncode, ran) == (0, [])

    edit(study / "params.yaml", "  mnist_tiny: 1000\n", "  mnist_tiny: 900\n")
    _, ran = make(study)
    scored = {f"{stage} {cell}" for stage in ("sample", "evaluate") for cell in (GAN, WGAN)}
    assert set(ran) - LAST == {"reference mnist_tiny"} | scored

    edit(study / "params.yaml", "seeds: [0]", "seeds: [0, 1]")
    _, ran = make(study)
    again = {f"collect {cell}" for cell in (GAN, WGAN)}  # with the selection, which cells a study has
    assert set(ran) - LAST == chain(GAN.replace("-0", "-1"), WGAN.replace("-0", "-1")) | again


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_cells_of_another_study_make_nothing_stale_and_neither_does_their_absence(study):
    assert make(study)[0].returncode == 0
    edit(study / "params.yaml", "seeds: [0]", "seeds: [1]")
    edit(study / "params.yaml", "study: default", "study: other")
    _, ran = make(study)
    assert set(ran) == chain(GAN.replace("-0", "-1"), WGAN.replace("-0", "-1")) | LAST

    edit(study / "params.yaml", "seeds: [1]", "seeds: [0]")
    edit(study / "params.yaml", "study: other", "study: default")
    for foreign in ("there", "gone"):
        status = subprocess.run(
            local.dvc("status", "--json"), cwd=study, capture_output=True, text=True, check=True
        )
        assert json.loads(status.stdout) == {}, foreign
        for name in ("models", "build/metrics", "build/samples", "build/collected"):
            for path in [*(study / name).glob("*-1*"), *(study / name).glob("other")]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cell_that_fails_is_named_with_its_log_and_the_others_are_finished(study):
    answer, ran = make(study, STAND_IN_FAILS=f"train {GAN}")
    assert answer.returncode == 1
    assert f"error: {GAN} failed; its log is build/logs/{GAN}.log" in answer.stdout
    assert f"{GAN}: failed in train" in answer.stdout
    assert "this cell was told to fail" in answer.stdout
    assert chain(WGAN) <= set(ran) and not LAST & set(ran)
    answer, ran = make(study)  # the same command goes on
    assert answer.returncode == 0, answer.stdout
    assert set(ran) == chain(GAN) | LAST


@pytest.fixture
def asked(study, monkeypatch):
    """Make the study up to date, in DVC's stead; return what counts how often DVC was asked."""
    monkeypatch.chdir(study)
    counted = []
    monkeypatch.setattr(repro, "stale_stages", lambda: counted.append("asked") or {})
    return counted


@pytest.mark.parametrize(
    "changed",
    [
        "params.yaml",
        "recipes/digits.yaml",
        "gan/objectives/losses.py",
        "dvc.lock",
        "build/metrics/a.json",
        "build/reports/b",
    ],
)
def test_dvc_is_asked_again_only_when_a_file_has_changed(study, asked, changed):
    for _ in range(3):
        assert repro.repro(Slots(1)) == 0
        (study / "gan/__pycache__").mkdir(exist_ok=True)
        (study / "gan/__pycache__/losses.pyc").write_text(str(asked))
    assert asked == ["asked"]
    (study / changed).parent.mkdir(parents=True, exist_ok=True)
    with (study / changed).open("a") as stream:
        stream.write("\n")
    repro.repro(Slots(1))
    assert asked == ["asked"] * 2
    (study / changed).unlink()
    if changed not in ("params.yaml", "recipes/digits.yaml"):
        repro.repro(Slots(1))
        assert asked == ["asked"] * 3


@pytest.mark.parametrize("edited", [False, True])
def test_a_run_stands_for_up_to_date_unless_sources_were_edited_meanwhile(study, monkeypatch, edited):
    def last(*_, **__):
        (study / "dvc.lock").write_text("new")
        if edited:
            edit(study / "params.yaml", "seeds: [0]", "seeds: [1]")
        return subprocess.CompletedProcess([], 0)

    monkeypatch.chdir(study)
    monkeypatch.setattr(repro, "stale_stages", lambda: {"report": []})
    monkeypatch.setattr(repro, "run_stale", lambda *_: True)
    monkeypatch.setattr(subprocess, "run", last)
    assert repro.repro(Slots(1)) == 0
    assert repro.UP_TO_DATE.exists() != edited


def test_a_fault_in_params_stops_it_before_any_stage(study):
    edit(study / DIGITS, WGAN_STEPS, WGAN_STEPS.replace("critic_steps", "critc_steps"))
    answer, ran = make(study)
    assert (answer.returncode, ran) == (78, [])
    (line,) = answer.stdout.splitlines()
    assert "recipes/digits.yaml:" in line and "wgan.method.critc_steps" in line


def test_where_another_dvc_holds_a_lock_a_stage_waits_and_tries_again(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    script = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[-1]); n = len(p.read_text()) if p.exists() else 0; "
        "p.write_text('x' * (n + 1)); n < 2 and sys.exit(\"'data' is busy, it is being blocked by\")"
    )
    monkeypatch.setattr(local, "dvc", lambda *_: [sys.executable, "-c", script, str(calls)])
    monkeypatch.setattr(local.time, "sleep", lambda _: None)
    assert local.run(["train@x"], tmp_path / "log", {}) == 0
    assert calls.read_text() == "xxx"


def test_no_try_follows_one_that_has_begun_a_stage(tmp_path, monkeypatch):
    script = (
        "import sys, pathlib; pathlib.Path(sys.argv[-1]).open('a').write('x'); "
        "print(\"Running stage 'train@x':\"); sys.exit('Unable to acquire lock')"
    )
    monkeypatch.setattr(local, "dvc", lambda *_: [sys.executable, "-c", script, str(tmp_path / "calls")])
    monkeypatch.setattr(local.time, "sleep", lambda _: None)
    assert local.run(["train@x"], tmp_path / "log", {}) == 1
    assert (tmp_path / "calls").read_text() == "x"


def test_the_stages_of_a_cell_find_the_variables_of_their_slot(tmp_path, monkeypatch):
    script = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['GANTRY_MIRROR'])"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("GANTRY_MIRROR", "/files")
    monkeypatch.setattr(local, "dvc", lambda *_: [sys.executable, "-c", script])
    assert local.run(["train@x"], tmp_path / "log", {"CUDA_VISIBLE_DEVICES": "1"}) == 0
    assert (tmp_path / "log").read_text() == "1 /files\n"


@pytest.mark.slow
def test_a_stage_runs_once_though_another_dvc_holds_the_lock_when_it_ends(tmp_path, monkeypatch):
    """DVC gives its lock away while a command runs, and waited 3 s to have it back."""
    hold = "import time, zc.lockfile; lock = zc.lockfile.LockFile('.dvc/tmp/lock'); time.sleep(6)"
    (tmp_path / "hold.py").write_text(hold, encoding="utf-8")
    command = f"echo ran >> ran.txt; {sys.executable} hold.py > held.txt 2>&1 & sleep 2; echo made > out.txt"
    stage = {"cmd": command, "outs": ["out.txt"]}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"slow": stage}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    subprocess.run(local.dvc("init", "--no-scm", "-q"), check=True)
    assert local.run(["slow"], tmp_path / "log", {}) == 0
    assert (tmp_path / "held.txt").read_text(encoding="utf-8") == ""
    assert (tmp_path / "ran.txt").read_text(encoding="utf-8") == "ran\n"


def test_a_runner_that_is_not_there_is_refused_before_any_stage(study):
    answer, ran = make(study, GANTRY_RUNNER="slurm")
    assert (answer.returncode, ran) == (78, [])
    assert answer.stdout == "error: GANTRY_RUNNER is 'slurm'; there are local\n"


def test_cells_run_where_the_runner_takes_them(tmp_path, monkeypatch):
    taken = []

    class Elsewhere:
        def run(self, stages, log, variables):
            taken.append((list(stages), variables))
            log.write_text("Running stage 'train@x':\nno room there\n", encoding="utf-8")
            return int("mnist_tiny-gan-quick-1" in log.name)

    monkeypatch.chdir(tmp_path)
    cells = [Cell("mnist_tiny", "gan", "quick", seed) for seed in (0, 1)]
    stages = {cell: [f"train@{cell.key}", f"sample@{cell.key}"] for cell in cells}
    failed = watch.run_cells(stages, Elsewhere(), Slots(1, ["GPU-a"]), Console(stderr=True))
    assert failed == [cells[1]]
    assert taken == [(chain, {"CUDA_VISIBLE_DEVICES": "GPU-a"}) for chain in stages.values()]
    assert watch.last_lines(cells[1], 1) == ["no room there"]


@pytest.mark.slow  # DVC is started some twenty times
@pytest.mark.timeout(600)
def test_what_a_claim_lacks_is_run_though_params_select_something_else(study):
    before = (study / "params.yaml").read_bytes()
    program = (
        "from pipeline.claims.budget import *; from pipeline.claims.claim import *; "
        "run_lacking([find_claim('K7', read_claims(read_params()))], read_params(), 5)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=study,
        env={**os.environ, "JOBS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == ""
    cells = [f"mnist_tiny-wgan_k4-quick-{seed}" for seed in range(3)]
    assert set((study / "ran.txt").read_text(encoding="utf-8").splitlines()) == SHARED | chain(*cells)
    assert (study / "params.yaml").read_bytes() == before


def test_the_names_of_the_selected_stages_are_those_of_dvc():
    answer = subprocess.run(
        [*local.dvc("stage", "list", "--name-only")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = answer.stdout.split()
    for cell in selected_cells(load_params(ROOT / "params.yaml")):
        assert {f"{stage}@{cell.key}" for stage in repro.CELL_STAGES} <= set(names)
    assert {name.split("@")[0] for name in names} >= {*repro.SHARED_STAGES, "champion", "report"}
