"""Stage `sample`: generates images with a trained generator, averaged and raw, and draws a grid of them.

Cells with equal z_dim and noise law get equal noise, so that their images can be compared side by side.
It is drawn on the CPU whatever device generates, so that only rounding differs between devices.
Interpolations between noise vectors show what lies between two images. For the first samples the nearest
training images, by pixels, are kept too, so that copies show.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.config import Params
from gan.data.image_store import ImageStore
from gan.device import prepare_scoring
from gan.files import replaced_atomically, write_json
from gan.generator import load_generator
from gan.interpolation import interpolate
from gan.metrics.neighbours import nearest_neighbours
from gan.randomness import derive_seed
from gan.sampling import draw_noise, generate_images, image_grid
from pipeline.stage import parse_cell, run_stage

Pixels = NDArray[np.uint8]

PATHS, STEPS = 8, 10
COMPARED = 8  # samples whose nearest training images are kept
PORTION = 4096  # training images held at a time


def main(params: Params, key: str) -> None:
    """Write build/samples/KEY/{averaged,raw,interpolation,nearest}.npy, nearest.json and grid.png.

    interpolation.npy: (8, 10, C, H, W) by the averaged generator, one path per row. nearest.npy:
    (8, C, H, W), the training images nearest to the averaged generator's first samples; nearest.json has
    their numbers in the split and their distances, as root mean square of grey levels.
    """
    cell = parse_cell(key, params)
    device = prepare_scoring(params.train.num_threads)
    for name, weights in (("averaged", "generator"), ("raw", "generator_raw")):
        generator, card = load_generator(cell.model, weights)  # type: ignore[arg-type]
        generator.to(device)
        stream = torch.Generator().manual_seed(derive_seed("sample"))
        noise = draw_noise(params.samples[cell.dataset], card.method.z_dim, card.method.noise, stream)
        images = generate_images(generator, noise)
        _save(cell.samples / f"{name}.npy", images)
        if name == "averaged":
            stream = torch.Generator().manual_seed(derive_seed("interpolation"))
            ends = draw_noise(2 * PATHS, card.method.z_dim, card.method.noise, stream)
            paths = interpolate(ends[:PATHS], ends[PATHS:], STEPS, card.method.noise)
            between = generate_images(generator, paths.flatten(0, 1))
            _save(cell.samples / "interpolation.npy", between.unflatten(0, (PATHS, STEPS)))
            nearest, numbers, distances = nearest_images(
                images[:COMPARED].numpy(), ImageStore(cell.store, "train")
            )
            _save(cell.samples / "nearest.npy", torch.from_numpy(nearest))
            write_json(cell.samples / "nearest.json", {"numbers": numbers, "distances": distances})
            with replaced_atomically(cell.samples / "grid.png") as path:
                image_grid(images[:64], scale=2).save(path, format="PNG")


def nearest_images(images: Pixels, store: ImageStore) -> tuple[Pixels, list[int], list[float]]:
    """Find the images of a store nearest to given ones (N, C, H, W), with their numbers and distances.

    A distance is the root mean square over all values of an image, in grey levels.
    """
    rows = images.reshape(len(images), -1).astype(np.float32)
    numbers, distances = np.zeros(len(rows), np.int64), np.full(len(rows), np.inf)
    for begin in range(0, len(store), PORTION):
        portion = store.read(range(begin, min(begin + PORTION, len(store))))
        nearest = nearest_neighbours(rows, portion.reshape(len(portion), -1).astype(np.float32))
        is_nearer = nearest.distance < distances
        numbers[is_nearer] = begin + nearest.number[is_nearer]
        distances = np.minimum(distances, nearest.distance)
    scaled = distances / np.sqrt(rows.shape[1])
    return store.read(numbers), numbers.tolist(), scaled.round(3).tolist()


def _save(target: Path, images: Tensor) -> None:
    with replaced_atomically(target) as path, path.open("wb") as stream:
        np.save(stream, images.numpy())


if __name__ == "__main__":
    run_stage(main)
