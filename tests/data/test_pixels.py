"""What may stand in an archive of pictures, and what becomes of it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from gan.data import pixels as pixels_module
from gan.data.pixels import BadImage, decode

RED = np.zeros((20, 30, 3), np.uint8) + np.array([200, 30, 60], np.uint8)


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(mode="RGB"):
    return Image.fromarray(RED).convert(mode)


def with_alpha(alpha):
    return Image.fromarray(np.dstack([RED, np.full((20, 30), alpha, np.uint8)]))


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    return saved(picture(), "JPEG", exif=exif)


def with_exif(entries, *, order=b"MM"):
    """A JPEG whose EXIF has these (tag, type, count, value or offset), written by hand."""
    sign = ">" if order == b"MM" else "<"
    rows = b"".join(struct.pack(f"{sign}HHL4s", *entry) for entry in entries)
    table = struct.pack(f"{sign}H", len(entries)) + rows
    head = order + struct.pack(f"{sign}HL", 42, 8)
    return saved(picture(), "JPEG", quality=95, exif=b"Exif\0\0" + head + table + bytes(4))


ORIENTATION = 0x0112
ODD_EXIF = {
    "only a header": lambda: saved(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08"),
    "not TIFF": lambda: saved(picture(), "JPEG", exif=b"Exif\0\0nothing of the kind"),
    "cut off": lambda: saved(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0"),
    "offset past the end": lambda: with_exif([(0x010F, 2, 40, b"\0\1\0\0")]),
    "table past the end": lambda: saved(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\1\0\0"),
    "orientation of nothing": lambda: with_exif([(ORIENTATION, 3, 0, bytes(4))]),
    "orientation of text": lambda: with_exif([(ORIENTATION, 2, 2, b"6\0\0\0")]),
    "orientation 9": lambda: with_exif([(ORIENTATION, 3, 1, b"\0\x09\0\0")]),
    "EXIF tables that are numbers": lambda: with_exif([(0x8769, 2, 4, b"abcd")]),
    "broken EXIF in a PNG": lambda: saved(picture(), "PNG", exif=b"MM\0*\0\0\0\x08"),
    "broken EXIF in a WebP": lambda: saved(picture(), "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\0\0"),
}


def mpo(*, turned=False, index=None):
    """A photograph and, in the same file, another one, as many cameras write them."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6 if turned else 1
    further = Image.new("RGB", (30, 20), "blue")
    value = saved(picture(), "MPO", quality=95, save_all=True, append_images=[further, further], exif=exif)
    at = value.index(b"MPF\0") + 12
    return value if index is None else value[:at] + index + value[at + len(index) :]


def black_png(width, height, depth, colour, size):
    """A PNG written by hand, with `size` bytes of black."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(size)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def deep_png(colour, channels):
    """A whole PNG of 16 bits a channel."""
    return black_png(30, 20, 16, colour, 20 * (1 + 30 * channels * 2))


def huge_png():
    """A PNG that announces 30,000 x 30,000 pixels and holds few."""
    return black_png(30_000, 30_000, 8, 2, 1000)


def huge_jpeg():
    good = bytearray(saved(picture(), "JPEG"))
    at = good.index(b"\xff\xc0") + 5
    good[at : at + 4] = struct.pack(">HH", 30_000, 30_000)
    return bytes(good)


GOOD = {
    "jpeg": (lambda: saved(picture(), "JPEG", quality=95), (200, 30, 60)),
    "progressive jpeg": (lambda: saved(picture(), "JPEG", quality=95, progressive=True), (200, 30, 60)),
    "grey jpeg": (lambda: saved(picture("L"), "JPEG", quality=95), (84, 84, 84)),
    "cmyk jpeg": (lambda: saved(picture("CMYK"), "JPEG", quality=95), (200, 30, 60)),
    "mpo": (mpo, (200, 30, 60)),
    "mpo of a broken index": (lambda: mpo(index=b"\xff" * 30), (200, 30, 60)),
    "png": (lambda: saved(picture(), "PNG"), (200, 30, 60)),
    "grey png": (lambda: saved(picture("L"), "PNG"), (84, 84, 84)),
    "palette png": (lambda: saved(picture("P"), "PNG"), (204, 51, 51)),
    "bilevel png": (lambda: saved(Image.new("1", (30, 20), 1), "PNG"), (255, 255, 255)),
    "opaque png": (lambda: saved(with_alpha(255), "PNG"), (200, 30, 60)),
    "transparent png": (lambda: saved(with_alpha(0), "PNG"), (255, 255, 255)),
    "grey alpha png": (lambda: saved(with_alpha(0).convert("LA"), "PNG"), (255, 255, 255)),
    "webp": (lambda: saved(picture(), "WEBP", lossless=True), (200, 30, 60)),
    "transparent webp": (lambda: saved(with_alpha(0), "WEBP", lossless=True, exact=True), (255, 255, 255)),
}
BAD = {
    "empty": (lambda: b"", "is empty"),
    "page": (lambda: b"\n<!DOCTYPE html>", "but a web page"),
    "gif": (lambda: saved(picture(), "GIF"), "no JPEG, PNG or WebP"),
    "bmp": (lambda: saved(picture(), "BMP"), "no JPEG, PNG or WebP"),
    "tiff": (lambda: saved(picture(), "TIFF"), "no JPEG, PNG or WebP"),
    "16 bits": (lambda: saved(Image.fromarray(np.zeros((20, 30), np.uint16)), "PNG"), "has 16 bits"),
    "16 bits of grey": (lambda: deep_png(0, 1), "has 16 bits a channel"),
    "16 bits of colour": (lambda: deep_png(2, 3), "has 16 bits a channel"),
    "16 bits of grey and alpha": (lambda: deep_png(4, 2), "has 16 bits a channel"),
    "16 bits of colour and alpha": (lambda: deep_png(6, 4), "has 16 bits a channel"),
    "animated webp": (
        lambda: saved(picture(), "WEBP", save_all=True, append_images=[Image.new("RGB", (30, 20))]),
        "is an animation",
    ),
    "animated png": (
        lambda: saved(picture(), "PNG", save_all=True, append_images=[Image.new("RGB", (30, 20))]),
        "is an animation",
    ),
    "huge png": (huge_png, "has 30000x30000 pixels|decompression bomb"),
    "truncated mpo": (lambda: mpo()[:700], "can't be decoded"),
    "huge jpeg": (huge_jpeg, "has 30000x30000 pixels|decompression bomb"),
    "jpeg of nothing": (lambda: b"\xff\xd8\xff\xd9", "can't be decoded"),
    "png of nothing": (lambda: b"\x89PNG\r\n\x1a\n", "can't be decoded"),
    "webp of nothing": (lambda: b"RIFF\0\0\0\0WEBP", "can't be decoded"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_picture_of_one_colour_keeps_it_whatever_it_is_encoded_in(kind):
    make, colour = GOOD[kind]
    pixels = decode(make(), 3)

    assert (pixels.shape, pixels.dtype) == ((3, 20, 30), np.uint8)
    assert np.abs(pixels[:, 10, 15].astype(int) - colour).max() <= 3


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_ordinary_picture_is_refused_with_a_reason(kind):
    make, reason = BAD[kind]
    with pytest.raises(BadImage, match=reason):
        decode(make(), 3)


def test_a_picture_is_turned_as_its_exif_says():
    assert decode(turned(), 3).shape == (3, 30, 20)
    assert decode(mpo(turned=True), 3).shape == (3, 30, 20)


@pytest.mark.parametrize("kind", ODD_EXIF)
def test_a_sound_picture_with_odd_exif_is_read_as_it_lies(kind):
    pixels = decode(ODD_EXIF[kind](), 3)

    assert pixels.shape == (3, 20, 30)
    assert np.abs(pixels[:, 10, 15].astype(int) - (200, 30, 60)).max() <= 3


@pytest.mark.parametrize(
    "others",
    [[(ORIENTATION, 3, 2, b"\0\6\0\6")], [(0x010F, 2, 40, b"\0\1\0\0"), (ORIENTATION, 3, 1, b"\0\6\0\0")]],
)
def test_an_orientation_counts_beside_faults_of_the_exif(others):
    assert decode(with_exif(others), 3).shape == (3, 30, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(make_photograph, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    value = saved(make_photograph(0, 30, 20), "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(value)))).transpose(2, 0, 1)

    np.testing.assert_array_equal(decode(value, 3), expected)


def test_one_channel_is_pillows_luminance():
    found = decode(saved(picture(), "PNG"), 1)

    assert found.shape == (1, 20, 30)
    assert set(found.flatten().tolist()) == {84}  # 0.299 * 200 + 0.587 * 30 + 0.114 * 60


@pytest.mark.parametrize(
    "options", [{"quality": 75}, {"quality": 95, "subsampling": 0}, {"progressive": True}]
)
def test_both_jpeg_decoders_give_the_same_pixels(make_photograph, options):
    for seed in range(10):
        value = saved(make_photograph(seed, 178, 218), "JPEG", **options)
        expected = np.asarray(Image.open(io.BytesIO(value))).transpose(2, 0, 1)
        np.testing.assert_array_equal(decode(value, 3), expected)


def test_without_torchvisions_decoder_pillow_gives_the_pixels(make_photograph, monkeypatch):
    value = saved(make_photograph(0, 178, 218), "JPEG")
    expected = decode(value, 3)
    monkeypatch.setattr(pixels_module, "_jpeg_decoder", lambda: None)

    np.testing.assert_array_equal(decode(value, 3), expected)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_every_truncation_is_refused(make_photograph, format):
    value = saved(make_photograph(1, 60, 50), format)
    for size in range(0, len(value) - 2, 97):
        with pytest.raises(BadImage):
            decode(value[:size], 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_no_mutation_raises_anything_else(make_photograph, format):
    value = saved(make_photograph(1, 60, 50), format)
    rng = np.random.default_rng(0)
    for _ in range(700):
        content = bytearray(value)
        for position in rng.integers(0, rng.choice([60, len(content)]), rng.integers(1, 5)):
            content[position] = rng.integers(256)
        try:
            pixels = decode(bytes(content), 3)
        except BadImage:
            continue
        assert pixels.shape[0] == 3


def test_torchvisions_decoder_is_there_and_its_mode_is_rgb():
    from torchvision.io import ImageReadMode

    assert pixels_module._jpeg_decoder() is not None
    assert ImageReadMode.RGB.value == pixels_module.TO_RGB
