"""Gantry's environment variables: what each may be, and one line for what it may not be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan.config import load_params
from gan.errors import ConfigError
from pipeline import environment, train

ROOT = Path(__file__).resolve().parents[2]
OURS = ("GANTRY_CHECKPOINT_DIR", "GANTRY_CHECKPOINT_SECONDS", "GANTRY_MIRROR", "GANTRY_PROCESSES", "JOBS")
REFUSED = [
    (
        "GAN_CKPT_DIR",
        "/ckpt",
        "GAN_CKPT_DIR is no longer read; unset it and set GANTRY_CHECKPOINT_DIR instead",
    ),
    ("GANTRY_CHECKPOINT_SECONDS", "1m", "is '1m'; give a number of seconds, such as 60"),
    ("GANTRY_CHECKPOINT_SECONDS", "", "is ''; give a number of seconds"),
    ("GANTRY_CHECKPOINT_SECONDS", "nan", "is 'nan'; give a number of seconds"),
    ("GANTRY_CHECKPOINT_SECONDS", "-1", "is '-1'; give a number of seconds"),
    ("GANTRY_PROCESSES", "0", "is '0'; give a whole number of at least 1"),
    ("GANTRY_PROCESSES", "two", "is 'two'; give a whole number of at least 1"),
    ("GANTRY_CHECKPOINT_DIR", "~nobody-of-this-name/ckpt", "that user has no home; give the whole path"),
    ("GANTRY_MIRROR", "~nobody-of-this-name/files", "that user has no home; give the whole path"),
    ("JOBS", "abc", "is 'abc'; give a whole number of at least 1"),
    ("JOBS", "", "is ''; give a whole number of at least 1"),
    ("JOBS", "1.5", "is '1.5'; give a whole number of at least 1"),
]


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OURS, *environment.RENAMED):
        monkeypatch.delenv(name, raising=False)


def run(module: str, argument: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *argument.split()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("name", "value", "expected"), REFUSED)
def test_a_command_that_starts_others_refuses_a_bad_value_before_any_work(monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        environment.check()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(name)
    assert expected in line


@pytest.mark.parametrize(
    ("name", "value"), [("GAN_CKPT_DIR", "/ckpt"), ("GANTRY_CHECKPOINT_SECONDS", "1m"), ("JOBS", "abc")]
)
def test_make_repro_ends_with_one_line_and_78(tmp_path, name, value):
    answer = run("pipeline.schedule", "", tmp_path, **{name: value})
    assert answer.returncode == 78
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"error: {name} is ")


def test_the_stage_train_ends_with_one_line_and_78(checkout):
    answer = run("pipeline.train", "mnist_tiny-gan-smoke-0", checkout, GANTRY_CHECKPOINT_SECONDS="1m")
    assert answer.returncode == 78
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: GANTRY_CHECKPOINT_SECONDS is '1m'")


def test_the_stage_train_refuses_the_old_name_of_the_checkpoint_folder(checkout, monkeypatch):
    monkeypatch.setenv("GAN_CKPT_DIR", "/ckpt")
    with pytest.raises(ConfigError, match="set GANTRY_CHECKPOINT_DIR instead"):
        train.main(load_params(Path("params.yaml")), "mnist_tiny-gan-smoke-0")


def test_a_tilde_in_a_path_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GANTRY_CHECKPOINT_DIR", "~/ckpt")
    monkeypatch.setenv("GANTRY_MIRROR", "~/files")
    assert train.checkpoint_root() == tmp_path / "ckpt"
    assert environment.mirror() == str(tmp_path / "files")


def test_an_address_of_a_mirror_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("GANTRY_MIRROR", "https://host/~user//files")
    assert environment.mirror() == "https://host/~user//files"


def test_without_variables_each_has_its_default(checkout):
    environment.check()
    assert train.checkpoint_root() == checkout / ".ckpt"
    assert environment.checkpoint_seconds() == 15
    assert environment.mirror() == ""
    assert environment.processes() >= 1
    assert environment.jobs() == os.cpu_count()


def test_numbers_are_taken_as_given(monkeypatch):
    monkeypatch.setenv("GANTRY_CHECKPOINT_SECONDS", "0.5")
    monkeypatch.setenv("GANTRY_PROCESSES", "3")
    monkeypatch.setenv("JOBS", "2")
    assert (environment.checkpoint_seconds(), environment.processes(), environment.jobs()) == (0.5, 3, 2)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_encoding_that_lacks_characters_is_no_traceback(checkout, encoding):
    answer = run("pipeline.cli", "variants --all", checkout, PYTHONIOENCODING=encoding)
    assert answer.returncode == 0, answer.stderr
    assert "gan_seed" in answer.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_loses_no_character_in_any_encoding(encoding):
    code = "from pipeline.cli.output import print_json; print_json({'licence': 'caf\\xe9 \\u2013'})"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    ).stdout
    assert json.loads(printed.decode(encoding)) == {"licence": "caf\xe9 \u2013"}
