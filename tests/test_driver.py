"""A GPU that can't be used: one line that says why, on machines with stand-ins for GPU and driver."""

import pytest
import torch

from gan import device
from gan.errors import DeviceError
from tests.rank_program import PARAMS

VERSION = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023
GCC version:  gcc version 12.3.0
"""


@pytest.fixture
def _old_driver(tmp_path, monkeypatch):
    """Let a machine have a GPU whose driver is too old for torch."""
    (tmp_path / "nvidia0").touch()
    (tmp_path / "version").write_text(VERSION, encoding="utf-8")
    monkeypatch.setattr(device, "NODE", tmp_path / "nvidia0")
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("_old_driver")
def test_a_driver_that_is_too_old_is_one_warning_before_training(caplog):
    threads = torch.get_num_threads()
    assert device.prepare_torch(PARAMS.train).type == "cpu"
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "its driver is 535.104.05, " in line and "built for CUDA 13.0; update the driver" in line
    assert "TORCH_SPEC" in line and "\n" not in line


@pytest.mark.usefixtures("_old_driver")
def test_a_driver_that_is_not_loaded_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "DRIVER", tmp_path / "none")
    assert "its driver is not loaded" in device.unused_gpu()


@pytest.mark.usefixtures("_old_driver")
def test_a_build_for_the_cpu_is_said(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "is for the CPU; see TORCH_SPEC" in device.unused_gpu()


@pytest.mark.usefixtures("_old_driver")
@pytest.mark.parametrize("given", ["", "-1"])
def test_a_gpu_that_the_user_hides_is_not_missed(monkeypatch, given):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert device.unused_gpu() is None


@pytest.mark.usefixtures("_old_driver")
def test_where_there_is_no_gpu_or_it_answers_nothing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.unused_gpu() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("NODE", "DRIVER"):
        monkeypatch.setattr(device, name, tmp_path / "none")
    assert device.unused_gpu() is None


def test_a_gpu_that_torch_announces_and_that_does_not_answer_is_69(monkeypatch):
    def fail() -> int:
        raise RuntimeError("no CUDA-capable device is detected\nand more")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", fail)
    with pytest.raises(DeviceError, match="^the GPU doesn't answer: no CUDA-capable device is detected; see"):
        device.pick_device()
