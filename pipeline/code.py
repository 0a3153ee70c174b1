"""Stage `code`: writes a digest of the code of every stage, so that each depends on one small file.

`build/code/train-DATASET-VARIANT-BUDGET.json` has all of a recipe that training depends on: the digest of
the code that it trains with, its profile, its method with all defaults, its steps.
`build/code/departures.json` has the origins and departures of recipes, which make no cell stale.
"""

from collections.abc import Iterator
from typing import Any

from gan.config import Params
from gan.files import encode_json
from pipeline.stage import CODE, run_stage
from pipeline.trace import STAGES, models_of, trace_stage, trace_training


def main(params: Params, _: str) -> None:
    """Write build/code/STAGE.json, build/code/departures.json and a file for every recipe and budget."""
    CODE.mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        _write(stage, trace_stage(stage))
    for name, value in describe_recipes(params):
        _write(name, value)


def describe_recipes(params: Params) -> Iterator[tuple[str, Any]]:
    """Yield name and content of each file that depends on recipes."""
    traced: dict[frozenset[type], str] = {}
    departures: dict[str, Any] = {}
    for dataset, entries in params.recipes.items():
        for variant, recipe in entries.items():
            models = frozenset(models_of(recipe.method))
            if models not in traced:
                traced[models] = trace_training(recipe.method)["digest"]
            whole = {"digest": traced[models], "method": recipe.settings, "profile": recipe.profile}
            for budget, steps in recipe.steps.items():
                yield f"train-{dataset}-{variant}-{budget}", {**whole, "steps": steps}
            departures[f"{dataset}-{variant}"] = [recipe.origin, recipe.departures]
    yield "departures", departures


def _write(name: str, value: Any) -> None:
    """Write one of some 1,500 files, unflushed, for speed: DVC discards what a stopped stage leaves."""
    (CODE / f"{name}.json").write_bytes(encode_json(value))


if __name__ == "__main__":
    run_stage(main, "")
