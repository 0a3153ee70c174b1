"""Owns the protocol stamp: all that must be equal before two scores may stand in one column.

Stage `evaluate` writes one stamp for the averaged generator's scores and one for the raw one's beside
the metrics. A floor and a ceiling are scored as the column they stand by. Loads no torch.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt, ValidationError

from gan import __version__
from gan.config import Params
from gan.contract import StrictModel
from gan.errors import DataError
from gan.extractors import EXTRACTORS
from gan.files import read_json, write_json
from gan.metrics.names import MetricName, Suffix
from gan.randomness import derive_seed
from gan.versions import installed_versions
from pipeline.stage import Cell
from pipeline.trace import SCORING, digest_of, reachable

Weights = Literal["averaged", "raw"]

ROOT = Path(__file__).resolve().parents[2]
# Imported by what scores; what they do shows in an error or in other fields, never in a score alone.
LEFT_OUT = {"gan.contract", "gan.data.image_store", "gan.data.store_manifest", "gan.errors", "gan.files"}
LEFT_OUT |= {"gan.distributed", "gan.generator", "gan.interpolation"}  # the last of images that are looked at
RAW = {"weights": "raw", "ema_exponent": None, "batch_norm": "running"}
FLAT = "protocol_"  # of the fields in a flat row


class Protocol(StrictModel):
    """What a score means. Two scores compare when all of these are equal."""

    dataset: str
    data_digest: str  # of the records, as the store's manifest has it
    data_recipe: str  # how they come from the raw files
    split: str  # of the reference
    samples: PositiveInt  # generated images that are scored
    reference_samples: PositiveInt  # images of the reference
    extractor: str
    extractor_sha256: str
    device: Literal["cpu", "cuda"]  # type of the one that extracts features; they differ in rounding
    resize: str  # between the images and the extractor
    rounding: str  # of the generator's values to pixels
    batch_norm: Literal["re-estimated from noise", "running"]  # statistics of the generator's
    weights: Weights
    ema_exponent: PositiveFloat | None  # of the averaged weights
    noise_seed: int
    code: str  # SHA-256 over the syntax trees of the modules that score
    gantry: str  # version

    def name(self, metric: str, suffix: Suffix = "") -> MetricName:
        """Full name of a metric's score under this protocol."""
        return MetricName(metric, self.extractor, self.samples, self.split, suffix)


def make_protocols(
    cell: Cell, params: Params, evaluator: Mapping[str, Any], reference: Mapping[str, Any]
) -> dict[Weights, Protocol]:
    """Stamp the scores of both generators of a cell. evaluator, reference: the cards of these stages."""
    plan = params.datasets[cell.dataset].plan
    size = "x".join(map(str, plan.image))
    averaged = Protocol(
        dataset=cell.dataset,
        data_digest=reference["data_digest"],
        data_recipe=f"{size}, layout {plan.layout}, crop {plan.crop}, split {plan.split}",
        split=reference["split"],
        samples=params.samples[cell.dataset],
        reference_samples=reference["n"],
        extractor=evaluator["name"],
        extractor_sha256=evaluator["sha256"],
        device=reference["device"],
        resize=EXTRACTORS[evaluator["name"]].resize,
        rounding="clamp, round, uint8",
        batch_norm="re-estimated from noise",
        weights="averaged",
        ema_exponent=params.train.ema_exponent,
        noise_seed=derive_seed("sample"),
        code=scoring_digest(),
        gantry=__version__,
    )
    return {"averaged": averaged, "raw": averaged.model_copy(update=RAW)}


def write_protocols(cell: Cell, stamps: Mapping[Weights, Protocol]) -> None:
    """Write build/protocols/KEY.json: stamps under "averaged" and "raw", and "versions" of packages."""
    content: dict[str, Any] = {weights: stamp.model_dump() for weights, stamp in stamps.items()}
    write_json(cell.protocol, content | {"versions": installed_versions()})


def read_protocol(path: Path, weights: Weights = "averaged") -> Protocol:
    """Read one stamp of what `write_protocols` wrote. Raises DataError with one line."""
    again = f"run 'dvc repro -f evaluate@{path.stem}'"
    if not path.is_file():
        raise DataError(f"{path}: no such file; {again}")
    try:
        stamps = read_json(path)
        return Protocol.model_validate(stamps[weights])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: no protocol of the {weights} generator ({_fault(error)}); {again}"
        ) from error


def _fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return " ".join(f"{type(error).__name__}: {error}".split())


def scoring_modules() -> set[str]:
    """Names of the modules whose code decides on a score."""
    return reachable(SCORING, ROOT) - LEFT_OUT


def scoring_digest() -> str:
    """SHA-256 of the code that scores; comments and docstrings don't enter it."""
    digests = [(name, digest_of(name, ROOT)) for name in sorted(scoring_modules())]
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def protocol_digest(stamp: Protocol) -> str:
    """First 12 hexadecimal digits of a stamp's SHA-256: equal for equal protocols."""
    text = json.dumps(stamp.model_dump(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def flat_protocol(stamp: Protocol) -> dict[str, str | int | float | None]:
    """Write a stamp as fields of a flat row: protocol_digest, and protocol_<field> for each field."""
    fields = {f"{FLAT}{name}": value for name, value in stamp.model_dump().items()}
    return {f"{FLAT}digest": protocol_digest(stamp)} | fields
