"""The scalars of a run: written once, read alike everywhere."""

import math

import numpy as np
import pytest

from gan.errors import DataError
from gan.files import write_bytes
from pipeline.scores.history import read_history, read_rows, smooth, write_history
from pipeline.stage import Cell

CELL = Cell("mnist_tiny", "gan", "quick", 0)
ROWS = [
    {"step": 10, "images_seen": 640, "loss/critic": 0.1 + 0.2},
    {"step": 20, "images_seen": 1280, "loss/critic": math.inf},
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_is_written_is_read():
    write_history(CELL, ROWS)
    assert CELL.history.read_text().startswith("step,images_seen,loss/critic\n10,640,0.30000000000000004\n")
    assert read_rows(CELL) == ROWS
    history = read_history(CELL)
    assert {name: list(values) for name, values in history.items()} == {
        name: [row[name] for row in ROWS] for name in ROWS[0]
    }


def test_an_empty_field_is_missing_from_its_row_and_nan_in_its_column():
    write_bytes(CELL.history, b"step,images_seen,loss/critic\n1,32,0.5\n2,64,\n3,96,nan\n")
    assert [len(row) for row in read_rows(CELL)] == [3, 2, 3]
    assert list(np.isnan(read_history(CELL)["loss/critic"])) == [False, True, True]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("step,images_seen\n", "dvc repro -f train@mnist_tiny-gan-quick-0"),
        ("loss/critic\n1.0\n", "no rows with step"),
        ("step,images_seen\n1,many\n", "not a history of numbers"),
        ("step,images_seen\n1,2,3\n", "not a history of numbers"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(text, fault):
    write_bytes(CELL.history, text.encode())
    with pytest.raises(DataError, match=fault):
        read_history(CELL)


def test_a_spike_moves_no_smooth_curve():
    values = np.ones(200) + np.linspace(0, 1, 200)
    values[0] = 1000.0
    assert smooth(values)[:3].max() < 1.1
