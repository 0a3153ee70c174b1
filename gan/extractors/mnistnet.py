"""Owns the small classifier whose features and classes score MNIST-like images, and its files.

A Fréchet distance in its features belongs to one set of weights, so the file is named by its hash.
On a CPU everything here runs on one thread: the bits of a convolution depend on the number of threads.
A GPU may extract, but never trains, so that the weights are those of a CPU wherever they are made.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from gan.contract import AdamParams, ImageShape
from gan.errors import ConfigError, DataError
from gan.files import write_bytes
from gan.randomness import derive_seed

FEATURES = 128
CLASSES = 10

_SHIFT = 2  # pixels; digits of the test set lie as much off the centre as those of the training set
_EXTRACTION_BATCH = 256


class MnistNet(nn.Module):
    """Three convolutions (32, 64, 128 wide), 128 features, 10 classes; takes images as they are stored."""

    def __init__(self, image: ImageShape, outputs: int = CLASSES) -> None:
        super().__init__()
        self.check(image)
        self.image = image
        self.body = nn.Sequential(
            *_block(image.channels, 32), *_block(32, 64), *_block(64, 128), nn.Flatten()
        )
        positions = (image.height // 8) * (image.width // 8)
        self.embed = nn.Linear(128 * positions, FEATURES)
        self.head = nn.Linear(FEATURES, outputs)

    def check(self, image: ImageShape) -> None:
        """Raise ConfigError for images that it can't score."""
        if image not in (ImageShape(1, 28, 28), ImageShape(1, 32, 32)):
            raise ConfigError(
                f"mnistnet scores images of 1x28x28 or 1x32x32, this data set has {'x'.join(map(str, image))}"
            )

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of uint8 images (N, C, H, W) and their classes (N,)."""
        return functional.cross_entropy(self(images), targets)

    def probabilities(self, features: Tensor) -> Tensor:
        """Probability of each class (N, 10) by the features (N, 128)."""
        logits: Tensor = self.head(features)
        return logits.softmax(1)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate layer (N, 128) of images (N, C, H, W).

        They must be uint8, so that how to round is no choice of the caller. Raises ValueError else.
        """
        shape = tuple(images.shape[1:])
        if images.dtype != torch.uint8 or shape != self.image:
            raise ValueError(f"expected uint8 images of {tuple(self.image)}, found {images.dtype} of {shape}")
        pixels = images.to(torch.float32).div(127.5).sub(1.0)
        hidden = self.body(pixels.contiguous(memory_format=torch.channels_last))
        return functional.relu(self.embed(hidden))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of uint8 images (N, C, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


Net = TypeVar("Net", bound=MnistNet)


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    # On 4,000 digits the distance of uniform noise, the ceiling, was 4,933, 5,690 and 5,409 for three seeds
    # of this network. An earlier one, which also had dropout, leaky units and 8 epochs in place of 12, gave
    # 3,144 and 6,265; which of these mattered was not isolated.
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    # To pool before the norm trains 1.3 times as fast and names digits as well, but its features then
    # hold slightly blurred digits for worse than shuffled pixels.
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(), nn.MaxPool2d(2)]


def new_mnistnet(image: ImageShape, seed: int) -> MnistNet:
    """Untrained network, a pure function of its arguments."""
    return new_network(lambda: MnistNet(image), seed)


def new_network(make: Callable[[], Net], seed: int) -> Net:
    """Make a network whose weights are a function of the seed."""
    with _stateless(seed, 0):
        return make().to(memory_format=torch.channels_last)


def train_mnistnet(
    net: MnistNet,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | NDArray[np.bool_],
    *,
    epochs: int,
    batch_size: int,
    optimizer: AdamParams,
    seed: int,
) -> Iterator[float]:
    """Train in place and yield the mean loss of each epoch.

    images: (N, C, H, W); labels: (N,) in 0..9, or what `net.loss` takes. The learning rate falls
    linearly to zero; each image is shifted by up to two pixels, anew in each epoch. Order and shifts
    are a function of (seed, epoch), and the caller's random state stays as it was.
    """
    pixels, targets = torch.from_numpy(images), torch.from_numpy(labels)
    batches = math.ceil(len(pixels) / batch_size)
    adam = torch.optim.Adam(net.parameters(), lr=optimizer.lr, betas=optimizer.betas)
    decay = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=epochs * batches)
    for epoch in range(1, epochs + 1):
        with _stateless(seed, epoch):
            net.train()
            total = 0.0
            for chosen in torch.randperm(len(pixels)).chunk(batches):
                loss = net.loss(_shifted(pixels[chosen]), targets[chosen])
                adam.zero_grad()
                loss.backward()
                adam.step()
                decay.step()
                total += loss.item() * len(chosen)
        yield total / len(pixels)
    net.eval()


def _shifted(images: Tensor) -> Tensor:
    """Move each image by its own random offset; what comes in at the border is black."""
    count, channels, height, width = images.shape
    offsets = torch.randint(2 * _SHIFT + 1, (2, count))
    padded = functional.pad(images, (_SHIFT,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, offset, offset, H, W)
    moved: Tensor = windows[torch.arange(count), :, offsets[0], offsets[1]]
    return moved


class Extraction(NamedTuple):
    """What the network says of N images."""

    features: NDArray[np.float32]  # (N, 128)
    probabilities: NDArray[np.float32]  # (N, 10), rows sum to 1; (N, A) of attributes


@torch.no_grad()
def extract(net: MnistNet, images: NDArray[np.uint8]) -> Extraction:
    """Features and class probabilities of uint8 images (N, C, H, W), the same in whatever portions they come.

    Every forward pass has 256 images, the last one filled up with black: matrix products of other
    sizes round in another order. Images go to the network's device; what it says comes back to NumPy.
    """
    net.eval()
    device = net.embed.weight.device
    features, probabilities = (
        [np.empty((0, FEATURES), np.float32)],
        [np.empty((0, net.head.out_features), np.float32)],
    )
    with one_thread():
        for begin in range(0, len(images), _EXTRACTION_BATCH):
            portion = torch.from_numpy(images[begin : begin + _EXTRACTION_BATCH])
            missing = _EXTRACTION_BATCH - len(portion)
            filled = functional.pad(portion, (0, 0, 0, 0, 0, 0, 0, missing))
            found = net.features(filled.to(device))
            classes = net.probabilities(found)
            features.append(found[: len(portion)].cpu().numpy())
            probabilities.append(classes[: len(portion)].cpu().numpy())
    return Extraction(np.concatenate(features), np.concatenate(probabilities))


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of the images whose likeliest class is their label."""
    return float(np.mean(probabilities.argmax(1) == labels))


def save_mnistnet(net: MnistNet, path: Path) -> str:
    """Write the weights as safetensors and return the file's sha256."""
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    content = safetensors.torch.save(weights)
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def load_mnistnet(path: Path, image: ImageShape, sha256: str) -> MnistNet:
    """Read weights that `save_mnistnet` wrote, in evaluation mode.

    Raises DataError when the file's hash is another one, or its tensors don't fit images of this shape.
    """
    return load_weights(MnistNet(image), path, sha256)


def load_weights(net: Net, path: Path, sha256: str) -> Net:
    """Read weights into an untrained network, as `load_mnistnet` does."""
    content = read_weights(path, sha256)
    try:
        net.load_state_dict(safetensors.torch.load(content))
    except (RuntimeError, SafetensorError) as error:
        raise DataError(f"{path}: not the weights of a mnistnet for {tuple(net.image)} images") from error
    return net.to(memory_format=torch.channels_last).eval()


def read_weights(path: Path, sha256: str) -> bytes:
    """Read a file of weights. Raises DataError when its hash is another one."""
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path}: sha256 is {found[:12]}..., expected {sha256[:12]}...; "
            f"delete it and run 'dvc repro evaluator@{path.parent.name}'"
        )
    return content


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one CPU thread, and give back what was set before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _stateless(seed: int, epoch: int) -> Iterator[None]:
    """One thread, and torch's generator set by (seed, epoch) only; both are put back at the end."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "mnistnet", epoch))
        yield
