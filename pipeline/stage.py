"""Owns what all stages share: paths of data sets and cells, params.yaml, exit codes.

A stage is run as `python -m pipeline.NAME ARGUMENT`, by DVC or by hand, in the project's root.
"""

from __future__ import annotations

import errno
import io
import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gan.errors import ConfigError, GanError

if TYPE_CHECKING:
    from gan.config import Params, Recipe

PARAMS = Path("params.yaml")
MANIFEST = Path("data/manifest.yaml")  # where the files of each data set come from
OWN = Path("data/own")  # pictures that `gantry import` brought
CODE = Path("build/code")
REPORTS = Path("build/reports")
PUBLISHED = Path("reports")  # committed; nothing but `make publish` writes there


@dataclass(frozen=True)
class Dataset:
    """A data set, and the files made from it once for all cells."""

    name: str

    @property
    def raw(self) -> Path:
        """Folder of the files as they are published."""
        return Path("data/raw") / self.name

    @property
    def raw_names(self) -> Path:
        """Names and digests of those files, which stands for them wherever they are gone."""
        return Path("data/raw") / f"{self.name}.json"

    @property
    def store(self) -> Path:
        """Converted images."""
        return Path("data/lmdb") / f"{self.name}.lmdb"

    @property
    def contact(self) -> Path:
        """Contact sheet of the training images."""
        return Path("build/contact") / f"{self.name}.png"

    @property
    def evaluator(self) -> Path:
        """Folder of the network that scores the images."""
        return Path("build/evaluators") / self.name

    @property
    def reference(self) -> Path:
        """Folder of the reference's features, floors and ceilings."""
        return Path("build/reference") / self.name


@dataclass(frozen=True)
class Cell:
    """One run of one study: a recipe on a data set, with a budget and a seed."""

    dataset: str
    variant: str
    budget: str
    seed: int

    @property
    def key(self) -> str:
        """Name of the cell everywhere: DVC stage, argument, folder, MLflow run."""
        return f"{self.dataset}-{self.variant}-{self.budget}-{self.seed}"

    @property
    def model_name(self) -> str:
        """Name of the registered model that versions of this cell belong to."""
        return f"{self.dataset}-{self.variant}"

    @property
    def store(self) -> Path:
        """Converted images of its data set."""
        return Dataset(self.dataset).store

    @property
    def code(self) -> Path:
        """Digest of the code that this entry trains with, its method with all defaults and its steps."""
        return CODE / f"train-{self.dataset}-{self.variant}-{self.budget}.json"

    @property
    def model(self) -> Path:
        """Folder of weights, card, history and previews: equal for equal inputs."""
        return Path("models") / self.key

    @property
    def history(self) -> Path:
        """Scalars of the run, as training logged them."""
        return self.model / "history.csv"

    @property
    def training(self) -> Path:
        """How the training went: seconds, device, versions. Differs from run to run."""
        return Path("build/training") / f"{self.key}.json"

    @property
    def run(self) -> Path:
        """The MLflow run that training opened."""
        return Path("build/runs") / f"{self.key}.json"

    @property
    def samples(self) -> Path:
        """Folder of the generated images that are scored."""
        return Path("build/samples") / self.key

    @property
    def trajectory(self) -> Path:
        """Folder of the averaged generator's scores and images along the run."""
        return Path("build/trajectory") / self.key

    @property
    def metrics(self) -> Path:
        """Scores under their full names."""
        return Path("build/metrics") / f"{self.key}.json"

    @property
    def protocol(self) -> Path:
        """Protocol stamps of both generators' scores."""
        return Path("build/protocols") / f"{self.key}.json"

    @property
    def registered(self) -> Path:
        """Registered model, and the digest of its weights."""
        return Path("build/registered") / f"{self.key}.json"

    @property
    def leaves(self) -> list[Path]:
        """Every file of this cell and its data set that the report and the claims read."""
        alone = [self.model, self.metrics, self.protocol, self.registered, self.samples, self.training]
        return [*alone, self.trajectory, self.contact, self.evaluator]

    @property
    def contact(self) -> Path:
        """Contact sheet of its data set."""
        return Dataset(self.dataset).contact

    @property
    def evaluator(self) -> Path:
        """Folder of its data set's evaluator."""
        return Dataset(self.dataset).evaluator

    @property
    def reference(self) -> Path:
        """Folder of its data set's reference."""
        return Dataset(self.dataset).reference


def read_params() -> Params:
    """Read and check params.yaml. Raises ConfigError with a line for each fault."""
    from gan.config import load_params  # slow: half of the time of `gantry --help`

    return load_params(PARAMS)


def parse_cell(key: str, params: Params) -> Cell:
    """Read a cell key and check each of its parts against params.yaml. Raises ConfigError."""
    parts = key.split("-")
    if len(parts) != 4 or not parts[3].isdecimal():
        raise ConfigError(
            f"{key!r} is no cell; a cell is DATASET-VARIANT-BUDGET-SEED, like mnist_tiny-dcgan-quick-0"
        )
    cell = Cell(parts[0], parts[1], parts[2], int(parts[3]))
    find_recipe(cell, params)
    return cell


def find_recipe(cell: Cell, params: Params) -> Recipe:
    """Look up a cell's recipe. Raises ConfigError naming what there is instead."""
    entries = params.recipes[find_dataset(cell.dataset, params).name]
    recipe = entries.get(cell.variant)
    if recipe is None:
        raise ConfigError(f"no variant {cell.variant!r} for {cell.dataset}; there are {', '.join(entries)}")
    if cell.budget not in recipe.steps:
        raise ConfigError(
            f"{cell.variant} has no budget {cell.budget!r}; there are {', '.join(recipe.steps)}"
        )
    return recipe


def find_dataset(name: str, params: Params) -> Dataset:
    """Look up a configured data set. Raises ConfigError naming those there are."""
    if name not in params.datasets:
        raise ConfigError(f"no data set {name!r}; there are {', '.join(params.datasets)}")
    return Dataset(name)


def selected_cells(params: Params) -> list[Cell]:
    """Every cell of the selection, in the order of params.yaml."""
    select = params.select
    return [
        Cell(dataset, variant, budget, seed)
        for dataset in select.datasets
        for variant in select.variants
        for budget in select.budgets
        for seed in select.seeds
    ]


def collected(params: Params, cell: Cell) -> Path:
    """Digests of a cell's results, in the folder of the selected study."""
    return Path("build/collected") / params.select.study / f"{cell.key}.json"


def champions(params: Params) -> Path:
    """The best cell of the selected study on each data set."""
    return Path("build/champions") / f"{params.select.study}.json"


def report_folder(params: Params) -> Path:
    """Where the selected study's report is written."""
    return REPORTS / params.select.study


def published_folder(params: Params) -> Path:
    """Where the selected study's report is committed."""
    study = params.select.study
    return PUBLISHED if study == "default" else PUBLISHED / study


def exit_code(error: BaseException) -> int:
    """Exit code of BSD's sysexits.h for an error: 65 data, 69 service, 73 to 77 files, 78 params."""
    if isinstance(error, GanError):
        return error.exit_code
    if isinstance(error, BlockingIOError):
        return 75
    if isinstance(error, (ConnectionError, TimeoutError)):
        return 69
    if isinstance(error, PermissionError):
        return 77
    if isinstance(error, OSError):
        return 74 if error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT) else 73
    return 70


def run_stage(main: Callable[[Params, str], None], usage: str = "DATASET-VARIANT-BUDGET-SEED") -> NoReturn:
    """Run a stage's main with checked parameters and its one argument, and exit; see `report_error`."""
    replace_unencodable()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    expected = 1 if usage else 0
    if len(arguments) != expected:
        script = Path(sys.argv[0])  # of a package, its __main__.py
        module = script.parent.name if script.stem == "__main__" else script.stem
        print(f"usage: python -m pipeline.{module} {usage} [--debug]".replace("  ", " "), file=sys.stderr)
        raise SystemExit(2)
    try:
        main(read_params(), arguments[0] if arguments else "")
    except Exception as error:
        raise SystemExit(report_error(error, debug="--debug" in sys.argv)) from error
    raise SystemExit(0)


def replace_unencodable() -> None:
    """Print "?" for characters that standard output can't encode, instead of failing.

    Python does so on stderr by itself. A handler that PYTHONIOENCODING names is left as it is.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def report_error(error: Exception, *, debug: bool = False) -> int:
    """Print an error and return its exit code.

    Errors of the user or the world are one line per fault; our own faults, and with `debug` all errors, are
    printed with their traceback.
    """
    if debug or not isinstance(error, (GanError, OSError)):
        traceback.print_exception(error)
        return exit_code(error)
    for line in str(error).splitlines() or [type(error).__name__]:
        print(f"error: {line}", file=sys.stderr)
    return exit_code(error)
