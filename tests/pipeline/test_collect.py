"""What the report, the champion and the claims depend on: a study's own cells and no others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gan.config import Params
from gan.files import read_json, sha256_of
from pipeline import collect
from pipeline.stage import Cell, collected
from tests.pipeline.conftest import CELLS, ROOT


def test_the_digests_are_those_of_every_file_that_a_cell_left(
    params: Params, make_cell: Callable[..., Cell]
) -> None:
    cell = make_cell()
    collect.main(params, cell.key)
    digests = read_json(Path(f"build/collected/default/{cell.key}.json"))
    weights = f"models/{cell.key}/generator.safetensors"
    assert digests[weights] == sha256_of(Path(weights))
    left = [path for path in (*Path("models").rglob("*"), *Path("build").rglob("*")) if path.is_file()]
    apart = {cell.run, collected(params, cell)}  # which MLflow run it was is no result
    assert set(digests) == {str(path) for path in left if path not in apart}


@pytest.mark.parametrize("of", ["metrics", "training"])
def test_a_changed_file_changes_what_is_collected(
    params: Params, make_cell: Callable[..., Cell], of: str
) -> None:
    cell = make_cell()
    collect.main(params, cell.key)
    before = collected(params, cell).read_bytes()
    path: Path = getattr(cell, of)
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    collect.main(params, cell.key)
    assert collected(params, cell).read_bytes() != before


def test_a_cell_that_is_no_longer_selected_leaves_the_study_and_no_other(
    params: Params, make_cell: Callable[..., Cell]
) -> None:
    for key in CELLS:
        make_cell(key)
        collect.main(params, key)
    other = params.model_copy(update={"select": params.select.model_copy(update={"study": "other"})})
    collect.main(other, CELLS[0])
    fewer = params.model_copy(update={"select": params.select.model_copy(update={"seeds": [1]})})
    collect.main(fewer, CELLS[1])
    names = {str(path.relative_to("build/collected")) for path in Path("build/collected").rglob("*.json")}
    assert names == {f"default/{CELLS[1]}.json", f"other/{CELLS[0]}.json"}


def test_what_follows_the_cells_depends_on_no_folder_of_cells() -> None:
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name in ("champion", "report", "claims"):
        folders = [dep for dep in stages[name]["deps"] if dep != "recipes"]
        folders = [dep for dep in folders if not dep.endswith((".json", ".yaml"))]
        assert len(folders) == 1 and folders[0].startswith("build/collected/"), name
    cell = Cell("${item.dataset}", "${item.variant}", "${item.budget}", 0)
    declared = {dep.replace("${item.seed}", "0") for dep in stages["collect"]["deps"][1:]}
    assert declared == {path.as_posix() for path in cell.leaves}
