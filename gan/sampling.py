"""Owns sampling: noise, uint8 images, grids, and batch statistics for the averaged generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.utils import make_grid

BATCH = 250  # a fixed batch, so that an image doesn't depend on how many are asked for


def draw_noise(
    n: int,
    z_dim: int,
    law: str,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Noise (n, z_dim) from N(0, 1) ("normal"), U[-1, 1] ("uniform") or U[0, 1] ("unit").

    Uses the device's own generator where none is given. On the CPU row i doesn't depend on n, which is why n
    is rounded up: torch draws normal numbers in blocks of 16 and redraws the last 16 if they don't fill a
    block. On CUDA row i may depend on n, since threads share out a draw by its size: what must not depend
    on a count or on the number of processes is drawn on the CPU, or whole and then cut.
    """
    rows = -(-n // 16) * 16
    if law == "normal":
        return torch.randn(rows, z_dim, generator=generator, device=device)[:n]
    noise = torch.rand(rows, z_dim, generator=generator, device=device)[:n]
    return noise if law == "unit" else noise * 2 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Clamp to [-1, 1], scale to [0, 255] and round; the extremes of a batch never change the scale."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def generate_images(generator: nn.Module, noise: Tensor) -> Tensor:
    """Turn noise (N, z_dim) into images (N, C, H, W), uint8 on the CPU, in evaluation mode."""
    device = next(generator.parameters()).device
    with evaluating(generator), torch.no_grad():
        batches = [to_uint8(generator(batch.to(device))).cpu() for batch in noise.split(BATCH)]
    return torch.cat(batches).contiguous()


def image_grid(images: Tensor, columns: int = 8, scale: int = 1) -> Image.Image:
    """Lay out uint8 images (N, C, H, W) row by row, each pixel enlarged to a square of `scale`."""
    enlarged = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    grid = make_grid(enlarged, nrow=columns, padding=2 * scale, pad_value=64)
    return Image.fromarray(grid.permute(1, 2, 0).contiguous().numpy())


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and back into the mode it was in."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def reestimate_batch_statistics(
    generator: nn.Module, z_dim: int, law: str, *, seed: int, batches: int = 8
) -> None:
    """Replace the running statistics of batch normalisation by means over `batches` batches of new noise.

    Averaged weights have never run on a batch themselves: with the statistics of the raw weights, scores
    were up to ten times worse. A network without batch normalisation isn't changed.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    device = next(generator.parameters()).device
    stream = torch.Generator().manual_seed(seed)
    momenta = [norm.momentum for norm in norms]
    was_training = generator.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    generator.train()
    with torch.no_grad():
        for _ in range(batches):
            generator(draw_noise(BATCH, z_dim, law, stream).to(device))
    generator.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
