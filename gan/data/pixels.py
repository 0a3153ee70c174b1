"""Owns turning an encoded image into the pixels of a record: formats, decoding, crop, resize.

Formats are told by magic bytes, never by names. Torch is imported only in the processes that decode. JPEGs
of the common kind are decoded by torchvision, which gives the same pixels as Pillow at twice the speed;
everything else by Pillow.
"""

import functools
import io
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from gan.contract import ImageShape
from gan.errors import ConfigError

MAX_PIXELS = 16_000_000
TO_RGB = 3  # torchvision.io.ImageReadMode.RGB
JPEG = b"\xff\xd8\xff"
FORMATS = ("PNG", "WEBP")  # beside JPEG
PNG = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH = 24  # offset of the bits a channel, in IHDR, which is always the first chunk
TURNS = {  # by EXIF's orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Pixels = NDArray[np.uint8]
CropName = Literal[
    "exact",
    "short_side",
    "centre_108",
    "centre_128",
    "centre_128_decimated",
    "centre_160",
    "centre_178",
]


class BadImage(Exception):
    """An encoded image that can't become a record; the message says why."""


class Crop(NamedTuple):
    """A square cut from the centre of a picture, to be resized to the store's size."""

    side: int
    every_nth_pixel: bool = False


# Scores compare only within one crop. Of the face crops, 128 is khanrc's, 108 LynnHo's, 160
# compare_gan's, 178 mimicry's. `decimated` takes every second pixel, as TensorFlow 1 resized without
# corner alignment. On LSUN, `short_side` is what the WGAN papers used, and `centre_128_decimated`
# the zoom on the middle quarter of a room that khanrc's code makes.
CROPS: dict[str, Crop] = {
    "centre_108": Crop(108),
    "centre_128": Crop(128),
    "centre_128_decimated": Crop(128, every_nth_pixel=True),
    "centre_160": Crop(160),
    "centre_178": Crop(178),
}


def check_crop(crop: CropName, image: ImageShape) -> None:
    """Raise ConfigError for a crop that can't give images of this shape."""
    if image.channels not in (1, 3):
        raise ConfigError(f"images have 1 or 3 channels, not {image.channels}; correct params.yaml")
    if crop == "exact":
        return
    side = image.height
    if image.width != side:
        raise ConfigError(f"crop {crop} gives squares, not {side}x{image.width}; correct params.yaml")
    if crop == "short_side":
        return
    cut, decimated = CROPS[crop]
    if side > cut or (decimated and cut % side):
        raise ConfigError(f"crop {crop} can't give images of {side}x{side} without enlarging them")


def decode(value: bytes, channels: int) -> Pixels:
    """Decode a whole JPEG, PNG or WebP to uint8 (channels, H, W), turned upright as its EXIF says.

    Palettes and grey become RGB, transparency becomes white, CMYK is converted as Pillow does.
    Of a camera's several pictures in one JPEG (MPO) the first counts.
    Raises BadImage for other formats, damage, more than 8 bits a channel, animations, and more than
    16 megapixels.
    """
    if not value:
        raise BadImage("is empty")
    is_jpeg = value[:3] == JPEG
    if not (is_jpeg or value[:8] == PNG or (value[:4] + value[8:12]) == b"RIFFWEBP"):
        start = value[:256].lstrip().lower()
        what = "a web page" if start.startswith((b"<!doctype", b"<html", b"<?xml")) else "none of these"
        raise BadImage(f"is no JPEG, PNG or WebP but {what} (it begins with {value[:8].hex()})")
    if is_jpeg and channels == 3 and _is_common_jpeg(value):
        return _decode_common_jpeg(value)
    return _decode_with_pillow(value, channels)


def _is_common_jpeg(value: bytes) -> bool:
    """Tell whether both decoders give the same pixels: 8 bits, grey or YCbCr, no EXIF, no Adobe marker."""
    position = 2
    while position + 4 <= len(value) and value[position] == 0xFF:
        marker, length = value[position + 1], int.from_bytes(value[position + 2 : position + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):  # start of frame: baseline, extended, progressive
            frame = value[position + 4 : position + 10]
            if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3):
                return False
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            return 0 < height * width <= MAX_PIXELS
        if marker in (0xE1, 0xEE) or not (0xC4 <= marker <= 0xFE) or length < 2:
            return False
        position += 2 + length
    return False


@functools.cache
def _jpeg_decoder() -> Callable[[Any, int, bool], Any] | None:
    """Torchvision's operator itself, since its Python wrapper warns at each call that it is deprecated.

    None for a torchvision without decoders, as announced for later versions; Pillow gives the same pixels.
    """
    import torch

    try:
        import torchvision.io  # noqa: F401, registers the operator

        decoder: Callable[[Any, int, bool], Any] = torch.ops.image.decode_jpeg.default
    except (ImportError, AttributeError):
        return None
    return decoder


def _decode_common_jpeg(value: bytes) -> Pixels:
    import torch

    decoder = _jpeg_decoder()
    if decoder is None:
        return _decode_with_pillow(value, 3)
    try:
        # A bytearray, because torch warns about read-only memory.
        data = torch.frombuffer(bytearray(value), dtype=torch.uint8)
        pixels: Pixels = decoder(data, TO_RGB, False).numpy()
    except RuntimeError as error:
        reason = str(error).splitlines()[0].rpartition(": ")[2]
        raise BadImage(f"can't be decoded ({reason})") from error
    return pixels


def _decode_with_pillow(value: bytes, channels: int) -> Pixels:
    try:
        with warnings.catch_warnings():
            # Pillow warns about metadata only; faults of the pixels raise.
            warnings.simplefilter("ignore")
            with _open(value) as image:
                _check_kind(image)
                _check_depth(value)
                image.load()
                pixels = np.asarray(_make_upright_and_opaque(image).convert("L" if channels == 1 else "RGB"))
    except BadImage:
        raise
    except Exception as error:  # decoders raise nearly anything on broken bytes
        raise BadImage(f"can't be decoded ({' '.join(str(error).split())})") from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _open(value: bytes) -> Image.Image:
    """Open a picture without decoding it.

    A JPEG is never opened as MPO, the JPEG of many cameras: its first picture is the photograph, the
    further ones are previews or another eye's view.
    """
    if value[:3] == JPEG:
        return JpegImageFile(io.BytesIO(value))
    return Image.open(io.BytesIO(value), formats=FORMATS)


def _check_kind(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}")
    if getattr(image, "n_frames", 1) > 1:
        raise BadImage("is an animation")


def _check_depth(value: bytes) -> None:
    """Refuse a PNG of 16 bits, which Pillow cuts to 8 without a word. JPEG and WebP have no more than 8."""
    if value[:8] == PNG and value[PNG_DEPTH] > 8:
        raise BadImage(f"has {value[PNG_DEPTH]} bits a channel, more than 8")


def _make_upright_and_opaque(image: Image.Image) -> Image.Image:
    turn = _find_turn(image)
    upright = image if turn is None else image.transpose(turn)
    if not upright.has_transparency_data:
        return upright
    layer = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def _find_turn(image: Image.Image) -> Image.Transpose | None:
    """Read the turn that makes a picture upright; None if its EXIF names none or can't be read.

    Pillow's exif_transpose also writes the EXIF anew, which fails for pictures whose pixels are sound.
    """
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises nearly anything on broken EXIF
        return None


def fit(picture: Pixels, crop: CropName, image: ImageShape) -> Pixels:
    """Crop and resize a decoded picture, uint8 (C, H, W), to the shape `image`.

    Raises BadImage when it is too small for the crop, or of another size where the crop is exact.
    """
    if crop == "short_side":
        return _fit_short_side(picture, image.height)
    _, rows, columns = picture.shape
    height, width = (CROPS[crop].side,) * 2 if crop in CROPS else image[1:]
    if rows < height or columns < width or (crop == "exact" and (rows, columns) != (height, width)):
        relation = "the store's are" if crop == "exact" else "the crop takes"
        raise BadImage(f"has {columns}x{rows} pixels, {relation} {width}x{height}")
    top, left = (rows - height) // 2, (columns - width) // 2
    cut = picture[:, top : top + height, left : left + width]
    if (height, width) == image[1:]:
        return cut
    if CROPS[crop].every_nth_pixel:
        step = height // image.height
        return cut[:, ::step, ::step]
    return _resize(cut, *image[1:])


def _fit_short_side(picture: Pixels, side: int) -> Pixels:
    """Resize the short side to `side`, then cut the centre square, as torchvision's transforms do."""
    _, rows, columns = picture.shape
    short, long = min(rows, columns), max(rows, columns)
    if short < side:
        raise BadImage(f"has {columns}x{rows} pixels, the short side must have {side}")
    other = side * long // short
    height, width = (side, other) if rows <= columns else (other, side)
    resized = picture if (height, width) == (rows, columns) else _resize(picture, height, width)
    top, left = round((height - side) / 2), round((width - side) / 2)
    return resized[:, top : top + side, left : left + side]


def _resize(picture: Pixels, height: int, width: int) -> Pixels:
    """Resize (C, H, W) with a triangle filter as wide as the reduction, as Pillow's BILINEAR does.

    One picture at a time: the memory of a batch would cost more than calling torch for each.
    """
    import torch
    from torch.nn.functional import interpolate

    # Torch warns about read-only memory, such as Pillow's.
    tensor = torch.from_numpy(picture if picture.flags.writeable else picture.copy())
    resized = interpolate(tensor[None], (height, width), mode="bilinear", antialias=True)
    pixels: Pixels = resized[0].numpy()
    return pixels
