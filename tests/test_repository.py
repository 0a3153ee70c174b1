"""What the project says about itself in one place holds in the others."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.MULTILINE))
# The package where it isn't named like its module; the last four are part of another's interface:
# the types of its errors and of what it takes and returns.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "ruamel": "ruamel-yaml",
    "markupsafe": "jinja2",
    "pandas": "mlflow",
    "pydantic_core": "pydantic",
    "urllib3": "requests",
}


def _required(*extras: str) -> list[Requirement]:
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def _locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_the_lock_has_one_version_inside_every_range():
    locked = _locked()
    for requirement in _required(*PROJECT["optional-dependencies"]):
        (pin,) = locked[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{pin.version} is outside of {requirement}"


def test_wheels_that_exist_for_one_platform_are_marked_and_nothing_names_an_index():
    for name, pin in _locked().items():
        cuda = name == "triton" or name.startswith(("nvidia-", "cuda-"))
        assert (pin.marker is not None) == cuda, f"{pin}"
        assert pin.url is None
        assert "+" not in str(pin.specifier)


def test_every_imported_package_is_a_dependency():
    """One that arrives through another package's dependencies can leave with its next version."""
    declared = {canonicalize_name(requirement.name) for requirement in _required("inception")}
    for path in [*ROOT.glob("gan/**/*.py"), *ROOT.glob("pipeline/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in (
                {name.split(".")[0] for name in names} - {"gan", "pipeline"} - sys.stdlib_module_names
            ):
                package = canonicalize_name(DISTRIBUTIONS.get(name, name))
                assert package in declared, f"{path.relative_to(ROOT)} imports {name}; declare it"


def test_make_lists_every_target_and_only_real_ones():
    listed = set(re.findall(r"^([a-z-]+):.*  ## \S", MAKEFILE, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split())
    assert listed == phony == TARGETS


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows"])
def test_every_make_target_that_is_mentioned_exists(name):
    path = ROOT / name
    files = sorted(path.glob("*.yml")) if path.is_dir() else [path]
    mentioned = {target for file in files for target in re.findall(r"[`\n ]make ([a-z-]+)", file.read_text())}
    assert mentioned <= TARGETS


def test_every_stage_that_dvc_runs_is_a_module():
    stages = re.findall(r"cmd: python -m pipeline\.(\w+)", (ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    places = {
        stage: [ROOT / "pipeline" / f"{stage}.py", ROOT / "pipeline" / stage / "__main__.py"]
        for stage in stages
    }
    missing = [stage for stage, files in places.items() if not any(file.exists() for file in files)]
    assert stages
    assert not missing


def test_the_python_versions_of_the_workflow_are_those_of_the_package():
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    tested = re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", workflow)[1])
    prefix = "Programming Language :: Python :: "
    declared = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert tested == declared
    assert PROJECT["requires-python"] == f">={tested[0]}"
