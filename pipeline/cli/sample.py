"""Owns `gantry sample`: finds the model and writes its images."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan.card import Card
from gan.files import replaced_atomically
from gan.generator import draw_images, load_generator
from gan.sampling import image_grid
from pipeline.tracking import models as registry
from pipeline.tracking.database import mlflow_session


@contextmanager
def model_folder(model: str) -> Iterator[Path]:
    """Yield a folder with card and weights: the named one, or a temporary download."""
    if Path(model).is_dir() or "/" in model:
        yield Path(model)
        return
    name, _, reference = model.partition("@")
    with tempfile.TemporaryDirectory(prefix="gantry-") as folder:
        with mlflow_session(create=False) as client:
            version = registry.find_model(client, name, reference or registry.LATEST)
            registry.download(client, version, Path(folder))
        yield Path(folder)


def draw(folder: Path, count: int, seed: int) -> tuple[Tensor, Card]:
    """Draw images (N, C, H, W) from the model of a folder, and return its card too."""
    generator, card = load_generator(folder)
    torch.set_num_threads(card.num_threads)  # sums differ in their last bits with the number of threads
    return draw_images(generator, card, count, seed), card


def write_images(images: Tensor, out: Path, format_: str) -> None:
    """Write images as one grid, one array, or a file for each: "png", "npy", "png-dir"."""
    if format_ == "png-dir":
        for index, image in enumerate(images):
            with replaced_atomically(out / f"{index:05d}.png") as path:
                Image.fromarray(image.permute(1, 2, 0).numpy().squeeze()).save(path, format="PNG")
        return
    if out.is_dir():
        raise IsADirectoryError(f"{out}: is a folder; give --out a file's name, or take --format png-dir")
    with replaced_atomically(out) as path:
        if format_ == "npy":
            with path.open("wb") as stream:
                np.save(stream, images.numpy())
        else:
            image_grid(images, columns=math.ceil(math.sqrt(len(images))), scale=2).save(path, format="PNG")
