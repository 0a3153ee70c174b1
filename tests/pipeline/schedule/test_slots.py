"""Which GPU each cell sees, on machines whose nvidia-smi is a shell script."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.schedule import slots
from pipeline.schedule.slots import Slots, visible_gpus

TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aa-1)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bb-2)
"""
DIVIDED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa-1)
  MIG 3g.20gb     Device  0: (UUID: MIG-11)
  MIG 3g.20gb     Device  1: (UUID: MIG-12)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bb-2)
"""


@pytest.fixture(autouse=True)
def _no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (slots.VISIBLE, "JOBS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slots, "version", lambda _: "2.14.1")


def install_nvidia_smi(folder: Path, says: str, code: int = 0) -> None:
    (folder / "listed").write_text(says, encoding="utf-8")
    script = folder / "nvidia-smi"
    script.write_text(f'#!/bin/sh\n[ "$*" = -L ] || exit 2\n/bin/cat {folder}/listed\nexit {code}\n', "utf-8")
    script.chmod(0o755)


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path):
    install_nvidia_smi(tmp_path, TWO)
    assert visible_gpus() == ["GPU-aa-1", "GPU-bb-2"]


def test_of_a_gpu_that_is_divided_its_instances_count(tmp_path):
    install_nvidia_smi(tmp_path, DIVIDED)
    assert visible_gpus() == ["MIG-11", "MIG-12", "GPU-bb-2"]


def test_without_nvidia_smi_or_where_it_fails_there_are_none(tmp_path):
    assert visible_gpus() == []
    install_nvidia_smi(tmp_path, "NVIDIA-SMI has failed because it couldn't communicate with the driver", 9)
    assert visible_gpus() == []


def test_a_build_of_torch_for_the_cpu_sees_none(tmp_path, monkeypatch):
    install_nvidia_smi(tmp_path, TWO)
    monkeypatch.setattr(slots, "version", lambda _: "2.14.1+cpu")
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1", ["1"]),
        ("3, 1", ["3", "1"]),
        ("GPU-bb-2,MIG-11", ["GPU-bb-2", "MIG-11"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
    ],
)
def test_what_the_user_lets_be_seen_is_all_there_is(tmp_path, monkeypatch, given, expected):
    install_nvidia_smi(tmp_path, TWO)
    monkeypatch.setenv(slots.VISIBLE, given)
    assert visible_gpus() == expected


def test_by_default_each_gpu_has_one_cell_and_without_gpus_each_core(tmp_path, monkeypatch):
    assert (Slots.of_machine().jobs, Slots.of_machine().gpus) == (os.cpu_count(), ())
    install_nvidia_smi(tmp_path, TWO)
    assert (Slots.of_machine().jobs, Slots.of_machine().gpus) == (2, ("GPU-aa-1", "GPU-bb-2"))
    monkeypatch.setenv("JOBS", "6")
    assert (Slots.of_machine().jobs, Slots.of_machine().most_on_a_gpu) == (6, 3)


def test_cells_that_start_together_go_to_different_gpus():
    barrier, places = Barrier(4, timeout=10), Slots(4, ["0", "1", "2", "3"])

    def run(_: int) -> str:
        with places.take() as variables:
            barrier.wait()
            return variables[slots.VISIBLE]

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == ["0", "1", "2", "3"]


def test_four_cells_at_a_time_on_two_gpus_are_two_on_each_whichever_ends_first():
    places = Slots(4, ["0", "1"])
    with ExitStack() as others:
        seen = [others.enter_context(places.take())[slots.VISIBLE] for _ in range(3)]
        for _ in range(3):
            with places.take() as variables:
                seen.append(variables[slots.VISIBLE])
    assert seen == ["0", "1", "0", "1", "1", "1"]
    with places.take() as variables:
        assert variables == {slots.VISIBLE: "0"}


def test_without_gpus_a_slot_sets_nothing():
    with Slots(3).take() as variables:
        assert variables == {}


@pytest.mark.parametrize(
    ("jobs", "gpus", "expected"),
    [
        (2, 0, "2 at a time"),
        (1, 1, "1 at a time, on one GPU"),
        (3, 1, "3 at a time, on one GPU"),
        (2, 2, "2 at a time, 1 on each of 2 GPUs"),
        (4, 2, "4 at a time, 2 on each of 2 GPUs"),
        (3, 2, "3 at a time, up to 2 on each of 2 GPUs"),
        (2, 4, "2 at a time, 1 on each of 2 GPUs"),
    ],
)
def test_it_says_how_many_cells_share_a_gpu(jobs, gpus, expected):
    assert str(Slots(jobs, [str(n) for n in range(gpus)])) == expected


def test_gpus_are_counted_without_torch():
    code = "import sys; from pipeline.schedule.slots import *; visible_gpus(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
