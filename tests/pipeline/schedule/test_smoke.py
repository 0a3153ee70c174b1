"""What `make smoke` selects in its throw-away copy. The run itself takes minutes and is a job of its own."""

from pathlib import Path

import pytest

from gan.config import load_params
from pipeline.schedule.smoke import VARIANTS, select_smoke
from pipeline.stage import find_recipe, selected_cells
from pipeline.study.selection import select_study
from tests.parameters import copy_parameters

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def copied(tmp_path):
    """A copy of params.yaml that may be written to."""
    return copy_parameters(tmp_path)


def test_three_cells_take_the_place_of_the_study(copied):
    assert select_smoke(copied) == 3
    params = load_params(copied)
    assert [cell.key for cell in selected_cells(params)] == [
        f"mnist_tiny-{variant}-smoke-0" for variant in VARIANTS
    ]
    assert params.evaluator.epochs == 1


def test_nothing_else_changes(copied):
    before = load_params(copied)
    select_smoke(copied)
    after = load_params(copied)
    assert after.recipes == before.recipes
    assert after.train == before.train
    assert after.evaluator.model_copy(update={"epochs": before.evaluator.epochs}) == before.evaluator


@pytest.mark.parametrize("study", sorted(path.stem for path in (ROOT / "studies").glob("*.yaml")))
def test_the_selected_study_does_not_matter(copied, monkeypatch, study):
    monkeypatch.chdir(ROOT)
    expected = copied.with_name("default.yaml")
    expected.write_text(copied.read_text(encoding="utf-8"), encoding="utf-8")
    select_smoke(expected)
    select_study(study, copied)
    select_smoke(copied)
    assert load_params(copied) == load_params(expected)


def test_no_two_cells_go_the_same_way(copied):
    select_smoke(copied)
    params = load_params(copied)
    methods = [find_recipe(cell, params).method for cell in selected_cells(params)]
    assert [method.networks.kind for method in methods] == ["dcgan", "began", "mlp"]
    assert hasattr(methods[0], "penalty_weight")
    assert hasattr(methods[1], "k_rate")


def test_an_evaluator_laid_out_otherwise_is_changed_too(copied):
    text = copied.read_text(encoding="utf-8")
    copied.write_text(text.replace("  epochs: 12", "  epochs:  12"), encoding="utf-8")
    select_smoke(copied)
    assert load_params(copied).evaluator.epochs == 1
