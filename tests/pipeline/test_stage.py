"""What every stage shares: cell keys, and how errors end."""

import ast
import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gan.config import load_params
from gan.errors import CheckpointError, ConfigError, DataError, TrainingDiverged
from pipeline.stage import Cell, Dataset, exit_code, parse_cell, selected_cells
from tests.parameters import DIGITS, copy_parameters

ROOT = Path(__file__).resolve().parents[2]
PARAMS = load_params(ROOT / "params.yaml")


def test_a_key_and_its_cell_are_each_others_inverse():
    cell = Cell("mnist_tiny", "wgan_gp", "quick", 12)
    assert cell.key == "mnist_tiny-wgan_gp-quick-12"
    assert parse_cell(cell.key, PARAMS) == cell


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("mnist_tiny-gna-smoke-0", "no variant 'gna' for mnist_tiny; there are gan, gan_seed, dcgan"),
        ("mnist_tiny-gan-smok-0", "no budget 'smok'; there are smoke, quick, full"),
        ("mnits-gan-smoke-0", "no data set 'mnits'; there are mnist_tiny, mixture, stacked_tiny"),
        ("mnist_tiny-gan-smoke", "is no cell"),
        ("mnist_tiny-gan-smoke-x", "is no cell"),
        ("../../etc-gan-smoke-0", "no data set"),
    ],
)
def test_a_wrong_key_says_what_there_is_instead(key, expected):
    with pytest.raises(ConfigError, match=expected):
        parse_cell(key, PARAMS)


def test_no_other_module_spells_a_path_of_a_data_set_or_a_cell():
    for cls in (Dataset, Cell):
        assert [name for name, value in vars(cls).items() if isinstance(value, property)]
    paths = [path for package in ("gan", "pipeline") for path in (ROOT / package).rglob("*.py")]
    spelled = re.compile(r"(data|models|reports)(/[\w./-]*)?|build/(?!logs|smoke|up-to-date)[\w./-]+")
    for path in (path for path in paths if path != ROOT / "pipeline/stage.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_path = isinstance(call, ast.Call) and ast.unparse(call.func) == "Path"
            for node in ast.walk(call) if is_path else ():
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    named = spelled.fullmatch(node.value)
                    assert not named, f"{path.relative_to(ROOT)}: {node.value}; Cell or Dataset has its paths"


def test_an_unexpected_fault_ends_with_70_and_its_traceback():
    program = "from pipeline.stage import run_stage; run_stage(lambda params, argument: 1 // 0, '')"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 70
    assert answer.stderr.startswith("Traceback") and "ZeroDivisionError" in answer.stderr


def test_the_selection_is_the_full_product_in_its_own_order():
    select = PARAMS.select.model_copy(update={"variants": ["wgan", "gan"], "seeds": [1, 0]})
    cells = selected_cells(PARAMS.model_copy(update={"select": select}))
    assert [cell.key for cell in cells] == [
        "mnist_tiny-wgan-quick-1",
        "mnist_tiny-wgan-quick-0",
        "mnist_tiny-gan-quick-1",
        "mnist_tiny-gan-quick-0",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 78),
        (DataError("x"), 65),
        (CheckpointError("x"), 65),
        (TrainingDiverged("x"), 65),
        (BlockingIOError("x"), 75),
        (ConnectionRefusedError("x"), 69),
        (TimeoutError("x"), 69),
        (PermissionError(errno.EACCES, "x"), 77),
        (OSError(errno.ENOSPC, "x"), 74),
        (OSError(errno.EIO, "x"), 74),
        (NotADirectoryError(errno.ENOTDIR, "x"), 73),
        (RuntimeError("x"), 70),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize("stage", ["convert", "code", "report"])
def test_a_stage_run_by_hand_on_faulty_params_ends_with_78_and_a_line_for_each(tmp_path, stage):
    params = copy_parameters(tmp_path)
    for path, old, new in (
        (params, "precision: fp32", "precison: fp32"),
        (tmp_path / DIGITS, "critic_steps: 2", "critic_steps: '2'"),
    ):
        path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    argument = ["mnist_tiny"] if stage == "convert" else []
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import runpy; runpy.run_module('pipeline.{stage}', run_name='__main__')",
            *argument,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 78
    first, second = answer.stderr.splitlines()
    assert first.startswith("error: params.yaml:") and "did you mean 'precision'?" in first
    assert second.startswith("error: recipes/digits.yaml:") and "wgan.method.critic_steps" in second


def test_a_missing_argument_is_a_usage_line_and_exit_code_2(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "pipeline.convert"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert answer.stderr == "usage: python -m pipeline.convert DATASET [--debug]\n"
