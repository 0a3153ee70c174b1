"""Which Python `make` takes for .venv, with stand-ins for interpreters: shell scripts that say a version."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# `-m venv` writes a copy of itself, as an interpreter does; whatever pip is asked for succeeds.
STAND_IN = """#!/bin/sh
case "$*" in
-c*) echo {version} ;;
"-m venv --clear .venv")
    rm -rf .venv; mkdir -p .venv/bin
    cp "$0" .venv/bin/python; cp "$0" .venv/bin/python3 ;;
"-m pip"*) ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def stand_in(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN.format(version=version), encoding="utf-8")
    path.chmod(0o755)
    return path


def has_venv(checkout: Path, version: str, *, installed: bool = False) -> None:
    for name in ("python", "python3"):
        stand_in(checkout / ".venv/bin" / name, version)
    (checkout / ".venv/old").touch()
    if installed:
        (checkout / ".venv/installed").touch()


def make(
    checkout: Path, system: str, *arguments: str, activated: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Make .venv on a machine whose python3 is of this version."""
    folders = [str(stand_in(checkout / "system/python3", system).parent), os.defpath]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    return subprocess.run(
        ["make", ".venv/installed", *arguments],
        cwd=checkout,
        env=variables
        | {
            "PATH": os.pathsep.join(
                [str(checkout / ".venv/bin")] * activated + folders + ["/usr/bin", "/bin"]
            )
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("activated", [False, True])
def test_a_venv_of_a_python_that_is_too_old_is_made_again(checkout, activated):
    has_venv(checkout, "3.10")
    answer = make(checkout, "3.11", activated=activated)
    assert answer.returncode == 0, answer.stderr
    assert "note: the Python of .venv is 3.10; making .venv again with 3.11" in answer.stderr
    assert not (checkout / ".venv/old").exists()


def test_a_venv_whose_python_is_gone_is_made_again_though_it_was_complete(checkout):
    has_venv(checkout, "3.11", installed=True)
    for name in ("python", "python3"):
        (checkout / ".venv/bin" / name).unlink()
        (checkout / ".venv/bin" / name).symlink_to("/nowhere/python3")
    answer = make(checkout, "3.12")
    assert answer.returncode == 0, answer.stderr
    assert "note: the Python of .venv can't be run; making .venv again with 3.12" in answer.stderr
    assert not (checkout / ".venv/old").exists()


@pytest.mark.parametrize("system", ["3.10", "3.12"])
def test_a_sound_venv_is_kept_whatever_the_system_has(checkout, system):
    has_venv(checkout, "3.11")
    answer = make(checkout, system)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (checkout / ".venv/old").exists()


@pytest.mark.parametrize(("asked", "is_kept"), [("3.12", False), ("3.11", True)])
def test_a_complete_venv_is_made_again_only_for_another_version_that_is_asked_for(checkout, asked, is_kept):
    has_venv(checkout, "3.11", installed=True)
    other = stand_in(checkout / "other/python", asked)
    answer = make(checkout, "3.11", f"PYTHON={other}")
    assert answer.returncode == 0, answer.stderr
    assert (checkout / ".venv/old").exists() == is_kept


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("python3", "Gantry needs Python 3.11 or later, python3 is 3.10; try make PYTHON=python3.12"),
        ("nothing", "nothing can't be run; try make PYTHON=python3.12"),
    ],
)
def test_a_python_that_can_not_be_used_is_one_line_and_leaves_the_venv(checkout, python, expected):
    has_venv(checkout, "3.11")
    answer = make(checkout, "3.10", f"PYTHON={python}")
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[0] == f"error: {expected}"
    assert (checkout / ".venv/old").exists()


@pytest.mark.parametrize(("target", "marked"), [("test-gpu", "gpu"), ("test-slow", "slow and not gpu")])
def test_tests_that_need_a_gpu_have_a_target_of_their_own(checkout, target, marked):
    has_venv(checkout, "3.11", installed=True)
    answer = subprocess.run(
        ["make", "--dry-run", target], cwd=checkout, capture_output=True, text=True, check=True
    )
    tests = [line for line in answer.stdout.splitlines() if " -m pytest" in line]
    marks = [line.split(" -m ")[-1].strip('"') for line in tests]
    assert marks == [marked]
