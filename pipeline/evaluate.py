"""Stage `evaluate`: scores a cell's samples and writes build/metrics/KEY.json, flat, under full names.

Reads samples, evaluator and reference only. Scores of the averaged generator have plain names, those of the
raw one end in _raw; floor and ceiling are copied from the reference.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gan.config import Params
from gan.device import prepare_scoring
from gan.errors import DataError
from gan.extractors import load_extractor
from gan.files import read_json, write_json
from gan.metrics.catalogue import BY_NAME, score
from gan.metrics.names import Suffix
from gan.metrics.reference import Reference, Samples
from pipeline.scores.protocol import make_protocols, write_protocols
from pipeline.stage import Cell, parse_cell, run_stage

Columns = dict[Suffix, dict[str, float]]


def main(params: Params, key: str) -> None:
    """Score the samples of both generators against the same number of reference images."""
    cell = parse_cell(key, params)
    device = prepare_scoring(1)  # cells are scored side by side, where threads would wait for one another
    evaluator, reference = read_json(cell.evaluator / "card.json"), read_json(cell.reference / "card.json")
    shape = params.datasets[cell.dataset].shape
    extractor = load_extractor(cell.evaluator, shape, device)
    _check_reference(cell, params, evaluator, reference, torch.device(extractor.device).type)
    with np.load(cell.reference / "features.npz") as archive:
        real = Reference(archive["features"], archive["classes"], archive["train"], reference["suspicious"])

    def scores(name: str) -> dict[str, float]:
        images = _read_samples(cell, name, (reference["n"], *shape))
        return score(Samples(*extractor.extract(images), images), real)

    columns: Columns = {
        "": scores("averaged"),
        "raw": scores("raw"),
        "floor": reference["floor"],
        "ceiling": reference["ceiling"],
    }
    stamps = make_protocols(cell, params, evaluator, reference)
    stamp = stamps["averaged"]
    named = {
        str(stamp.name(metric, suffix)): values[metric]
        for suffix, values in columns.items()
        for metric in BY_NAME
        if metric in values
    }
    write_json(cell.metrics, named)
    write_protocols(cell, stamps)
    table = _table(f"{key}: {stamp.name('*')}", columns)
    if "uniform" in reference:
        modes, divergence = (f"{reference['uniform'][name]:.4g}" for name in ("modes", "mode_kl"))
        table.caption = f"uniform modes: modes {modes}, mode_kl {divergence}"
    Console().print(table)


def _check_reference(cell: Cell, params: Params, evaluator: Any, reference: Any, device: str) -> None:
    """Raise DataError if the reference was made with another evaluator or protocol, or on another device."""
    card = cell.reference / "card.json"
    again = f"run 'dvc repro reference@{cell.dataset}'"
    if reference["evaluator_sha256"] != evaluator["sha256"]:
        raise DataError(
            f"{card}: made with evaluator {reference['evaluator_sha256'][:12]}..., the one in "
            f"{cell.evaluator} is {evaluator['sha256'][:12]}...; {again}"
        )
    made_on = reference.get("device")
    if made_on != device:
        raise DataError(
            f"{card}: made on {made_on or 'an unknown device'}, these scores would be on {device}; "
            f"run 'dvc repro -f reference@{cell.dataset}' here"
        )
    actual = reference["n"], reference["split"]
    wanted = params.samples[cell.dataset], params.evaluate.reference
    if actual != wanted:
        raise DataError(
            f"{card}: holds {actual[0]} of {actual[1]}, expected {wanted[0]} of {wanted[1]}; {again}"
        )


def _read_samples(cell: Cell, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    path = cell.samples / f"{name}.npy"
    again = f"run 'dvc repro sample@{cell.key}'"
    try:
        images: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole array ({error}); {again}") from error
    if images.dtype != np.uint8 or images.shape != shape:
        raise DataError(f"{path}: is {images.dtype} {images.shape}, expected uint8 {shape}; {again}")
    return images


def _table(title: str, columns: Columns) -> Table:
    table = Table("metric", "averaged", "raw", "floor", "ceiling", title=title)
    for metric in (name for name in BY_NAME if name in columns[""]):
        table.add_row(metric, *(f"{values[metric]:.4g}" for values in columns.values()))
    return table


if __name__ == "__main__":
    run_stage(main)
