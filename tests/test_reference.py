"""docs/reference.md names what the code has, all of it and nothing else; docs/extending.md what exists."""

import ast
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import pytest

from gan import errors
from gan.config import load_params
from pipeline import environment, stage
from pipeline.claims.claim import read_claims
from pipeline.stage import Cell, Dataset

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
EXTENDING = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
INDEX = (ROOT / "docs/README.md").read_text(encoding="utf-8")
OURS = re.compile(r"\bGANTRY_[A-Z][A-Z_]*\b")


def _section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def _first_cells(section: str) -> list[str]:
    return [row.strip("` ") for row in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)]


def test_the_variables_of_the_page_are_those_of_the_code():
    patterns = ("gan/**/*.py", "pipeline/**/*.py", "benchmarks/*.py", ".github/workflows/*.yml")
    files = [path for pattern in patterns for path in ROOT.glob(pattern)]
    files += [ROOT / "Makefile", ROOT / "Dockerfile"]
    named = {name for path in files for name in OURS.findall(path.read_text(encoding="utf-8"))}
    constants = {
        value for value in vars(environment).values() if isinstance(value, str) and OURS.fullmatch(value)
    }
    listed = _first_cells(_section("Environment variables"))
    assert named == constants, "pipeline.environment owns every variable that begins with GANTRY_"
    assert {name for name in listed if OURS.fullmatch(name)} == named
    assert environment.JOBS in listed
    assert all(old in PAGE for old in environment.RENAMED)


def test_the_variables_of_the_makefile_are_on_the_page():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^([A-Z_]+) \?= (.+)$", makefile, re.MULTILINE))
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    assert defaults
    assert defaults.items() <= rows.items()


def test_the_default_of_the_checkpoints_is_on_the_page():
    assert f"| `{environment.CHECKPOINT_SECONDS}` | `{environment.DEFAULT_CHECKPOINT_SECONDS:g}` |" in PAGE


def test_the_exit_codes_of_the_page_are_those_of_the_code():
    tree = ast.parse(inspect.getsource(stage.exit_code))
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value]
    codes = {value for node in returned for value in _constants(node)}
    codes |= {error.exit_code for error in _errors()}
    codes |= {0, 1, 2, 128 + 2, 128 + 15}  # done, failed, command line; Ctrl-C and SIGTERM, as `train` ends
    assert {int(code) for code in _first_cells(_section("Exit codes")) if code.isdecimal()} == codes


def _constants(node: ast.expr) -> set[int]:
    """Numbers that an expression may be; those of a condition's test are none."""
    if isinstance(node, ast.IfExp):
        return _constants(node.body) | _constants(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) else set()


def _errors() -> list[type[errors.GanError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.GanError)
    ]


def test_every_error_is_on_the_page_with_its_code():
    for error in _errors():
        assert f"| `gan.errors.{error.__name__}` | {error.exit_code} |" in PAGE


def test_every_path_of_a_cell_and_a_data_set_is_on_the_page():
    cell = Cell("DATASET", "VARIANT", "BUDGET", 0)
    paths = [
        getattr(owner, name)
        for owner in (cell, Dataset("DATASET"))
        for name, value in vars(type(owner)).items()
        if isinstance(value, property)
    ]
    for path in (path for path in paths if isinstance(path, Path)):
        named = str(path).replace(cell.key, "KEY")
        assert f"`{named}`" in PAGE or f"`{named}/" in PAGE, f"{named} is missing"


@pytest.mark.parametrize("call", re.findall(r"^\| `(gan\.[\w.]+\(.*?\))` \|", PAGE, re.MULTILINE))
def test_every_function_of_the_page_takes_what_it_says(call):
    name, arguments = call.rstrip(")").split("(")
    function = pkgutil.resolve_name(name)
    taken = [argument.strip() for argument in arguments.split(",")]
    parameters = [(each.name, each.default) for each in inspect.signature(function).parameters.values()]
    known = [
        parameter if default is inspect.Parameter.empty else f'{parameter}="{default}"'
        for parameter, default in parameters
        if parameter != "self"
    ]
    assert taken == known[: len(taken)]
    assert all("=" in further or f"{further}=" for further in known[len(taken) :])


def test_the_index_names_every_page_and_readme_names_the_index():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", INDEX)) == pages
    assert "(docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


# Files that the examples of the page create.
CREATED = {
    "gan/variants/hinge.py",
    "tests/variants/test_hinge.py",
    "gan/metrics/brightness.py",
    "tests/metrics/test_brightness.py",
    "pipeline/report/sections/time.html.j2",
    "pipeline/schedule/slurm.py",
}


def test_every_file_that_the_guide_to_extending_names_exists():
    named = set(re.findall(r"`((?:gan|pipeline|tests|recipes|data)/[\w./]+\.\w+)`", EXTENDING))
    missing = {path for path in named if "NAME" not in path and not (ROOT / path).is_file()}
    assert CREATED <= named
    assert missing == CREATED


@pytest.mark.parametrize(
    "code", re.findall(r"^ *```python\n(.*?)^ *```", EXTENDING, re.MULTILINE | re.DOTALL)
)
def test_the_python_of_the_guide_can_be_parsed(code):
    lines = textwrap.dedent(code).strip()
    ast.parse(lines if not lines.endswith(",") else f"[{lines}]" if "(" in lines else f"{{{lines}}}")


def test_the_claim_of_the_guide_is_one(tmp_path):
    example = re.search(r"```yaml\n(- id: .*?)```", EXTENDING, re.DOTALL)
    path = tmp_path / "claims.yaml"
    path.write_text(example[1], encoding="utf-8")
    assert len(read_claims(load_params(ROOT / "params.yaml"), path)) == 1
