"""Tables of the results: what was found, part by part, and predictions beside what was measured."""

import json
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts.runs import ROOT, Row

PREDICTIONS = ROOT / "benchmarks/gpu_predictions.json"
RESULTS = ROOT / "benchmarks/gpu.json"  # rows of the last run on a GPU; there is none before the first
PAGE = ROOT / "docs/gpu.md"
BEGIN, END = "<!-- predictions: written by benchmarks/gpu.py --docs -->", "<!-- end of the predictions -->"
NOTHING = "not measured yet"


def read_predictions() -> dict[str, Any]:
    """Read what was predicted before anything ran."""
    predictions: dict[str, Any] = json.loads(PREDICTIONS.read_text(encoding="utf-8"))
    return predictions


def prediction_table(rows: Sequence[Row]) -> list[str]:
    """Lines of Markdown: each predicted factor and step beside what the rows say."""
    predicted = read_predictions()
    lines = ["| change | images of | predicted factor | measured |", "| --- | --- | --: | --: |"]
    for factor in predicted["factors"]:
        for side in factor["pixels"]:
            found = factors_of(rows, factor["of"], factor["to"], side)
            lines.append(f"| {factor['change']} | {side} pixels | {_range(factor)} | {_measured(found)} |")
    packing = predicted["packing"]
    measured = _measured(packing_factors(rows))
    lines.append(f"| {packing['change']} | 28 pixels | {_range(packing)} | {measured} |")
    lines += [
        "",
        "| a step of | kernels, at least | GFLOP | ms at 50 TFLOP/s | ms at 300 "
        "| kernels measured | ms, fp32 | ms, best |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for step in predicted["steps"]:
        case = step["case"]
        kernels = value_of(rows, case, "kernels of a step", "eager, fp32")
        eager = value_of(rows, case, "step", "eager, fp32")
        best = value_of(rows, case, "step", "best (+ tf32)")
        cells = [case, f"{step['kernels']:,}", f"{step['gflop']:,}", f"{step['ms_at_50']:g}"]
        cells += [f"{step['ms_at_300']:g}", *map(_number, (kernels, eager, best))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def factors_of(rows: Sequence[Row], of: str, to: str, side: int) -> list[float]:
    """Rate of one contender over that of another, in each case of this side that has both."""
    rates: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.get("part") == "rates" and row.get("value") and f" {side} b" in row["check"]:
            rates.setdefault(row["check"], {})[row["contender"]] = row["value"]
    return [found[of] / found[to] for found in rates.values() if of in found and to in found]


def packing_factors(rows: Sequence[Row]) -> list[float]:
    """The largest throughput of several processes over that of one, for each loop."""
    rates: dict[str, list[float]] = {}
    for row in rows:
        if row.get("part") == "packing" and "processes" in row["check"] and row.get("value"):
            rates.setdefault(row["check"], []).append(row["value"])
    return [max(found) / found[0] for found in rates.values() if len(found) > 1]


def value_of(rows: Sequence[Row], case: str, what: str, contender: str) -> float | None:
    """Value of one row of the utilisation of a case, where there is one."""
    wanted = {"part": "utilisation", "check": case, "what": what, "contender": contender}
    for row in rows:
        if all(row.get(key) == value for key, value in wanted.items()):
            return row.get("value")
    return None


def _range(predicted: dict[str, Any]) -> str:
    low, high = predicted["low"], predicted["high"]
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _measured(found: Sequence[float]) -> str:
    if not found:
        return NOTHING
    median = f"{statistics.median(found):.3g}"
    return median if len(found) == 1 else f"{median} ({min(found):.3g} to {max(found):.3g})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def summary(rows: Sequence[Row], parts: Sequence[str]) -> str:
    """Markdown of a whole run: how each part went, what failed, its numbers, predictions beside them."""
    lines = ["# One run of benchmarks/gpu.py", ""]
    lines += [
        f"- {row['what']}: {row['note']}" for row in rows if row.get("check") == "machine" and "what" in row
    ]
    lines += [
        "",
        "| part | rows | hold | do not | errors | cut by the clock | s |",
        "| --- " + "| --: " * 6 + "|",
    ]
    for part in parts:
        own = [row for row in rows if row.get("part") == part]
        seconds = sum(row.get("seconds", 0) for row in own)
        counts = [
            len([row for row in own if not row.get("done")]),
            *(sum(row.get("ok") is held and "error" not in row for row in own) for held in (True, False)),
            sum("error" in row for row in own),
            sum("cut" in row for row in own),
        ]
        lines.append(f"| {part} | " + " | ".join(map(str, counts)) + f" | {seconds:.0f} |")
    lines += ["", *_failures(rows), "", *_numbers(rows), "", *prediction_table(rows), ""]
    return "\n".join(lines)


def is_fault(row: Row) -> bool:
    """Tell whether a row says that something doesn't hold, failed, or was left out."""
    return row.get("ok") is False or "error" in row or "cut" in row


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if is_fault(row):
            reason = row.get("error") or row.get("cut") or f"{row.get('value')} {row.get('unit', '')}"
            yield f"- {_name(row)}: {reason}"


def _numbers(rows: Sequence[Row]) -> Iterator[str]:
    yield "| part | check | what | value | unit | note |"
    yield "| --- | --- | --- | --: | --- | --- |"
    for row in rows:
        if row.get("part") in ("parity", "bits") or row.get("value") is None:
            continue
        name = " ".join(str(row[key]) for key in ("contender", "what") if key in row)
        unit, note = row.get("unit", ""), row.get("note", "")
        yield f"| {row['part']} | {row['check']} | {name} | {row['value']:,.5g} | {unit} | {note} |"


def _name(row: Row) -> str:
    return ", ".join(str(row[key]) for key in ("part", "check", "contender", "what") if key in row)


def committed_rows() -> list[Row]:
    """Rows of the last run on a GPU that is kept in the repository; none before the first."""
    if not RESULTS.is_file():
        return []
    rows: list[Row] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return rows


def page_with_table(page: str, rows: Sequence[Row]) -> str:
    """Put the table of predictions into the text of docs/gpu.md, between its two marks."""
    whole = "\n".join([BEGIN, "", *prediction_table(rows), "", END])
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    found, count = re.subn(pattern, lambda _: whole, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page must hold the two marks of the predictions once, not {count} times")
    return found


def keep(rows: Sequence[Row], target: Path = RESULTS) -> None:
    """Write rows as the repository keeps them, a line each. Raises ValueError for those of a CPU."""
    if not any(row.get("what") == "CUDA" for row in rows):
        raise ValueError("these rows aren't of a GPU, or lack the part environment, which says so")
    lines = ",\n".join(json.dumps(row) for row in rows)
    target.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
