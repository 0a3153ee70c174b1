"""docs/ancestors.md: every feature of the ancestors has a row, and what a row names is there."""

import re
from pathlib import Path

from gan.config import load_params
from pipeline.cli import main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/ancestors.md").read_text(encoding="utf-8")


def test_each_of_the_47_features_has_one_row() -> None:
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", TEXT, re.M)] == list(range(1, 48))
    assert all(line.count("|") == 4 for line in TEXT.splitlines() if re.match(r"\| \d", line))


def test_files_that_a_row_leads_to_are_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target


def test_commands_and_entries_that_a_row_names_are_there() -> None:
    commands = set(re.findall(r"gantry ([a-z]+)", TEXT))
    assert commands <= set(main.commands)
    recipes = load_params(ROOT / "params.yaml").recipes
    entries = {name for entries in recipes.values() for name in entries}
    assert set(re.findall(r"`([a-z_]+_seed)`", TEXT)) <= entries
    makes = re.findall(r"make ([a-z]+)`", TEXT)
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in makes)
