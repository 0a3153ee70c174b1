"""Files: whole under their name or not at all."""

import os

import pytest

from gan.files import exclusive_lock, replaced_atomically, sha256_of, write_bytes, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail_half_way():
        with replaced_atomically(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_data_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), sync(handle))[1])
    monkeypatch.setattr("pathlib.Path.replace", lambda a, b: (calls.append("rename"), replace(a, b))[1])
    write_bytes(tmp_path / "file", b"new")
    assert calls == ["sync", "rename", "sync"]


def test_equal_values_give_equal_json_whatever_the_order_of_their_keys(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "y": "ü"})
    write_json(tmp_path / "b", {"y": "ü", "x": 1})
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")


def test_json_refuses_what_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a", {"x": float("nan")})
    assert not (tmp_path / "a").exists()


def test_a_held_lock_names_its_holder(tmp_path):
    lock = tmp_path / "lock"
    with exclusive_lock(lock):
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()}"), exclusive_lock(lock):
            pass
    with exclusive_lock(lock):
        pass
