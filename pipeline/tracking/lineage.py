"""Owns the description of a run: parameters, tags, commit, and commands to reproduce it. No MLflow here."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from gan.card import Card
from gan.config import Params, flatten
from gan.contract import TrainParams, VariantParams
from pipeline.stage import Cell, find_recipe


@dataclass(frozen=True)
class Settings:
    """Settings of a run. Both sources give the same text for the same training.

    params.yaml is the source while a run is opened. After training it may have been edited, so whatever is
    written then comes from the model's card.
    """

    method: VariantParams
    train: Mapping[str, Any]  # by the names of TrainParams
    steps: int  # budget, in generator steps
    profile: str | None  # None: the card is older than this field

    @classmethod
    def of_recipe(cls, cell: Cell, params: Params) -> Self:
        """Settings that params.yaml has for a cell. Raises ConfigError when it has no such recipe."""
        recipe = find_recipe(cell, params)
        steps = next(count for budget, count in recipe.steps.items() if budget == cell.budget)
        return cls(recipe.method, params.train.model_dump(mode="json"), steps, recipe.profile)

    @classmethod
    def of_card(cls, card: Card) -> Self:
        """Settings that a model was trained with. Those that a card of format 1 doesn't hold are left out."""
        held = {name: getattr(card, name) for name in TrainParams.model_fields}
        train = {name: value for name, value in held.items() if value is not None}
        return cls(card.method, train, card.steps, card.profile)


def run_params(settings: Settings) -> dict[str, str]:
    """Everything but data and code that determines a run's weights: dotted names, values as text."""
    tree = {
        "method": settings.method.model_dump(mode="json", by_alias=True),
        "train": settings.train,
        "steps": settings.steps,
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in flatten(tree)}


def run_tags(cell: Cell, settings: Settings, *, data_digest: str, code_digest: str) -> dict[str, str]:
    """Names by which runs are found and grouped, and the digests of what they were made from."""
    flat = run_params(settings)
    profile = {"profile": settings.profile} if settings.profile else {}
    return profile | {
        "dataset": cell.dataset,
        "variant": cell.variant,
        "budget": cell.budget,
        "seed": str(cell.seed),
        "dvc.stage": os.environ.get("DVC_STAGE", f"train@{cell.key}"),
        "data.digest": data_digest,
        "code.digest": code_digest,
        "params.sha256": hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "pipeline/train.py",
        "mlflow.note.content": describe_run(cell, settings),
    }


def git_tags() -> dict[str, str]:
    """Commit of the working tree and whether it is dirty; empty without git.

    dvc.lock and reports don't count: the pipeline itself rewrites them between two of its stages.
    """
    sha = _git("rev-parse", "HEAD")
    if not sha:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/dvc.lock", ":!/reports")
    tags = {"git.sha": sha, "git.dirty": str(bool(changed)).lower(), "mlflow.source.git.commit": sha}
    experiment = os.environ.get("DVC_EXP_NAME")
    return tags | ({"dvc.experiment": experiment} if experiment else {})


def _git(*arguments: str) -> str:
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def describe_run(cell: Cell, settings: Settings) -> str:
    """Markdown for a run's page: what was trained, and the commands to reproduce it."""
    method = settings.method
    # MLflow hides all but the first lines, so the commands come first.
    steps = f"{settings.steps:,} generator steps"
    budget = f"budget {cell.budget}, batches of {method.batch_size}"
    details = f"Profile {settings.profile}, {budget}" if settings.profile else budget.capitalize()
    return f"""**{cell.variant}** on {cell.dataset}, {steps}, seed {cell.seed}. Do it again:

    dvc repro register@{cell.key}

{_source(method)} {details}.
The commit is in the tag `git.sha`. Draw from the model, anywhere:

    gantry sample --model {cell.model_name}@latest -n 64 --seed 0 --out samples.png
"""


def describe_divergence(card: Card) -> str:
    """Markdown for the page of a diverged run, in place of `describe_run`'s."""
    steps = f"step {card.diverged_at:,}** of {card.steps:,}"
    return f"""**{card.variant}** on {card.dataset} **diverged at {steps}. Do it again:

    dvc repro evaluate@{card.key}

A value of training was no longer finite there. The last finite weights were kept, sampled and scored;
they are not registered. {_source(card.method)}
"""


def _source(method: VariantParams) -> str:
    paper = re.sub(r"arXiv:(\S+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", method.paper)
    return f"{paper}. Loss: {method.loss}."
