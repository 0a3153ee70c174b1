"""Checkpoints: whole, hashed, two kept, never silently lost."""

import pytest
import torch

from gan.checkpoint import fingerprint, load_latest, save_checkpoint
from gan.errors import CheckpointError


def payload(step):
    return {"weights": torch.full((3,), float(step)), "history": [{"step": step}], "name": "run"}


def test_the_newest_checkpoint_comes_back_as_it_was_saved(tmp_path):
    for step in (1, 20, 3):
        save_checkpoint(tmp_path, payload(step), step)
    loaded = load_latest(tmp_path)
    assert loaded["weights"].tolist() == [20.0] * 3
    assert loaded["history"] == [{"step": 20}] and loaded["name"] == "run"


def test_two_are_kept_and_nothing_else_is_left(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, payload(step), step)
    assert sorted(path.name[:14] for path in tmp_path.iterdir()) == ["step-000000003", "step-000000004"]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    save_checkpoint(tmp_path, payload(1), 1)
    newest = save_checkpoint(tmp_path, payload(2), 2)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert load_latest(tmp_path)["weights"].tolist() == [1.0] * 3


def test_when_all_are_damaged_the_run_does_not_start_over_in_silence(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, payload(step), step).write_bytes(b"")
    with pytest.raises(CheckpointError, match="all 2 checkpoints are damaged"):
        load_latest(tmp_path)


def test_no_checkpoint_at_all_is_a_fresh_start(tmp_path):
    assert load_latest(tmp_path / "absent") is None


def test_the_fingerprint_changes_with_every_part_and_not_with_their_order():
    base = fingerprint(method={"lr": 1e-3, "z": 1}, seed=0)
    assert base == fingerprint(seed=0, method={"z": 1, "lr": 1e-3})
    assert base != fingerprint(method={"lr": 2e-3, "z": 1}, seed=0)
    assert base != fingerprint(method={"lr": 1e-3, "z": 1}, seed=1)
