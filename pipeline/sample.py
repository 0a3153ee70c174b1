"""Stage `sample`: noise through a trained generator, averaged and raw, to uint8 images and a grid.

Equal noise reaches every cell whose z_dim and noise law are equal, so that their images can be laid
side by side.
"""

import numpy as np
import torch

from gan.config import Params
from gan.files import replaced_atomically
from gan.generator import load_generator
from gan.randomness import derive_seed
from gan.sampling import draw_noise, generate_images, image_grid
from pipeline.stage import parse_cell, run_stage


def main(params: Params, key: str) -> None:
    """Write build/samples/KEY/{averaged.npy,raw.npy,grid.png}."""
    cell = parse_cell(key, params)
    torch.set_num_threads(params.train.num_threads)
    for name, weights in (("averaged", "generator"), ("raw", "generator_raw")):
        generator, card = load_generator(cell.model, weights)  # type: ignore[arg-type]
        stream = torch.Generator().manual_seed(derive_seed("sample"))
        noise = draw_noise(params.evaluate.samples, card.method.z_dim, card.method.noise, stream)
        images = generate_images(generator, noise)
        with replaced_atomically(cell.samples / f"{name}.npy") as path, path.open("wb") as stream_out:
            np.save(stream_out, images.numpy())
        if name == "averaged":
            with replaced_atomically(cell.samples / "grid.png") as path:
                image_grid(images[:64], scale=2).save(path, format="PNG")


if __name__ == "__main__":
    run_stage(main)
