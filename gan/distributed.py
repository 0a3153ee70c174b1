"""Owns training in several processes: ranks, means, and random draws that don't depend on their number.

In one process everything here is the identity. Gradients are averaged by hand: DistributedDataParallel
has given wrong ones under a gradient penalty (github.com/pytorch/pytorch/issues/47562).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from gan.errors import ConfigError


@contextmanager
def process_group(*, on_cpu: bool = False) -> Iterator[None]:
    """Join the process group under `torchrun`; without it do nothing.

    Tensors of the CPU go over gloo. Those of GPUs go over NCCL, and each process has the GPU of its local
    rank; on_cpu leaves the GPUs alone. Raises ConfigError where a machine with GPUs has fewer of them than
    processes: NCCL refuses two processes on one GPU.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    gpus = 0 if on_cpu or not torch.cuda.is_available() else torch.cuda.device_count()
    if gpus == 0:
        distributed.init_process_group("gloo")
    else:
        processes = int(os.environ["LOCAL_WORLD_SIZE"])
        if processes > gpus:
            raise ConfigError(
                f"torchrun started {processes} processes, each needs its own GPU, and {gpus} can be seen; "
                f"give --nproc-per-node {gpus}, or set CUDA_VISIBLE_DEVICES= to train on the CPU"
            )
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        distributed.init_process_group("cpu:gloo,cuda:nccl", device_id=device)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def draw_rows(draw: Callable[[int], Tensor], n: int) -> Tensor:
    """Draw for the whole batch and keep this process's n rows, so that the world size changes no number."""
    return own_rows(draw(n * world_size()))


def own_rows(whole: Tensor) -> Tensor:
    """This process's share of the rows of all processes, (N, ...) -> (N / world_size, ...)."""
    return whole.chunk(world_size())[rank()]


def mean(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, without a graph."""
    if world_size() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / world_size()


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all processes, those of process 0 first, without a graph."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    distributed.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over the processes, in one all-reduce."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view(gradient.shape))


def broadcast(network: nn.Module) -> None:
    """Give every process the weights and buffers of process 0."""
    if world_size() == 1:
        return
    for tensor in network.state_dict().values():
        whole = tensor.contiguous()
        distributed.broadcast(whole, src=0)
        tensor.copy_(whole)


def any_process(claim: bool) -> bool:
    """Tell whether the claim holds in any process, so that all of them take the same branch.

    The vote is a tensor of the CPU: asked after each step, it must not wait for a GPU.
    """
    if world_size() == 1:
        return claim
    vote = torch.tensor(float(claim), device="cpu")
    distributed.all_reduce(vote)
    return bool(vote.item() > 0)
