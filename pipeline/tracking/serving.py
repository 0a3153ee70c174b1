"""Owns the generator as MLflow serves it: `mlflow models serve` runs this file, beside a copy of `gan`.

The request holds `n`, the number of images, and a parameter `seed`; the answer is uint8 (n, C, H, W).
`gantry sample` doesn't come through here: it trusts its own code and the hashed weights only.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

MAX_IMAGES = 1024


class GeneratorModel(PythonModel):
    """A generator, rebuilt from its card and its hashed weights."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load card and weights. Raises DataError when they don't belong together."""
        from gan.generator import load_generator

        self.generator, self.card = load_generator(Path(context.artifacts["card"]).parent)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> NDArray[np.uint8]:
        """Generate images of one request row. Raises MlflowException for a count or a seed out of range."""
        from gan.generator import draw_images

        counts, seed = list(model_input["n"]), int((params or {}).get("seed", 0))
        if len(counts) != 1 or not 1 <= counts[0] <= MAX_IMAGES:
            raise MlflowException.invalid_parameter_value(f"n must be one number from 1 to {MAX_IMAGES}")
        if not 0 <= seed < 2**63:
            raise MlflowException.invalid_parameter_value("seed must be a number from 0 to 2^63 - 1")
        images: NDArray[np.uint8] = draw_images(self.generator, self.card, int(counts[0]), seed).numpy()
        return images


mlflow.models.set_model(GeneratorModel())
