"""Stage `code`: writes a digest of the code of every stage, so that each depends on one small file.

`build/code/train-DATASET-VARIANT.json` has the digest of the code that trains this recipe, and its method
with all defaults.
"""

from typing import Any

from gan.config import Params
from gan.files import write_json
from pipeline.stage import CODE, run_stage
from pipeline.trace import STAGES, models_of, trace_stage, trace_training


def main(params: Params, _: str) -> None:
    """Write build/code/STAGE.json, and build/code/train-DATASET-VARIANT.json for every recipe."""
    for stage in STAGES:
        write_json(CODE / f"{stage}.json", trace_stage(stage))
    traced: dict[frozenset[type], dict[str, Any]] = {}
    for dataset, entries in params.recipes.items():
        for variant, recipe in entries.items():
            models = frozenset(models_of(recipe.method))
            if models not in traced:
                traced[models] = trace_training(recipe.method)
            method = recipe.method.model_dump(mode="json", by_alias=True)
            write_json(CODE / f"train-{dataset}-{variant}.json", {**traced[models], "method": method})


if __name__ == "__main__":
    run_stage(main, "")
