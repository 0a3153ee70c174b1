"""Measure data handling: conversion, reading, memory; each beside its alternatives.

python -m benchmarks.data [--folder FOLDER] [--quick] [--json FILE]

Rates are images a second, the best of several rounds in which the contestants take turns, so that
another load on the machine hits all of them. Where one process does all the work, seconds are those
of its processor, else those of the clock. One thread a process. Needs 5 GB in FOLDER.
"""

import argparse
import io
import itertools
import json
import os
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from gan.contract import ImageShape
from gan.data.batches import endless_batches, epoch_order
from gan.data.convert import CHUNK, Plan, convert, make_records
from gan.data.image_store import ImageStore
from gan.data.lmdb_pages import LmdbPages
from gan.data.store_writer import write_store

IMAGE = ImageShape(3, 64, 64)
BATCH = 128
ROUNDS = 8
CELEBA, LSUN = 202_599, 3_033_042


def photograph(seed: int, width: int, height: int) -> Image.Image:
    """Draw soft shapes, an edge and grain; as JPEG it has about the bytes of a photograph."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)).resize((width, height), 3)
    pixels = np.asarray(shapes, np.int16) + rng.integers(-9, 10, (height, width, 1))
    pixels[height // 3 :, : width // 2] //= 2
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, quality: int) -> bytes:
    """Encode as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def best_rates(
    contestants: dict[str, Callable[[], int]], clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Let contestants take turns, each returning its number of images; return the best rate of each."""
    rates = dict.fromkeys(contestants, 0.0)
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            begin = clock()
            count = run()
            rates[name] = max(rates[name], count / (clock() - begin))
    return rates


def plain_pillow(values: list[bytes], box: tuple[int, int, int, int]) -> int:
    """Convert as most scripts do: open, crop, resize, to an array of channels first."""
    for value in values:
        picture = Image.open(io.BytesIO(value)).convert("RGB").crop(box)
        np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1).tobytes()
    return len(values)


def ours(values: list[bytes], crop: str) -> int:
    """Convert as the stage does, in this process."""
    for begin in range(0, len(values), CHUNK):
        make_records(values[begin : begin + CHUNK], crop=crop, image=IMAGE)
    return len(values)


def convert_archive(folder: Path, plan: Plan, target: Path, processes: int) -> tuple[float, float]:
    """Convert a whole raw folder to a store; return the seconds, and those after the first record."""
    begin = time.perf_counter()
    started: list[float] = []

    def noted(records: Iterator[Any]) -> Iterator[Any]:
        for record in records:
            started[:] = started or [time.perf_counter()]
            yield record

    with convert(folder, plan, processes=processes) as found:
        write_store(
            target,
            noted(found.records),
            image=found.image,
            splits=found.splits,
            recipe=found.recipe,
            attributes=found.attributes,
        )
    end = time.perf_counter()
    return end - begin, end - started[0]


def measure_conversion(folder: Path, count: int) -> dict[str, Any]:
    """178x218 JPEGs to 64x64: one process against a Pillow loop, then an archive in 1, 2, ... processes."""
    values = [encoded(photograph(i, 178, 218), 85) for i in range(250)]
    found: dict[str, Any] = {"bytes a picture": round(float(np.mean([len(value) for value in values])))}
    for crop, box in (("centre_128", (25, 45, 153, 173)), ("centre_178", (0, 20, 178, 198))):
        found[f"{crop}, one process"] = best_rates(
            {"gantry": partial(ours, values, crop), "pillow loop": partial(plain_pillow, values, box)}
        )
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for i in range(count):
            archive.writestr(f"{i:06d}.jpg", values[i % len(values)])
    plan = Plan(IMAGE, "images", crop="centre_128")
    for processes in range(1, (os.cpu_count() or 1) + 1):
        seconds, running = convert_archive(folder, plan, folder / "images.lmdb", processes)
        found[f"archive to store, {processes} processes"] = {
            "images": count,
            "seconds": seconds,
            "rate": count / seconds,
            "rate once running": count / running,
        }
    return found


def measure_lsun(folder: Path, count: int) -> dict[str, Any]:
    """Pictures of LSUN's size: walking the LMDB, decoding, and a Pillow loop."""
    values = [encoded(photograph(i, 341, 256), 75) for i in range(150)]
    with lmdb.open(str(folder / "lsun"), map_size=2**34) as environment:
        with environment.begin(write=True) as transaction:
            for i in np.random.default_rng(0).permutation(count):
                transaction.put(f"{i:040x}".encode(), values[i % len(values)])

    def walk() -> int:
        with (folder / "lsun/data.mdb").open("rb") as stream:
            return sum(1 for _ in LmdbPages(stream, "data.mdb").items())

    def pillow() -> int:
        for value in values:
            picture = Image.open(io.BytesIO(value)).convert("RGB").resize((85, 64), Image.Resampling.BILINEAR)
            np.asarray(picture.crop((10, 0, 74, 64))).transpose(2, 0, 1).tobytes()
        return len(values)

    found: dict[str, Any] = {"bytes a picture": round(float(np.mean([len(value) for value in values])))}
    found["reading the LMDB"] = best_rates({"page by page": walk})
    contestants = {"gantry": partial(ours, values, "short_side"), "pillow loop": pillow}
    return found | {"short_side, one process": best_rates(contestants)}


def batches_of(batches: Iterator[Any], count: int) -> int:
    """Take a number of batches."""
    for _ in itertools.islice(batches, count):
        pass
    return count * BATCH


def memory_mapped(path: Path) -> Iterator[torch.Tensor]:
    """Batches from an array: the minimum work of any reader."""
    values = np.load(path, mmap_mode="r")
    for epoch in itertools.count():
        order = epoch_order(len(values), 0, epoch)
        for begin in range(0, len(values) - BATCH + 1, BATCH):
            images = torch.from_numpy(values[order[begin : begin + BATCH]])
            yield images.to(torch.float32).div_(127.5).sub_(1.0)


def image_folder(folder: Path, transform: Any, workers: int) -> Iterator[Any]:
    """Batches as torchvision's own examples make them."""
    dataset = ImageFolder(str(folder), transform)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, drop_last=True)
    while True:
        yield from loader


def measure_reading(folder: Path, count: int) -> dict[str, Any]:
    """Float batches of 128 x 3 x 64 x 64 in [-1, 1], in random order, the files in the page cache."""
    pictures = np.stack([np.asarray(photograph(i, 64, 64)).transpose(2, 0, 1) for i in range(500)])
    values = pictures[np.arange(count) % len(pictures)]
    np.save(folder / "small.npy", values)
    write_store(
        folder / "small.lmdb",
        ((pixels, 0) for pixels in values),
        image=IMAGE,
        splits={"train": (0, count)},
        recipe={},
    )
    for name, width, height, quality in (("64", 64, 64, 95), ("178x218", 178, 218, 85)):
        target = folder / f"folder_{name}/all"
        target.mkdir(parents=True)
        for i in range(count):
            (target / f"{i:06d}.jpg").write_bytes(encoded(photograph(i % 500, width, height), quality))
    normalise = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    crop = [transforms.CenterCrop(128), transforms.Resize(64)]
    store = ImageStore(folder / "small.lmdb", "train")
    readers = {
        "gantry": endless_batches(store, BATCH, seed=0),
        "gantry, flipped": endless_batches(store, BATCH, seed=0, flip=True),
        "memory-mapped array": memory_mapped(folder / "small.npy"),
        "ImageFolder 64, 2 workers": image_folder(folder / "folder_64", transforms.Compose(normalise), 2),
        "ImageFolder 178x218, 2 workers": image_folder(
            folder / "folder_178x218", transforms.Compose(crop + normalise), 2
        ),
    }
    epoch = count // BATCH
    for batches in readers.values():
        batches_of(batches, epoch)  # checksums, caches and workers' starts belong to the first epoch
    contestants = {name: partial(batches_of, batches, epoch) for name, batches in readers.items()}
    return best_rates(contestants, time.perf_counter)


def anonymous_memory() -> int:
    """Bytes of this process that belong to no file."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def measure_memory(folder: Path, gigabytes: float) -> dict[str, Any]:
    """Anonymous memory while a large store is read from end to end, by batches and in order."""
    count = int(gigabytes * 2**30 / 12_288)
    noise = np.random.default_rng(0).integers(0, 256, (100, *IMAGE), np.uint8)
    begin = time.perf_counter()
    write_store(
        folder / "large.lmdb",
        ((noise[i % 100], 0) for i in range(count)),
        image=IMAGE,
        splits={"train": (0, count)},
        recipe={},
    )
    writing = time.perf_counter() - begin
    store = ImageStore(folder / "large.lmdb", "train")
    store.read([0])
    before = highest = anonymous_memory()
    begin = time.perf_counter()
    for start in range(0, count, 1024):
        store.read(range(start, min(start + 1024, count)))
        highest = max(highest, anonymous_memory())
    reading = time.perf_counter() - begin
    batches = endless_batches(store, BATCH, seed=0)
    for _ in itertools.islice(batches, count // BATCH):
        highest = max(highest, anonymous_memory())
    return {
        "bytes of images": count * 12_288,
        "bytes on disk": (folder / "large.lmdb").stat().st_size,
        "written a second": count / writing,
        "read a second, checksums compared": count / reading,
        "growth of RssAnon, MB": (highest - before) / 1e6,
    }


def plan(results: dict[str, Any]) -> dict[str, Any]:
    """Estimate hours and gigabytes for all 3,033,042 bedrooms from the measurements."""
    decoding = results["lsun"]["short_side, one process"]["gantry"]
    walking = results["lsun"]["reading the LMDB"]["page by page"]
    writing = results["memory"]["written a second"]
    on_disk = results["memory"]["bytes on disk"] / (results["memory"]["bytes of images"] / 12_288)

    def hours(processes: int) -> float:
        # This process reads and writes; the others decode meanwhile.
        alone = LSUN / walking + LSUN / writing
        return (alone + LSUN / decoding if processes == 1 else max(alone, LSUN / decoding / processes)) / 3600

    return {
        "hours with 1, 2, 8 processes": [round(hours(n), 2) for n in (1, 2, 8)],
        "GB of the store": LSUN * on_disk / 1e9,
    }


def main() -> None:
    """Measure everything and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where files are written; default: the system's")
    parser.add_argument("--quick", action="store_true", help="fewer images: a check that it runs")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    interpolate(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (4, 4), mode="bilinear", antialias=True)
    large = not options.quick
    results: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "torch": torch.__version__, "python": sys.version.split()[0]}
    }
    parts: dict[str, Callable[[Path], Any]] = {
        "conversion": lambda folder: measure_conversion(folder, 40_000 if large else 500),
        "lsun": lambda folder: measure_lsun(folder, 20_000 if large else 500),
        "reading": lambda folder: measure_reading(folder, 6_400 if large else 256),
        "memory": lambda folder: measure_memory(folder, 3.0 if large else 0.05),
    }
    for name, measure in parts.items():
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="gantry-bench-") as folder:
            results[name] = measure(Path(folder))
    results["plan for 3,033,042 bedrooms"] = plan(results)
    text = json.dumps(results, indent=1, default=float)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
