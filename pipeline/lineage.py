"""Owns what a run says about itself: parameters, tags, commit, and how it is done again. Knows no MLflow."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from gan.card import Card
from gan.config import Params
from gan.contract import VariantParams
from pipeline.stage import Cell, find_recipe


def run_params(cell: Cell, params: Params) -> dict[str, str]:
    """All that decides a run's weights, but for data and code: dotted names, values as text."""
    tree = {
        "method": find_recipe(cell, params).method.model_dump(mode="json", by_alias=True),
        "train": params.train.model_dump(mode="json"),
        "steps": _steps(cell, params),
    }
    return dict(_flatten(tree))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def run_tags(cell: Cell, params: Params, *, data_digest: str, code_digest: str) -> dict[str, str]:
    """Names by which runs are found and grouped, and the digests of what they were made from."""
    flat = run_params(cell, params)
    return {
        "dataset": cell.dataset,
        "variant": cell.variant,
        "budget": cell.budget,
        "seed": str(cell.seed),
        "profile": find_recipe(cell, params).profile,
        "dvc.stage": os.environ.get("DVC_STAGE", f"train@{cell.key}"),
        "data.digest": data_digest,
        "code.digest": code_digest,
        "params.sha256": hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "pipeline/train.py",
        "mlflow.note.content": describe_run(cell, params),
    }


def git_tags() -> dict[str, str]:
    """Commit and dirtiness of the working tree; nothing where there is no git.

    dvc.lock and reports don't count: the pipeline itself rewrites them between two of its stages.
    """
    sha = _git("rev-parse", "HEAD")
    if not sha:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/dvc.lock", ":!/reports")
    tags = {"git.sha": sha, "git.dirty": str(bool(changed)).lower(), "mlflow.source.git.commit": sha}
    experiment = os.environ.get("DVC_EXP_NAME")
    return tags | ({"dvc.experiment": experiment} if experiment else {})


def _steps(cell: Cell, params: Params) -> int:
    steps = find_recipe(cell, params).steps.items()
    return next(count for budget, count in steps if budget == cell.budget)


def _git(*arguments: str) -> str:
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def describe_run(cell: Cell, params: Params) -> str:
    """Markdown that a run's page shows: what was trained, and the commands that do it again."""
    recipe = find_recipe(cell, params)
    method = recipe.method
    # MLflow folds all but the first lines away, so what a reader wants to copy stands there.
    steps = f"{_steps(cell, params):,} generator steps"
    return f"""**{cell.variant}** on {cell.dataset}, {steps}, seed {cell.seed}. Do it again:

    dvc repro register@{cell.key}

{_source(method)} Profile {recipe.profile}, budget {cell.budget}, batches of {method.batch_size}.
The commit is in the tag `git.sha`. Draw from the model, anywhere:

    gantry sample --model {cell.model_name}@latest -n 64 --seed 0 --out samples.png
"""


def describe_divergence(card: Card) -> str:
    """Markdown that the page of a diverged run shows in the place of `describe_run`'s."""
    steps = f"step {card.diverged_at:,}** of {card.steps:,}"
    return f"""**{card.variant}** on {card.dataset} **diverged at {steps}. Do it again:

    dvc repro evaluate@{card.key}

A value of training was no longer finite there. The last finite weights were kept, sampled and scored;
they are not registered. {_source(card.method)}
"""


def _source(method: VariantParams) -> str:
    paper = re.sub(r"arXiv:(\S+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", method.paper)
    return f"{paper}. Loss: {method.loss}."
