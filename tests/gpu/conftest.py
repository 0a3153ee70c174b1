"""Settings of the checks of benchmarks/gpu.py, in the sizes that a CPU can bear."""

from dataclasses import replace

import pytest
import torch

from benchmarks.gpu_parts.runs import ON_CPU, Setting


@pytest.fixture
def on_cpu(tmp_path):
    """Checks on the CPU; torch's settings, which they change, are put back."""
    threads, fill = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    yield Setting("cpu", tmp_path, tmp_path, ON_CPU)
    torch.set_num_threads(threads)
    torch.utils.deterministic.fill_uninitialized_memory = fill


@pytest.fixture
def on_gpu(tmp_path):
    """Small checks on the first GPU."""
    fill = torch.utils.deterministic.fill_uninitialized_memory
    sizes = replace(ON_CPU, half=5, precisions=("fp32", "tf32", "bf16"), too_large=())
    yield Setting("cuda", tmp_path, tmp_path, sizes)
    torch.utils.deterministic.fill_uninitialized_memory = fill
    torch.use_deterministic_algorithms(False)
