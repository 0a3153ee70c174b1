"""The device: torch's settings for it."""

from pathlib import Path

import pytest
import torch

from gan import device
from gan.config import load_params

TRAIN = load_params(Path(__file__).parents[1] / "params.yaml").train


@pytest.fixture
def _gpu(monkeypatch):
    """A GPU is picked; what is set for it is put back."""
    monkeypatch.setattr(device, "pick_device", lambda: torch.device("cuda", 0))
    backends = torch.backends
    before = backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision
    threads, deterministic = torch.get_num_threads(), backends.cudnn.deterministic
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision = before
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    backends.cudnn.deterministic = deterministic
    torch.utils.deterministic.fill_uninitialized_memory = fill
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize(("precision", "products"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "tf32")])
def test_products_on_a_gpu_are_as_precise_as_the_parameter_says(precision, products):
    device.prepare_torch(TRAIN.model_copy(update={"precision": precision}))
    assert torch.backends.cuda.matmul.fp32_precision == products
    assert torch.backends.cudnn.conv.fp32_precision == products


@pytest.mark.usefixtures("_gpu")
def test_a_gpu_computes_equal_sums_and_fills_no_empty_tensor():
    device.prepare_torch(TRAIN)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert not torch.utils.deterministic.fill_uninitialized_memory
