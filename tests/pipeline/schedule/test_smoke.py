"""What `make smoke` selects in its throw-away copy. The run itself takes minutes and is a job of its own."""

from pathlib import Path

import pytest

from gan.config import load_params
from pipeline.schedule.smoke import COLOUR, GREY, SCORED, STUDIES, select, shorten
from pipeline.stage import Cell, find_recipe, selected_cells
from pipeline.study.selection import select_study
from tests.parameters import copy_parameters

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def copied(tmp_path):
    """A copy of params.yaml that may be written to."""
    return copy_parameters(tmp_path)


@pytest.mark.parametrize("study", STUDIES)
def test_a_few_cells_take_the_place_of_the_study(copied, study):
    select(study, copied)
    dataset, variants = STUDIES[study]
    keys = [cell.key for cell in selected_cells(load_params(copied))]
    assert keys == [f"{dataset}-{variant}-smoke-0" for variant in variants]


def test_nothing_else_changes(copied):
    before = load_params(copied)
    shorten(copied)
    select(COLOUR, copied)
    after = load_params(copied)
    assert after.evaluator.epochs == 1
    assert after.samples == before.samples | dict.fromkeys(("mnist_tiny", "stacked_tiny"), SCORED)
    assert after.trajectory.samples == SCORED
    assert after.recipes == before.recipes
    assert after.train == before.train
    assert after.evaluator.model_copy(update={"epochs": before.evaluator.epochs}) == before.evaluator


@pytest.mark.parametrize("study", sorted(path.stem for path in (ROOT / "studies").glob("*.yaml")))
def test_the_selected_study_does_not_matter(copied, monkeypatch, study):
    monkeypatch.chdir(ROOT)
    expected = copied.with_name("default.yaml")
    expected.write_text(copied.read_text(encoding="utf-8"), encoding="utf-8")
    select(GREY, expected)
    select_study(study, copied)
    select(GREY, copied)
    assert load_params(copied) == load_params(expected)


def test_no_two_cells_go_the_same_way(copied):
    params = load_params(copied)
    cells = [Cell(dataset, name, "smoke", 0) for dataset, names in STUDIES.values() for name in names]
    methods = [find_recipe(cell, params).method for cell in cells]
    assert [method.networks.kind for method in methods] == ["began", "mlp", "dcgan"]
    assert hasattr(methods[0], "k_rate")
    assert hasattr(methods[2], "penalty_weight")
    assert [params.datasets[cell.dataset].shape.channels for cell in cells] == [1, 1, 3]


def test_an_evaluator_laid_out_otherwise_is_changed_too(copied):
    text = copied.read_text(encoding="utf-8")
    copied.write_text(text.replace("  epochs: 12", "  epochs:  12"), encoding="utf-8")
    shorten(copied)
    assert load_params(copied).evaluator.epochs == 1
