from pathlib import Path

import pytest

from gan.config import load_params
from gan.errors import ConfigError
from pipeline.study.departures import read_departures

ROOT = Path(__file__).parents[3]
TEXT = """
anchors:
  nets: &nets {width: 3, depth: 2}  # somebody's
recipes:
  digits: &digits
    plain:
      method: &plain
        rate: 1  # paper: 2
        steps: 5   # paper: 6
        networks: &own
          width: 4  # paper: 8
    heir:  # a relative
      method:
        <<: *plain
        rate: 2
        networks: {<<: *own, depth: 1}  # paper: deeper
    borrowed:
      method: {networks: *nets}
  letters: *digits
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(TEXT)
    return tmp_path / "params.yaml"


def test_a_departure_is_the_comment_behind_a_value(path: Path) -> None:
    found = {"rate": "paper: 2", "steps": "paper: 6", "networks.width": "paper: 8"}
    assert read_departures(path, "digits", "plain") == found
    assert read_departures(path, "letters", "plain") == found  # the same entry, by an alias


def test_a_merged_value_brings_its_comment_and_one_set_anew_does_not(path: Path) -> None:
    assert read_departures(path, "digits", "heir") == {
        "": "a relative",
        "steps": "paper: 6",
        "networks": "paper: deeper",
        "networks.width": "paper: 8",
    }


def test_a_comment_on_an_anchor_is_no_departure(path: Path) -> None:
    assert read_departures(path, "digits", "borrowed") == {}


def test_a_recipe_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recipes\.digits\.stranger\.method"):
        read_departures(path, "digits", "stranger")


def test_departures_bear_names_that_the_recipes_have() -> None:
    path = ROOT / "params.yaml"
    for dataset in ("mnist_tiny", "celeba"):
        for variant, recipe in load_params(path).recipes[dataset].items():
            dump = recipe.method.model_dump(mode="json", by_alias=True)
            for name in read_departures(path, dataset, variant):
                held = dump
                for part in filter(None, name.split(".")):
                    held = held[part]
