"""A small checkout with trained cells and an MLflow database, migrated once and copied for each test."""

import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from gan.card import Card, write_card
from gan.config import Params, load_params
from gan.files import write_json
from pipeline.scores.history import write_history
from pipeline.stage import Cell, find_recipe, parse_cell
from pipeline.study.params_file import replace_selection
from pipeline.tracking import database as tracking
from tests.courses import write_course
from tests.parameters import copy_parameters

ROOT = Path(__file__).resolve().parents[2]
CELLS = ("mnist_tiny-gan-smoke-0", "mnist_tiny-gan-smoke-1")
STEPS = 20


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an empty database; making it takes seconds."""
    folder = tmp_path_factory.mktemp("migrated")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow and what it imports
        tracking.prepare_database(f"sqlite:///{folder / 'mlflow.db'}")
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that counts as a checkout, as the working directory; it has no database yet."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copy(ROOT / "dvc.yaml", root)
    shutil.copytree(ROOT / "studies", root / "studies")
    lists = {"datasets": ["mnist_tiny"], "variants": ["gan"], "budgets": ["smoke"], "seeds": [0, 1]}
    path = copy_parameters(root)
    text = replace_selection(path.read_text("utf-8"), lists | {"study": "default"})
    path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


@pytest.fixture
def project(checkout: Path, migrated: Path) -> Path:
    """Return a checkout with an empty, migrated database."""
    for path in migrated.glob("mlflow.db*"):
        shutil.copy(path, checkout)
    return checkout


@pytest.fixture
def params(checkout: Path) -> Params:
    return load_params(checkout / "params.yaml")


@pytest.fixture
def make_cell(params: Params) -> Callable[..., Cell]:
    """Return a function that writes what the stages before `register` write for a cell."""

    def make(
        key: str = CELLS[0],
        *,
        weights_seed: int | None = None,
        fid: float = 40.0,
        diverged_at: int | None = None,
        validation_fid: float | None = None,
    ) -> Cell:
        cell = parse_cell(key, params)
        _write_model(cell, params, cell.seed if weights_seed is None else weights_seed, diverged_at)
        timing = {"seconds": 10.0, "images_per_second": 128.0, "steps": STEPS, "images_seen": STEPS * 64}
        write_json(cell.training, timing | {"started": "2026-01-01T00:00:00+00:00"})
        write_json(cell.run, {"run_id": None, "experiment": "gantry/mnist_tiny"})
        names = {"": fid, "_raw": fid * 1.5, "_floor": 4.0, "_ceiling": 9000.0}
        write_json(cell.metrics, {f"fid_mnistnet_1k_test{suffix}": value for suffix, value in names.items()})
        split, value = ("train", fid) if validation_fid is None else ("validation", validation_fid)
        write_course(cell, [(10, fid + 100), (STEPS, value)], split)
        return cell

    return make


def _write_model(cell: Cell, params: Params, weights_seed: int, diverged_at: int | None) -> None:
    import torch
    from PIL import Image

    from gan.generator import save_generator

    torch.manual_seed(weights_seed)
    recipe = find_recipe(cell, params)
    method = recipe.method
    image = params.datasets[cell.dataset].shape
    state = method.build(image).generator.state_dict()
    card = Card(
        format=3,
        device="cpu",
        key=cell.key,
        dataset=cell.dataset,
        variant=cell.variant,
        kind=method.kind,
        image=list(image),
        method=method,
        steps=STEPS,
        images_seen=STEPS * 64,
        seed=cell.seed,
        profile=recipe.profile,
        **params.train.model_dump(),
        data_digest="d" * 64,
        code_digest="c" * 64,
        weights_sha256=save_generator(cell.model, state),
        raw_weights_sha256=save_generator(cell.model, state, "generator_raw"),
        status="diverged" if diverged_at else "finished",
        diverged_at=diverged_at,
    )
    write_card(cell.model, card)
    rows = [
        {"step": step, "images_seen": step * 64, "loss/critic": 1.0 / step, "loss/generator": float(step)}
        for step in range(1, (diverged_at or STEPS) + 1)
    ]
    if diverged_at:
        rows[-1]["loss/critic"] = math.inf
    write_history(cell, rows)
    (cell.model / "previews").mkdir(exist_ok=True)
    for step in (10, diverged_at or 20):
        Image.new("L", (16, 16), step).save(cell.model / "previews" / f"{step:06d}.png")
