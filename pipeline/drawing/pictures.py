"""Owns the report's pictures: uint8 samples (N, C, H, W) laid out, enlarged and encoded as PNG."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gan.contract import ImageShape
from gan.data import mixture
from gan.errors import DataError

Pixels = NDArray[np.uint8]

SCALE = 2  # an integer, so that every pixel of a digit stays a square
PLANE, DOT = 28, 3  # side of the picture that a point of a mixture is drawn in, and of the dot
MANY, SMALL = 56, 1  # the same where a picture shows many points
GROUND = 48  # grey, so that neighbouring pictures can be told apart
GAP = 2  # between the tiles of a grid, in pixels of the images
FRAME, LAST_FRAME = 600, 2500  # milliseconds
INK, MUTED = (240, 240, 240), (150, 150, 150)


def enlarge(picture: Pixels, scale: int = SCALE) -> Pixels:
    """Repeat each pixel of (H, W, C) into a square."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def lay_out(images: Pixels, columns: int, gap: int = GAP) -> Pixels:
    """Lay out images (N, C, H, W) row by row on black, as (height, width, C). N fills whole rows."""
    n, channels, height, width = images.shape
    rows = n // columns
    padded = np.zeros((rows * columns, channels, height + gap, width + gap), np.uint8)
    padded[:, :, :height, :width] = images[: rows * columns]
    tiles = padded.reshape(rows, columns, channels, height + gap, width + gap)
    picture = tiles.transpose(0, 3, 1, 4, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    return picture[: picture.shape[0] - gap, : picture.shape[1] - gap]


def read_samples(path: Path, n: int | None = None) -> Pixels:
    """Read the first n samples of a cell, (n, C, H, W), or all of them."""
    images: Pixels = np.load(path, mmap_mode="r")[:n]
    return drawn(np.ascontiguousarray(images))


def read_overview(path: Path, n: int) -> Pixels:
    """Read n pictures of a cell's samples, (n, C, H, W): the first n, or all points on n planes."""
    images: Pixels = np.load(path, mmap_mode="r")
    if images.shape[1:] != mixture.SHAPE:
        return read_samples(path, n)
    return np.stack([drawn(images[first::n], MANY, SMALL).max(axis=0) for first in range(n)])


def drawn(images: Pixels, side: int = PLANE, dot: int = DOT) -> Pixels:
    """Points of a mixture as dots in small pictures of the plane, y upwards; any other images as they are."""
    if images.shape[-3:] != mixture.SHAPE:
        return images
    across, up = images.reshape(-1, 2).T.astype(np.int64) * side // 256
    pictures = np.full((len(across), 1, side, side), GROUND, np.uint8)
    rows, columns = np.ogrid[:side, :side]
    apart = abs(rows - (side - 1 - up)[:, None, None]), abs(columns - across[:, None, None])
    near = (apart[0] <= dot // 2) & (apart[1] <= dot // 2)
    pictures[:, 0][near] = 255
    return pictures.reshape(*images.shape[:-2], side, side)


def read_grid(path: Path, image: ImageShape, columns: int = 8) -> Pixels:
    """Take a grid of `gan.sampling.image_grid` apart into its images (N, C, H, W), unenlarged.

    Raises DataError when the picture's size is not that of such a grid.
    """
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L" if image.channels == 1 else "RGB"))
    pixels = pixels.reshape(*pixels.shape[:2], image.channels)
    scale, rest = divmod(pixels.shape[1], columns * (image.width + GAP) + GAP)
    rows, rest_below = divmod(pixels.shape[0] // max(scale, 1) - GAP, image.height + GAP)
    if scale < 1 or rest or rest_below:
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise DataError(f"{path}: {size} pixels are no grid of {columns} columns; train this cell again")
    tiles = pixels[GAP * scale :: scale, GAP * scale :: scale]
    tiles = tiles[: rows * (image.height + GAP), : columns * (image.width + GAP)]
    split = tiles.reshape(rows, image.height + GAP, columns, image.width + GAP, image.channels)
    split = split[:, : image.height, :, : image.width].transpose(0, 2, 4, 1, 3)
    return drawn(np.ascontiguousarray(split.reshape(rows * columns, *image)))


def along_the_run(previews: Sequence[Pixels], rows: int) -> Pixels:
    """Lay out one noise vector per row and one preview per column, so that time runs to the right."""
    images = np.stack([preview[:rows] for preview in previews], axis=1)  # (rows, previews, C, H, W)
    return lay_out(images.reshape(-1, *images.shape[2:]), columns=len(previews))


def encode_png(picture: Pixels) -> bytes:
    """Encode (H, W, 1) or (H, W, 3) as PNG; equal bytes for equal pixels and an equal Pillow."""
    buffer = io.BytesIO()
    grey = picture.shape[2] == 1
    Image.fromarray(picture[:, :, 0] if grey else picture).save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(picture: Pixels) -> str:
    """Encode a picture as a data URI."""
    return png_uri(encode_png(picture))


def png_uri(content: bytes) -> str:
    """Encode a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def animate(pictures: Sequence[Pixels], progress: Sequence[float]) -> bytes:
    """Encode pictures (H, W, C) of one size as an animated PNG, which every browser plays; it starts anew.

    A bar below each, as long as its progress from 0 to 1, says how far the run was. Equal pixels and an
    equal Pillow give equal bytes. Raises ValueError when the two are not of one length or there is none.
    """
    frames = []
    for picture, share in zip(pictures, progress, strict=True):
        height, width, channels = picture.shape
        framed = np.zeros((height + 2 * GAP, width, channels), np.uint8)
        framed[:height] = picture
        framed[-GAP:, : round(share * width)] = MUTED[0]
        frames.append(Image.fromarray(framed[:, :, 0] if channels == 1 else framed))
    if not frames:
        raise ValueError("an animation needs at least one picture")
    times = [FRAME] * (len(frames) - 1) + [LAST_FRAME]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return buffer.getvalue()


def labelled_rows(rows: Sequence[tuple[str, list[str], Pixels]]) -> bytes:
    """Draw one row of images for each (name, notes, images), as PNG, on black so that digits float.

    Two notes fit beside a row of digits. Text is set in the font that Pillow brings, so that no font of
    the machine matters.
    """
    strips = [enlarge(lay_out(images, columns=len(images), gap=1)) for _, _, images in rows]
    name_font, note_font = ImageFont.load_default(15), ImageFont.load_default(12)
    texts = [(name, name_font) for name, _, _ in rows]
    texts += [(note, note_font) for _, notes, _ in rows for note in notes]
    label = int(max(font.getlength(text) for text, font in texts)) + 36
    margin, space = 16, 8
    height = sum(len(strip) + space for strip in strips) - space + 2 * margin
    canvas = Image.new("RGB", (label + max(strip.shape[1] for strip in strips) + margin, height))
    draw = ImageDraw.Draw(canvas)
    top = margin
    for (name, notes, _), strip in zip(rows, strips, strict=True):
        base = top + len(strip) // 2 + 7 - 8 * len(notes)
        draw.text((margin, base), name, INK, name_font, anchor="ls")
        for line, note in enumerate(notes, start=1):
            draw.text((margin, base + 16 * line), note, MUTED, note_font, anchor="ls")
        canvas.paste(Image.fromarray(np.broadcast_to(strip, (*strip.shape[:2], 3)).copy()), (label, top))
        top += len(strip) + space
    pixels = np.asarray(canvas)
    grey = all(strip.shape[2] == 1 for strip in strips)  # as the text is
    return encode_png(pixels[:, :, :1] if grey else pixels)
