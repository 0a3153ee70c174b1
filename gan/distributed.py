"""Owns training in several processes: ranks, means, and random draws that don't depend on their number.

In one process everything here is the identity. Gradients are averaged by hand: DistributedDataParallel
has given wrong ones under a gradient penalty (github.com/pytorch/pytorch/issues/47562).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group under `torchrun`, with gloo on CPUs and NCCL on GPUs; else do nothing."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
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
    """Tell whether the claim holds in any process, so that all of them take the same branch."""
    if world_size() == 1:
        return claim
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    vote = torch.tensor(float(claim), device=device)
    distributed.all_reduce(vote)
    return bool(vote.item() > 0)
