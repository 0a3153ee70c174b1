"""Files of recipes: what stands in them, and that DVC's `-S` changes what it names and trains that again."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.tokens import AliasToken, AnchorToken

from gan.config import Recipe, dotted_names, load_params
from pipeline import code
from tests.parameters import RECIPES, ROOT

TEXTS = {path: (ROOT / path).read_text(encoding="utf-8") for path in RECIPES}
WRITTEN: dict[Path, dict[str, dict[str, Any]]] = {
    path: YAML(typ="safe").load(text) for path, text in TEXTS.items()
}
ENTRIES = [(path, name) for path, entries in WRITTEN.items() for name in entries]
NAMED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["recipes"]


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_no_value_stands_for_another_one(path: Path) -> None:
    """DVC's `-S` on an anchored, aliased or merged mapping changes nothing, or two entries."""
    tokens = YAML().scan(TEXTS[path])
    assert not [token.start_mark.line for token in tokens if isinstance(token, (AliasToken, AnchorToken))]


def test_every_file_of_recipes_is_named_by_a_data_set_and_shown_by_dvc() -> None:
    files = {path.as_posix() for path in RECIPES}
    assert files == set(chain.from_iterable(NAMED.values()))
    assert {path.name for path in (ROOT / "recipes").iterdir()} <= {path.name for path in RECIPES}
    pipeline = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    assert set(pipeline["params"]) == {"params.yaml", *files}


@pytest.mark.parametrize(("path", "name"), ENTRIES, ids=lambda value: getattr(value, "name", value))
def test_what_an_entry_writes_is_no_default(path: Path, name: str) -> None:
    recipe = Recipe.model_validate(WRITTEN[path][name])

    def needless(model: BaseModel) -> Iterator[str]:
        for field in model.model_fields_set:
            value, default = getattr(model, field), type(model).model_fields[field]
            if not default.is_required() and value == default.get_default():
                yield field
            elif isinstance(value, BaseModel):
                yield from needless(value)

    assert list(needless(recipe)) == []


# ---- `dvc exp run -S`


def keys_of(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that is no mapping; a list is one value, as it is for DVC."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from keys_of(value, (*above, name))
        else:
            yield (*above, name)


def keys_of_entry(entry: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Paths of all values that shape a run: what a recipe says of itself is text, and no setting."""
    return list(keys_of({name: entry[name] for name in ("profile", "method", "steps")}))


WORDS = sorted(set(re.findall(r"'(\w+)'", str(Recipe.model_json_schema()))))  # all choices, and more


def replaced(tree: Any, keys: tuple[str, ...], value: Any) -> Any:
    """Copy a tree with another value at one path."""
    return tree | {keys[0]: replaced(tree[keys[0]], keys[1:], value)} if keys else value


def value_at(tree: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        tree = tree[key]
    return tree


def another(entry: dict[str, Any], keys: tuple[str, ...]) -> Any:
    """Find another value that the recipe may have at a path; None where only other keys allow one."""
    old = value_at(entry, keys)
    if isinstance(old, bool):
        choices: list[Any] = [not old]
    elif isinstance(old, (int, float)):
        choices = [old + 1, old / 2, 9 - old]
    elif isinstance(old, list):
        choices = [[0.25, 0.75], []]
    else:
        choices = [word for word in WORDS if word != old]
    for choice in choices:
        try:
            recipe = Recipe.model_validate(replaced(entry, keys, choice))
        except ValidationError:
            continue
        if set(recipe.departures) <= set(dotted_names(recipe.settings)):
            return choice
    return None


OTHERS = {  # of every key of every entry, in the order of the file
    (path, name): [(keys, another(WRITTEN[path][name], keys)) for keys in keys_of_entry(WRITTEN[path][name])]
    for path, name in ENTRIES
}


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_set_param_changes_every_written_key_and_no_other(tmp_path: Path, path: Path) -> None:
    """Each key gets a value of its own, so that one that changes with another is seen."""
    entries = WRITTEN[path]
    keys = [(name, *keys) for name, entry in entries.items() for keys in keys_of_entry(entry)]
    for chosen in (keys, keys[::2]):
        values = {key: f"other{number}" for number, key in enumerate(chosen)}
        file = tmp_path / path.name
        file.write_text(TEXTS[path], encoding="utf-8")
        apply_overrides(file, [f"{'.'.join(key)}={value}" for key, value in values.items()])
        expected: Any = entries
        for key, value in values.items():
            expected = replaced(expected, key, value)
        assert YAML(typ="safe").load(file.read_text(encoding="utf-8")) == expected


def stale_by(path: Path, name: str, keys: tuple[str, ...]) -> Iterator[str]:
    """Name the files that training depends on and that this key of an entry changes."""
    budgets = [keys[1]] if keys[0] == "steps" else WRITTEN[path][name]["steps"]
    for dataset, files in NAMED.items():
        if path.as_posix() in files:
            yield from (f"train-{dataset}-{name}-{budget}" for budget in budgets)


def test_each_changed_key_makes_the_cells_of_its_entry_stale_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One key of each entry at a time, of all entries at once."""
    monkeypatch.setattr(code, "trace_training", lambda method: {"digest": type(method).__name__})
    params = load_params(ROOT / "params.yaml")
    before = dict(code.describe_recipes(params))
    changed = 0
    for number in range(max(map(len, OTHERS.values()))):
        recipes: dict[str, dict[str, Recipe]] = {dataset: {} for dataset in NAMED}
        stale: set[str] = set()
        for (path, name), others in OTHERS.items():
            entry = WRITTEN[path][name]
            if number < len(others) and others[number][1] is not None:
                changed += 1
                entry = replaced(entry, *others[number])
                stale |= set(stale_by(path, name, others[number][0]))
            for dataset in [dataset for dataset, files in NAMED.items() if path.as_posix() in files]:
                recipes[dataset][name] = Recipe.model_validate(entry)
        after = dict(code.describe_recipes(params.model_copy(update={"recipes": recipes})))
        assert {name for name in after if after[name] != before[name]} == stale
    # Another kind of network or optimiser has other keys too.
    assert changed > 0.8 * sum(map(len, OTHERS.values()))
