"""Runs the whole pipeline for a few steps in a throw-away copy: `make smoke`.

The copy has its own DVC cache, MLflow database and checkpoints, so that the checkout stays as it is; only
the report is kept, in build/smoke/.

It takes one cell for each way through the pipeline; the tests of tests/variants train every entry.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gan.config import load_params
from gan.errors import ConfigError, GanError
from pipeline import environment
from pipeline.stage import PARAMS, Cell, report_error, report_folder, selected_cells
from pipeline.study.params_file import replace_selection, replace_value

REPRO = [sys.executable, "-m", "pipeline.schedule"]
GANTRY = [sys.executable, "-m", "pipeline.cli"]
KEPT = Path("build/smoke")
RECIPES = Path("recipes/digits.yaml")
# Of each study the data set and its variants, longest first, since cells run side by side: a game with state
# of its own and a perceptron in grey; a convolutional critic under a gradient penalty in colour.
GREY, COLOUR = "default", "colour"
STUDIES = {GREY: ("mnist_tiny", ["began", "gan"]), COLOUR: ("stacked_tiny", ["wgan_gp"])}
SCORED = 500  # more than the 384 features of stacked digits
# What a run leaves in a checkout, by name; the rest is copied.
LEFT_BEHIND = (
    ".git", ".venv", ".ckpt", "__pycache__", ".*_cache", "*.egg-info", "build", "lmdb", "raw",
    "*-*-*-[0-9]*", "mlflow.db*", "mlartifacts", "cache", "tmp", "config.local",
)  # fmt: skip


def main() -> None:
    """Run the checks one after the other; the first that fails ends it, with exit code 1."""
    try:
        environment.check()
        with tempfile.TemporaryDirectory(prefix="gantry-smoke-") as folder:
            check_copy(Path(folder) / "copy")
    except (GanError, OSError) as error:
        raise SystemExit(report_error(error)) from error
    except subprocess.CalledProcessError as error:
        print(f"error: smoke: {' '.join(error.cmd[1:])} ended with {error.returncode}", file=sys.stderr)
        raise SystemExit(1) from error


def check_copy(copy: Path) -> None:
    """Copy the checkout, cut its study down and see that the pipeline does what it promises."""
    began = time.monotonic()

    def say(claim: str) -> None:
        print(f"smoke, {time.monotonic() - began:.0f} s: {claim}", flush=True)

    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    (copy / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    shorten(copy / PARAMS)
    for study, (dataset, variants) in STUDIES.items():
        say(f"{dataset}, {', '.join(variants)}: from download to report")
        select(study, copy / PARAMS)
        run(REPRO, copy)
        report = copy / report_folder(load_params(copy / PARAMS))
        rows = json.loads((report / "leaderboard.json").read_text(encoding="utf-8"))
        found = sorted(row["variant"] for row in rows)
        require(found == sorted(variants), f"the leaderboard has rows of {', '.join(found) or 'nothing'}")
    say("back in the first study there is nothing to do")
    select(GREY, copy / PARAMS)
    require("nothing to do" in run(REPRO, copy), "going back to a study that was up to date ran a stage")
    say("another learning rate makes that cell stale, and no other")
    first = selected_cells(load_params(copy / PARAMS))[0]
    require_only_stale(copy, first)
    say("a cell that registers again adds no version")
    before = run([*GANTRY, "models", "--json"], copy)
    run([sys.executable, "-m", "pipeline.register", first.key], copy)
    require(run([*GANTRY, "models", "--json"], copy) == before, "the registry has changed")
    say("a registered generator is sampled in an empty directory")
    empty = copy.parent / "empty"
    empty.mkdir()
    grids = []
    for name in ("one.png", "two.png"):
        run(
            [*GANTRY, "sample", "--model", f"{first.model_name}@latest", "-n", "16", "--out", name],
            empty,
            database=copy / "mlflow.db",
        )
        grids.append((empty / name).read_bytes())
    require(grids[0] == grids[1], "equal seeds gave unequal samples")
    shutil.rmtree(KEPT, ignore_errors=True)
    shutil.copytree(report, KEPT)
    say(f"all is well; report: {KEPT / 'index.html'}")


def shorten(path: Path) -> None:
    """Give the evaluator one epoch, and score fewer images."""
    text = replace_value(path.read_text(encoding="utf-8"), ("evaluator", "epochs"), "1")
    for keys in (("samples", "mnist_tiny"), ("samples", "stacked_tiny"), ("trajectory", "samples")):
        text = replace_value(text, keys, str(SCORED))
    path.write_text(text, encoding="utf-8")


def select(study: str, path: Path) -> None:
    """Select one of the smoke studies, whatever is selected."""
    dataset, variants = STUDIES[study]
    selection = {
        "datasets": [dataset],
        "variants": variants,
        "budgets": ["smoke"],
        "seeds": [0],
        "study": study,
        "claims": [],
    }
    path.write_text(replace_selection(path.read_text(encoding="utf-8"), selection), encoding="utf-8")


def require_only_stale(copy: Path, cell: Cell) -> None:
    """Change the rate of one cell's generator, ask DVC what is stale, and change it back."""
    path = copy / RECIPES
    committed = path.read_text(encoding="utf-8")
    rate = (cell.variant, "method", "generator_optimizer", "lr")
    path.write_text(replace_value(committed, rate, "1.0e-6"), encoding="utf-8")
    run([sys.executable, "-m", "dvc", "repro", "code"], copy)  # writes each recipe's method
    stale = json.loads(run([sys.executable, "-m", "dvc", "status", "--json"], copy))
    path.write_text(committed, encoding="utf-8")
    run([sys.executable, "-m", "dvc", "repro", "code"], copy)
    require(set(stale) == {f"train@{cell.key}"}, f"stale are {sorted(stale)}, expected train@{cell.key}")


def run(command: list[str], folder: Path, database: Path | None = None) -> str:
    """Run a command in a folder, without the caller's databases and checkpoints; return what it printed."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MLFLOW_TRACKING_URI", environment.CHECKPOINT_DIR)
    }
    if database is not None:
        variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"
    return subprocess.run(
        command, cwd=folder, env=variables, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def require(claim: bool, otherwise: str) -> None:
    """Raise ConfigError, naming what was found, when a claim doesn't hold."""
    if not claim:
        raise ConfigError(f"smoke: {otherwise}")


if __name__ == "__main__":
    main()
