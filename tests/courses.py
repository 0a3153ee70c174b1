"""What stage `trajectory` leaves of a cell, made up."""

from collections.abc import Sequence

from gan.files import write_json
from pipeline.stage import Cell


def write_course(cell: Cell, fids: Sequence[tuple[int, float]], split: str, per_step: int = 64) -> None:
    """Write the scores of these steps; per_step: images that the critic sees in one."""
    metric = f"fid_mnistnet_1k_{split}"
    lowest = min(fids, key=lambda entry: (entry[1], -entry[0]))[0]
    scores = {
        "split": split,
        "n": 1000,
        "metrics": {"fid": metric},
        "chosen": lowest if split == "validation" else None,
        "points": [{"step": step, "images_seen": step * per_step, metric: fid} for step, fid in fids],
    }
    write_json(cell.trajectory / "scores.json", scores)
