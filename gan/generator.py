"""Owns saving generators and loading them back: weights and a card on disk, a checked module in memory.

Weights are safetensors, which can't carry code. Everything that reads a generator calls `load_generator`:
DVC stages, `gantry sample` and the served model.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gan.card import MAX_FAULTS_SHOWN, MAX_WEIGHT_BYTES, Card, Weights, read_bounded, read_card, read_weights
from gan.contract import ImageShape, VariantParams
from gan.errors import ConfigError, DataError, TrainingDiverged
from gan.files import sha256_of, write_bytes
from gan.sampling import draw_noise, generate_images

SNAPSHOTS = "snapshots"  # subfolder of a model's folder: the averaged generator along the run


def save_generator(folder: Path, state: Mapping[str, Tensor], weights: Weights = "generator") -> str:
    """Write a state dict as `<weights>.safetensors` and return the SHA-256 of the file.

    Equal tensors give equal bytes, whatever device and memory layout they come from. Raises
    TrainingDiverged for weights that aren't finite: these have no use, and must not be published.
    """
    return _write_state(folder / f"{weights}.safetensors", state)


def save_snapshot(folder: Path, state: Mapping[str, Tensor], step: int) -> None:
    """Write the averaged generator as it stands at a step. Raises TrainingDiverged as `save_generator`."""
    _write_state(folder / f"{step:06d}.safetensors", state)


def _write_state(path: Path, state: Mapping[str, Tensor]) -> str:
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    broken = list(islice(_non_finite(tensors), MAX_FAULTS_SHOWN))
    if broken:
        raise TrainingDiverged(f"{path}: weights aren't finite: {', '.join(broken)}; nothing was written")
    write_bytes(path, safetensors.torch.save(tensors))
    return sha256_of(path)


def load_generator(folder: Path, weights: Weights = "generator") -> tuple[nn.Module, Card]:
    """Rebuild a generator from its card and load its weights, in evaluation mode, on the CPU.

    Raises DataError when card, digest, names, shapes, types or values aren't what they should be,
    with the first five differences. Sizes are checked before any memory is allocated.
    """
    card = read_card(folder)
    content = read_weights(folder, card, weights)
    return _rebuild(card, folder / f"{weights}.safetensors", content), card


def load_snapshot(folder: Path, step: int) -> tuple[nn.Module, Card]:
    """Rebuild the averaged generator of a model's folder as it stood at a step; see `load_generator`."""
    card = read_card(folder)
    path = folder / SNAPSHOTS / f"{step:06d}.safetensors"
    return _rebuild(card, path, read_bounded(path, MAX_WEIGHT_BYTES)), card


def snapshot_steps(folder: Path) -> list[int]:
    """Steps that a model's folder has snapshots of, in order."""
    return sorted(int(path.stem) for path in (folder / SNAPSHOTS).glob("*.safetensors"))


def _rebuild(card: Card, path: Path, content: bytes) -> nn.Module:
    """Build the card's generator with the weights in `content`, which was read from this path."""
    generator = build_without_memory(card)
    try:
        state = safetensors.torch.load(content)
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file: {error}") from error
    faults = list(islice(_differences(generator.state_dict(), state), MAX_FAULTS_SHOWN))
    if faults:
        raise DataError("\n".join(f"{path}: {fault}" for fault in faults))
    generator.load_state_dict(state, assign=True)
    return generator.eval().requires_grad_(False)


def draw_images(generator: nn.Module, card: Card, n: int, seed: int) -> Tensor:
    """Generate n images, uint8 (n, C, H, W), from noise that depends on the seed alone."""
    stream = torch.Generator().manual_seed(seed)
    return generate_images(generator, draw_noise(n, card.method.z_dim, card.method.noise, stream))


def build_without_memory(card: Card) -> nn.Module:
    """Build the card's generator on the meta device: shapes and types, no values.

    Raises DataError when the networks can't be built, or would take more than MAX_WEIGHT_BYTES.
    """
    try:
        with torch.device("meta"):
            generator = card.method.build(card.shape).generator
    except (ConfigError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        # Sizes beyond 64 bits make torch raise any of these, with a C++ backtrace in the message.
        reason = str(error).splitlines()[0]
        raise DataError(f"{card.key}: the card's networks can't be built: {reason}") from error
    size = sum(tensor.numel() * tensor.element_size() for tensor in generator.state_dict().values())
    if size > MAX_WEIGHT_BYTES:
        raise DataError(
            f"{card.key}: the card asks for {size} bytes of weights; {MAX_WEIGHT_BYTES} is the limit"
        )
    return generator


def count_parameters(method: VariantParams, image: ImageShape) -> tuple[int, int]:
    """Count the parameters of a variant's generator and critic, without allocating either."""
    with torch.device("meta"):
        gan = method.build(image)
    generator, critic = (sum(p.numel() for p in network.parameters()) for network in gan[:2])
    return generator, critic


def _differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted(expected.keys() - actual.keys()):
        yield f"{name} is missing"
    for name in sorted(actual.keys() - expected.keys()):
        yield f"{name} isn't part of this generator"
    for name in sorted(expected.keys() & actual.keys()):
        wanted, given = expected[name], actual[name]
        if wanted.shape != given.shape:
            yield f"{name} is {tuple(given.shape)}, expected {tuple(wanted.shape)}"
        elif wanted.dtype != given.dtype:
            yield f"{name} is {given.dtype}, expected {wanted.dtype}"
    yield from (f"{name} holds values that aren't finite" for name in _non_finite(actual))


def _non_finite(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted(tensors):
        if tensors[name].is_floating_point() and not bool(tensors[name].isfinite().all()):
            yield name
