"""Owns the leaderboard's rows, one a cell: read from its files, written as CSV, read back from JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan.card import read_card
from gan.config import Params
from gan.errors import DataError
from gan.files import read_json
from pipeline.scores.course import read_course
from pipeline.scores.protocol import FLAT, flat_protocol, read_protocol
from pipeline.stage import Cell, champions, find_recipe

EARLIER = {"status": "finished", "diverged_at": None, "selected_on": "test", "chosen_step": None}


@dataclass(frozen=True)
class Row:
    """One cell's result, all that README and the leaderboard files are made from."""

    dataset: str
    variant: str
    budget: str
    seed: int
    profile: str
    champion: bool
    status: str  # finished or diverged
    steps: int  # the budget
    diverged_at: int | None  # step at which a value of training was no longer finite
    images_seen: int
    seconds: float
    selected_on: str  # split on which the champion is chosen: validation, or the reference without one
    chosen_step: int | None  # snapshot of the lowest FID on the validation split; None without one
    spread: float  # standard deviation of a pixel over the samples, in grey levels, averaged over pixels
    weights_sha256: str
    data_digest: str
    code_digest: str
    evaluator_sha256: str
    evaluator_accuracy: float | None  # None for one that was not trained on these classes
    stamp: dict[str, Any]  # protocol_<field> of the scores; nothing in a report from before there were stamps
    metrics: dict[str, float]  # full name -> value

    @property
    def cell(self) -> Cell:
        """The cell that this row is the result of."""
        return Cell(self.dataset, self.variant, self.budget, self.seed)

    def flat(self) -> dict[str, Any]:
        """All fields and metrics in one mapping."""
        fields = {name: value for name, value in vars(self).items() if name not in ("metrics", "stamp")}
        return fields | self.stamp | self.metrics


def read_rows(cells: Iterable[Cell], params: Params) -> list[Row]:
    """Read the row of each cell from its artefacts."""
    best = read_json(champions(params))
    return [_read_row(cell, params, best.get(cell.dataset, {})) for cell in cells]


def _read_row(cell: Cell, params: Params, champion: dict[str, Any]) -> Row:
    card = read_card(cell.model)
    evaluator = read_json(cell.evaluator / "card.json")
    course = read_course(cell)
    return Row(
        dataset=cell.dataset,
        variant=cell.variant,
        budget=cell.budget,
        seed=cell.seed,
        profile=find_recipe(cell, params).profile,
        champion=champion.get("key") == cell.key,
        status=card.status,
        steps=card.steps,
        diverged_at=card.diverged_at,
        images_seen=card.images_seen,
        seconds=round(read_json(cell.training)["seconds"], 1),
        selected_on=course.split if course.split == "validation" else params.evaluate.reference,
        chosen_step=course.chosen,
        spread=round(_spread(cell.samples / "averaged.npy"), 2),
        weights_sha256=card.weights_sha256,
        data_digest=card.data_digest,
        code_digest=card.code_digest,
        evaluator_sha256=evaluator["sha256"],
        evaluator_accuracy=evaluator["accuracy"],
        stamp=dict(flat_protocol(read_protocol(cell.protocol))),
        metrics=read_json(cell.metrics),
    )


def _spread(samples: Path) -> float:
    images = np.load(samples, mmap_mode="r", allow_pickle=False)  # (N, C, H, W)
    return float(images.std(axis=0, dtype=np.float64).mean())


def as_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV, one column a field or metric; a metric that a row lacks is an empty cell."""
    flat = [row.flat() for row in rows]
    text = io.StringIO()
    columns = dict.fromkeys(name for row in flat for name in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def rows_from_json(path: Path) -> list[Row]:
    """Read the rows back from leaderboard.json. Raises DataError for a file of another shape.

    Fields that older reports lack are as those were made: of finished runs, by scores on the test split.
    """
    fields = set(Row.__dataclass_fields__) - {"metrics", "stamp"}
    try:
        flats = read_json(path)
        if not isinstance(flats, list) or not flats:
            raise TypeError("it has no rows")
        flats = [EARLIER | flat for flat in flats]
        return [
            Row(
                **{name: flat[name] for name in fields},
                stamp={name: value for name, value in flat.items() if name.startswith(FLAT)},
                metrics={
                    name: value
                    for name, value in flat.items()
                    if name not in fields and not name.startswith(FLAT)
                },
            )
            for flat in flats
        ]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run 'dvc repro report'") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a list of rows ({error}); run 'dvc repro -f report'") from error
