"""Owns the ancestors' claims: the entries of claims.yaml, the cells that they read, and the verdicts.

One refuted test refutes a claim, all confirmed ones confirm it. A claim whose cells weren't all trained and
scored is said to be not run here, with what it needs; so is one that has no tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gan.config import Budget, Name, Params
from gan.contract import StrictModel
from gan.errors import ConfigError
from gan.faults import read_checked
from gan.files import read_json
from pipeline.claims.evidence import Evidence, scores_along
from pipeline.claims.finding import Finding, Source, Verdict, combined
from pipeline.claims.kinds import Test
from pipeline.claims.runs import CurveShape, RisesThenFalls
from pipeline.claims.vocabulary import history_scalars, score_names, snapshot_score_names
from pipeline.stage import Cell, find_dataset, find_recipe

CLAIMS = Path(__file__).parent / "claims.yaml"
# Per image and update, if nothing similar was trained; measured: 1.9 to 6.5e-4, perceptrons 0.5 to 8e-5.
PASS_SECONDS, PASS_SECONDS_OF_PERCEPTRONS = 3e-4, 4e-5
CELL_SECONDS = 30.0  # a cell's stages other than training, half of it imports


class CellsParams(StrictModel):
    """The data set, budget and seeds of a claim's entries."""

    dataset: Name
    budget: Budget
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Claim(StrictModel):
    """One entry of claims.yaml: tests and the cells that they read, or what it needs that isn't here."""

    id: Annotated[str, Field(pattern=r"^[A-Z][1-9][0-9]?$")]
    hypothesis: str
    origin: str
    confounder: str
    prediction: Literal["confirmed", "refuted"] | None = None
    cells: CellsParams | None = None
    tests: Annotated[list[Test], Field(min_length=1)] | None = None
    needs: str | None = None

    @model_validator(mode="after")
    def _has_tests_or_needs(self) -> Claim:
        if (self.tests is None) == (self.needs is None) or (self.tests is None) != (self.cells is None):
            raise ValueError("give either cells and tests, or needs")
        return self

    @property
    def runs(self) -> list[Cell]:
        """Every cell that the tests read, once."""
        if self.cells is None or self.tests is None:
            return []
        entries = dict.fromkeys(entry for test in self.tests for entry in test.entries)
        where = self.cells
        return [Cell(where.dataset, name, where.budget, seed) for name in entries for seed in where.seeds]

    def missing(self) -> dict[Path, Cell]:
        """Files that the tests read and that aren't there, each with the cell that makes it."""
        along = {e for test in self.tests or () if test.along_the_run for e in test.entries}
        found: dict[Path, Cell] = {}
        for cell in self.runs:
            needed = [cell.history, cell.training, cell.metrics]
            needed += [scores_along(cell)] if cell.variant in along else []
            found |= {path: cell for path in needed if not path.is_file()}
        return found


def read_claims(params: Params, path: Path = CLAIMS) -> list[Claim]:
    """Read all claims and check every name in them, so that a misspelt one never becomes a verdict.

    Raises ConfigError with one line per fault of the file, or one for the first name: the file, the claim's
    id, what is wrong, and what there is instead.
    """
    claims: list[Claim] = read_checked(path, list[Claim])
    ids = [claim.id for claim in claims]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise ConfigError(f"{path}: {twice[0]} stands twice")
    for claim in claims:
        try:
            check_names(claim, params)
        except ConfigError as error:
            raise ConfigError(f"{path}: {claim.id}: {error}") from error
    return claims


def check_names(claim: Claim, params: Params) -> None:
    """Check data set, entries, budget, scores and curves of a claim. Raises ConfigError for a fault."""
    if claim.cells is None:
        return
    find_dataset(claim.cells.dataset, params)
    for cell in claim.runs:
        find_recipe(cell, params)
    for test in claim.tests or ():
        if isinstance(test, CurveShape) and isinstance(test.shape, RisesThenFalls):
            cell = Cell(claim.cells.dataset, test.variant, claim.cells.budget, claim.cells.seeds[0])
            steps = find_recipe(cell, params).steps[cell.budget]  # type: ignore[index]
            if test.shape.by is not None and test.shape.by >= steps:
                raise ConfigError(
                    f"by {test.shape.by} can't fail, since {test.variant} runs {steps} steps; "
                    "give fewer, or leave it out"
                )
        for entry in test.entries:
            cell = Cell(claim.cells.dataset, entry, claim.cells.budget, claim.cells.seeds[0])
            for source, name in test.reads:
                there = _names(source, cell, params)
                if name not in there:
                    raise ConfigError(f"{entry} has no {source} {name!r}; there are {', '.join(there)}")


def _names(source: Source, cell: Cell, params: Params) -> list[str]:
    """Names that a cell's files can have."""
    if source == "curve":
        return history_scalars(find_recipe(cell, params).method)
    if source == "seconds":
        return ["step"]
    return (score_names if source == "score" else snapshot_score_names)(cell.dataset, params)


def find_claim(name: str, claims: Sequence[Claim]) -> Claim:
    """Find a claim by its id. Raises ConfigError naming those there are."""
    for claim in claims:
        if claim.id == name.upper():
            return claim
    raise ConfigError(f"no claim {name!r}; there are {', '.join(claim.id for claim in claims)}")


@dataclass(frozen=True)
class Judgement:
    """A claim with its verdict."""

    claim: Claim
    verdict: Verdict
    findings: list[Finding] = field(default_factory=list)
    needs: str = ""
    minutes: float | None = None  # that the missing cells would take on one core

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        claim = self.claim
        return {
            "id": claim.id,
            "hypothesis": claim.hypothesis,
            "origin": claim.origin,
            "confounder": claim.confounder,
            "prediction": claim.prediction,
            "verdict": self.verdict,
            "findings": [finding.as_dict() for finding in self.findings],
            "cells": [cell.key for cell in claim.runs],
            "needs": self.needs,
            "minutes": self.minutes,
        }


def judge(claim: Claim, params: Params) -> Judgement:
    """Give the verdict on a claim from what its cells left here. Raises ConfigError for an unknown entry."""
    if claim.tests is None:
        return Judgement(claim, "not run here", needs=claim.needs or "")
    for cell in claim.runs:
        find_recipe(cell, params)
    if missing := claim.missing():
        cells = list(dict.fromkeys(missing.values()))
        minutes = minutes_of(cells, params)
        return Judgement(claim, "not run here", needs=_lacking(claim, missing, minutes), minutes=minutes)
    evidence = Evidence(claim.runs)
    findings = [test.judge(evidence) for test in claim.tests]
    return Judgement(claim, combined(finding.verdict for finding in findings), findings)


def _lacking(claim: Claim, missing: Mapping[Path, Cell], minutes: float) -> str:
    cells = dict.fromkeys(missing.values())
    path, cell = next(iter(missing.items()))
    names = ", ".join(dict.fromkeys(cell.variant for cell in cells))
    stage = {cell.metrics: "evaluate", scores_along(cell): "trajectory"}.get(path, "train")
    return (
        f"{len(cells)} of {len(claim.runs)} cells ({names}), about {minutes:.0f} minutes of one core: run "
        f"'gantry claims {claim.id} --budget {math.ceil(minutes)}', or 'dvc repro {stage}@{cell.key}' and "
        "its like in a study that selects them"
    )


def minutes_of(cells: Sequence[Cell], params: Params) -> float:
    """Minutes of one core that cells would take: as long as runs of the same entry, or as its images would.

    Wrong by a factor of two where nothing like them was trained on this machine.
    """
    return sum(_training_seconds(cell, params) + CELL_SECONDS for cell in cells) / 60


def _training_seconds(cell: Cell, params: Params) -> float:
    if cell.history.is_file():
        return 0.0  # trained, but not scored
    recipe = find_recipe(cell, params)
    steps = recipe.steps[cell.budget]  # type: ignore[index]
    pattern = f"{cell.dataset}-{cell.variant}-*.json"
    if like := [read_json(path) for path in sorted(cell.training.parent.glob(pattern))]:
        return float(max(timing["seconds"] / timing["steps"] for timing in like)) * steps
    method = recipe.method
    critic_steps = steps * getattr(method, "critic_steps", 1)
    if getattr(method, "warmup", "none") == "author":
        critic_steps += 100 * (min(steps, 25) + steps // 500)
    seconds = PASS_SECONDS_OF_PERCEPTRONS if method.networks.kind == "mlp" else PASS_SECONDS
    return (steps + critic_steps) * method.batch_size * seconds
