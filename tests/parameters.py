"""params.yaml and the recipes that it names, copied to where a test may change them."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARAMS = Path("params.yaml")
DIGITS, CLAIMS = Path("recipes/digits.yaml"), Path("pipeline/claims/digits.yaml")
RECIPES = (DIGITS, CLAIMS, Path("recipes/photographs.yaml"), Path("recipes/plane.yaml"))


def copy_parameters(folder: Path) -> Path:
    """Copy the committed files into a folder, as they lie here; return the path of params.yaml there."""
    for path in (PARAMS, *RECIPES):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder / PARAMS
