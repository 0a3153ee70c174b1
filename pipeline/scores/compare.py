"""Owns `gantry compare`: scores of any cells and reports, if the same protocol made them.

A column holds one protocol. Where two records differ in a field of their stamps, nothing is shown but
these fields. Loads neither torch nor MLflow.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from gan.errors import DataError
from gan.files import read_json
from gan.metrics.names import SUFFIXES, MetricName, Suffix, find_names
from pipeline.scores.protocol import FLAT, RAW, Protocol, Weights, read_protocol
from pipeline.stage import parse_cell, read_params

LEADERBOARD = "leaderboard.json"
FIELDS = tuple(Protocol.model_fields)
# Features of equal images differ in their last bits from processor to processor.
EQUAL_SHARE, EQUAL_SHARE_OF_CEILING = 1e-3, 1e-6


class ScoredModel(NamedTuple):
    """The scores of one generator, and what is known of their protocol."""

    source: str
    key: str
    protocol: dict[str, Any]  # fields of a stamp; what is older than stamps lacks some
    scores: dict[str, float]  # full name without suffix -> value, as for the next two
    floors: dict[str, float]
    ceilings: dict[str, float]


def read_comparable(arguments: Sequence[str], weights: Weights) -> list[ScoredModel]:
    """Read the records that the arguments name, and report unknown fields on stderr.

    Raises DataError with a line for each difference where two protocols made it, and as `read_records`.
    """
    found = [record for argument in arguments for record in read_records(argument, weights)]
    check_comparable(found)
    _warn_of_unknown(found)
    return found


def read_records(argument: str, weights: Weights = "averaged") -> list[ScoredModel]:
    """Read the records that an argument of `gantry compare` names: one, or all rows of a report.

    Raises ConfigError for a cell that params.yaml doesn't know, DataError for files that are missing
    or hold something else.
    """
    path = Path(argument)
    if path.is_dir():
        path = path / LEADERBOARD
    elif "/" not in argument and path.suffix != ".json":
        path = parse_cell(argument, read_params()).metrics
    is_report = path.name == LEADERBOARD
    if not path.is_file():
        todo = "'make repro' of its study" if is_report else f"'dvc repro evaluate@{path.stem}'"
        raise DataError(f"{path}: no such file; run {todo}")
    try:
        content = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); write it again") from error
    if isinstance(content, list) and content:
        return [_read_row(str(path.parent), row, weights) for row in content]
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds neither metrics nor a leaderboard; name a cell or a report")
    stamp = read_protocol(path.parent.parent / "protocols" / path.name, weights)
    return [_make_record(str(path), path.stem, stamp.model_dump(), content, weights)]


def _read_row(source: str, row: Mapping[str, Any], weights: Weights) -> ScoredModel:
    """Read a row of a leaderboard; one that has no stamp tells a few fields all the same."""
    try:
        key = "-".join(str(row[part]) for part in ("dataset", "variant", "budget", "seed"))
        known = {"data_digest": row["data_digest"], "extractor_sha256": row["evaluator_sha256"]}
    except (KeyError, TypeError) as error:
        raise DataError(f"{source}/{LEADERBOARD}: a row has no {error}; write the report again") from error
    known |= {"dataset": row["dataset"], "weights": weights} | _protocol_of_names(row)
    stamped = {name: row[f"{FLAT}{name}"] for name in FIELDS if f"{FLAT}{name}" in row}
    if stamped and weights == "raw":
        stamped |= RAW
    return _make_record(source, key, known | stamped, row, weights)


def _protocol_of_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """Read extractor, samples and split from the name of the FID, the one metric that every row has."""
    found = find_names(row, "fid")
    return dict(zip(("extractor", "samples", "split"), found[0].protocol, strict=True)) if found else {}


def _make_record(
    source: str, key: str, protocol: dict[str, Any], named: Mapping[str, Any], weights: Weights
) -> ScoredModel:
    """Sort a flat mapping's metrics by suffix. Raises DataError when none belongs to the protocol."""
    by_suffix: dict[Suffix, dict[str, float]] = {suffix: {} for suffix in SUFFIXES}
    for text, value in named.items():
        name = MetricName.parse(text)
        if name and isinstance(value, (int, float)):
            by_suffix[name.suffix][str(name._replace(suffix=""))] = value
    scores = by_suffix["raw" if weights == "raw" else ""]
    if not any(_short_name(name, protocol) != name for name in scores):
        stated = ", ".join(f"{name} {protocol.get(name)}" for name in ("extractor", "samples", "split"))
        raise DataError(f"{source}: no metric of {key}'s {weights} generator is of its protocol ({stated})")
    return ScoredModel(source, key, protocol, scores, by_suffix["floor"], by_suffix["ceiling"])


def _short_name(name: str, protocol: Mapping[str, Any]) -> str:
    """Leave out of a metric's name what the protocol says: fid for fid_mnistnet_1k_test."""
    parsed = MetricName.parse(name)
    stated = tuple(protocol.get(field) for field in ("extractor", "samples", "split"))
    return parsed.metric if parsed and parsed.protocol == stated else name


def check_comparable(records: Sequence[ScoredModel]) -> None:
    """Raise DataError with a line for each field of the protocol, floor or ceiling that isn't one for all."""
    lines = []
    for field in FIELDS:
        holders: dict[str, str] = {}
        for record in records:
            if field in record.protocol:
                holders.setdefault(repr(record.protocol[field]), _title(record, records))
        if len(holders) > 1:
            lines.append(_difference(field, holders))
    lines = lines or _differing_scales(records)
    if lines:
        raise DataError("\n".join([*lines, "scores of two protocols share no column; score all alike"]))


def _differing_scales(records: Sequence[ScoredModel]) -> list[str]:
    """Find floors and ceilings that differ although their stamps are equal: something wasn't stamped."""
    lines = []
    for name in sorted({name for record in records for name in record.ceilings}):
        ceiling = max(abs(record.ceilings.get(name, 0.0)) for record in records)
        for end in ("floor", "ceiling"):
            holders: dict[str, str] = {}
            for record in records:
                value = (record.floors if end == "floor" else record.ceilings).get(name)
                if value is not None and not any(_close(value, float(other), ceiling) for other in holders):
                    holders[repr(value)] = _title(record, records)
            if len(holders) > 1:
                lines.append(_difference(f"{name}_{end}", holders))
    return lines


def _close(value: float, other: float, ceiling: float) -> bool:
    return math.isclose(value, other, rel_tol=EQUAL_SHARE, abs_tol=EQUAL_SHARE_OF_CEILING * ceiling)


def _difference(field: str, holders: Mapping[str, str]) -> str:
    return f"{field}: " + ", ".join(f"{value} in {holder}" for value, holder in holders.items())


def _title(record: ScoredModel, records: Sequence[ScoredModel]) -> str:
    """Name a record by its key, and by its source too where another one has that key."""
    alike = sum(other.key == record.key for other in records)
    return record.key if alike == 1 else f"{record.key} ({record.source})"


def _warn_of_unknown(records: Sequence[ScoredModel]) -> None:
    unknown: dict[str, set[str]] = {}
    for record in records:
        unknown.setdefault(record.source, set()).update(set(FIELDS) - record.protocol.keys())
    for source, names in unknown.items():
        if names:
            listed = ", ".join(name for name in FIELDS if name in names)
            print(f"{source}: rows without stamps; unknown and not compared: {listed}", file=sys.stderr)


def _columns(records: Sequence[ScoredModel]) -> list[str]:
    return sorted({name for record in records for name in record.scores})


def _scale(records: Sequence[ScoredModel], end: str) -> dict[str, float]:
    """Merge the floors or the ceilings of all records, which are equal where both have one."""
    merged: dict[str, float] = {}
    for record in reversed(records):
        merged |= record.floors if end == "floor" else record.ceilings
    return {name: merged[name] for name in _columns(records) if name in merged}


def as_dict(records: Sequence[ScoredModel]) -> dict[str, Any]:
    """Scores with what they share: protocol, floors and ceilings."""
    return {
        "protocol": _shared_protocol(records),
        "floor": _scale(records, "floor"),
        "ceiling": _scale(records, "ceiling"),
        "records": [
            {"key": record.key, "source": record.source, "scores": record.scores} for record in records
        ],
    }


def _shared_protocol(records: Sequence[ScoredModel]) -> dict[str, Any]:
    known = {name: value for record in records for name, value in record.protocol.items()}
    return {name: known[name] for name in FIELDS if name in known}


def heading(records: Sequence[ScoredModel]) -> str:
    """Say in a line what protocol the records share."""
    protocol = _shared_protocol(records)
    return (
        f"{protocol['dataset']}: {protocol['weights']} generator, {protocol['samples']:,} samples against "
        f"{protocol['split']}, {protocol['extractor']} {str(protocol['extractor_sha256'])[:12]}"
    )


def table(records: Sequence[ScoredModel]) -> Table:
    """Lay out records and metrics, the longer list as rows; floor and ceiling come last."""
    protocol, names = _shared_protocol(records), _columns(records)
    rows = [(_title(record, records), record.scores) for record in records]
    rows += [(end, _scale(records, end)) for end in ("floor", "ceiling")]
    cells = [["", *(_short_name(name, protocol) for name in names)]]
    cells += [[title, *(_text(values.get(name)) for name in names)] for title, values in rows]
    if len(names) > len(rows):
        cells = [list(column) for column in zip(*cells, strict=True)]
    laid_out = Table(box=None, pad_edge=False)
    for position, header in enumerate(cells[0]):
        laid_out.add_column(header, justify="right" if position else "left", overflow="fold")
    for row in cells[1:]:
        laid_out.add_row(*row)
    return laid_out


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
