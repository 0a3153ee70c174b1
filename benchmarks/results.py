"""Owns what becomes of records: one list of all machines, its table, and the comparison of two lists."""

from collections.abc import Sequence

from benchmarks.turns import Record

TOLERANCE = 0.15  # share of a ratio that may be lost to chance


def merge(kept: Sequence[Record], measured: Sequence[Record]) -> list[Record]:
    """Add new records to the others; they replace those of the same part on the same processor."""
    again = {(record["measured_by"], processor_of(record["machine"])) for record in measured}
    others = [r for r in kept if (r["measured_by"], processor_of(r["machine"])) not in again]
    return [*others, *measured]


def processor_of(machine: str) -> str:
    """Processor and cores of a machine, without the versions of its software."""
    return machine.split(", Python")[0]


def as_table(records: Sequence[Record]) -> str:
    """Records as Markdown, those of one case on one machine together, with the notes below."""
    machines = sorted({record["machine"] for record in records})
    numbers = {name: number for number, name in enumerate(machines, start=1)}
    first = {place_of(record): index for index, record in reversed(list(enumerate(records)))}
    ordered = sorted(records, key=lambda r: (first[place_of(r)], numbers[r["machine"]]))
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Compare ratios, not values, between machines. A ratio is how many times as "
        "fast as the baseline a contender is.",
        "",
        "Load is the average over a minute when the part began; contenders take turns, so that it hits all.",
        "",
        *(f"{number}. {name}" for name, number in numbers.items()),
        "",
        "| part | case | contender | ratio | value | lowest to highest | unit | machine | load |",
        "| :-- | :-- | :-- | --: | --: | --: | :-- | --: | --: |",
    ]
    lines += [f"{table_row(r)} {numbers[r['machine']]} | {r['load']:.2f} |" for r in ordered]
    notes = dict.fromkeys(
        f"- {r['part']}, {r['case']}, {r['contender']}, machine {numbers[r['machine']]}: {r['note']}"
        for r in ordered
        if "note" in r
    )
    return "\n".join([*lines, "", *notes, ""])


def place_of(record: Record) -> tuple[str, str]:
    """Part and case."""
    return record["part"], record["case"]


def table_row(r: Record) -> str:
    """Row of one record, with dashes for a contender that doesn't run."""
    name = f"{r['contender']}{' (baseline)' * (r['contender'] == r['baseline'])}"
    start = f"| {r['part']} | {r['case']} | {name} |"
    if r["value"] is None:
        return f"{start} - | - | - | {r['unit']} |"
    ratio = "-" if r["ratio"] is None else f"{r['ratio']:.3g}"
    return f"{start} {ratio} | {r['value']:,.5g} | {r['lowest']:,.5g} to {r['highest']:,.5g} | {r['unit']} |"


def lost(committed: Sequence[Record], fresh: Sequence[Record]) -> list[str]:
    """Describe Gantry's new ratios that are more than TOLERANCE below the committed ones.

    Only cases with another baseline than Gantry are compared, with the lowest ratio of any processor.
    Raises ValueError where none is.
    """
    known: dict[tuple[str, str, str], float] = {}
    for record in committed:
        if record["ratio"] is not None and record["contender"] != record["baseline"]:
            key = (record["part"], record["case"], record["contender"])
            known[key] = min(record["ratio"], known.get(key, record["ratio"]))
    faults, compared = [], 0
    for record in fresh:
        before = known.get((record["part"], record["case"], record["contender"]))
        if before is None or not record["contender"].startswith("gantry"):
            continue
        compared += 1
        if record["ratio"] is None:
            faults.append(f"{record['part']}, {record['case']}, {record['contender']}: no longer runs")
            continue
        if record["ratio"] < (1 - TOLERANCE) * before:
            faults.append(
                f"{record['part']}, {record['case']}, {record['contender']}: {record['ratio']:.3g} times "
                f"{record['baseline']}, it was {before:.3g}"
            )
    if not compared:
        raise ValueError("no case has a committed ratio to compare with")
    return faults
