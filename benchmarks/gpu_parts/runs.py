"""Owns what all parts share: what a check is, its sizes on a GPU and on a CPU, and how a run is made."""

import copy
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import plain
from gan.config import Params, load_params
from gan.contract import ImageShape, Precision, TrainParams, VariantParams
from gan.data.batches import endless_batches
from gan.data.digits import Digits, every_fifth_is_test, last_5000_are_validation
from gan.data.image_store import ImageStore
from gan.data.store_writer import write_store
from gan.device import prepare_torch
from gan.training import TrainState, new_train_state, training_steps

ROOT = Path(__file__).resolve().parents[2]
DIGITS, FACES = "mnist_tiny", "celeba"  # whose recipes are tried
STORES = "stores"  # folder beside the results, for as long as the checks run
COLOUR_IMAGES = 1024  # random ones, in a store that stands for CelebA
PAST_WARMUP = 100  # a step at which no recipe takes the extra critic steps of a run's beginning

# A row of the results. `value` is a number or None, `ok` whether a check holds; `error`, `note` and `cut`
# (the clock left no time) say why there is no number.
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A recipe of a data set, on square images of a side, in batches of a size."""

    dataset: str
    variant: str
    side: int
    batch: int

    @property
    def name(self) -> str:
        """Such as "dcgan 28 b64"."""
        return f"{self.variant} {self.side} b{self.batch}"

    @property
    def image(self) -> ImageShape:
        """Shape of one image: the data set's channels, the case's side."""
        return read_params().datasets[self.dataset].shape._replace(height=self.side, width=self.side)


@dataclass(frozen=True)
class Options:
    """How a case is trained; everything off is what `params.yaml` says, but for the fill."""

    precision: Precision = "fp32"
    graphs: bool = False
    resident: bool = False
    fill: bool = False  # every new tensor with NaN, as torch's deterministic mode does by default
    channels_last: bool = True
    textbook: bool = False  # the loop of `benchmarks.plain`, without torch's deterministic mode


@dataclass(frozen=True)
class Sizes:
    """How much each part does."""

    large: int  # side of the larger images
    gradient_batch: int
    precisions: tuple[Precision, ...]  # whose gradients are compared
    too_large: tuple[str, ...]  # variants whose gradients on the larger images aren't
    half: int  # steps before a checkpoint, and after it
    batch: int  # of the checks of bits and of hygiene
    slice: float  # seconds that a contender trains for in a round
    rounds: int
    rate_cases: tuple[Case, ...]
    profiled: tuple[Case, ...]
    processes: tuple[int, ...]
    samples: int  # that a score is of
    level: float  # FID to be reached
    every: float  # seconds of training between scores
    limit: float  # seconds of training at most


ON_GPU = Sizes(
    large=64,
    gradient_batch=8,
    precisions=("fp32", "tf32", "bf16"),
    too_large=(),
    half=10,
    batch=16,
    slice=0.3,
    rounds=5,
    rate_cases=(
        Case(DIGITS, "dcgan", 28, 64),
        Case(DIGITS, "wgan_gp", 28, 32),
        Case(FACES, "dcgan", 64, 128),
        Case(FACES, "wgan_gp", 64, 64),
        Case(DIGITS, "wgan_gp_resnet", 28, 32),
        Case(FACES, "dcgan", 64, 64),
        Case(FACES, "wgan_gp", 64, 128),
        Case(DIGITS, "began", 28, 16),
        Case(FACES, "began_seed", 64, 16),
        Case(FACES, "wgan_gp_resnet", 64, 64),
    ),
    profiled=(
        Case(DIGITS, "dcgan", 28, 64),
        Case(DIGITS, "wgan_gp", 28, 32),
        Case(DIGITS, "wgan_gp_resnet", 28, 32),
        Case(FACES, "dcgan", 64, 128),
        Case(FACES, "wgan_gp", 64, 64),
        Case(FACES, "wgan_gp_resnet", 64, 64),
        Case(FACES, "began_seed", 64, 16),
    ),
    processes=(1, 2, 4, 8),
    samples=10_000,
    level=250.0,
    every=0.5,
    limit=15.0,
)
ON_CPU = Sizes(
    large=32,
    gradient_batch=8,
    precisions=("fp32", "bf16"),  # a CPU has no TF32
    too_large=("began", "wgan_gp_resnet"),
    half=2,
    batch=4,
    slice=0.0,
    rounds=2,
    rate_cases=(
        Case(DIGITS, "dcgan", 28, 16),
        Case(DIGITS, "wgan_gp", 28, 16),
        Case(FACES, "dcgan", 32, 4),
    ),
    profiled=(Case(DIGITS, "dcgan", 28, 16), Case(DIGITS, "wgan_gp", 28, 16), Case(FACES, "dcgan", 32, 4)),
    processes=(1, 2),
    samples=300,
    level=250.0,
    every=0.5,
    limit=1.0,
)


@dataclass(frozen=True)
class Setting:
    """Where the checks run."""

    kind: str  # "cuda" or "cpu"
    data: Path  # may hold MNIST's raw files, and build/evaluators/mnist and build/reference/mnist
    out: Path  # results, and stores that are made on the way
    sizes: Sizes
    failed: frozenset[str] = field(default=frozenset())  # contenders that broke the GPU in this check before
    rows: tuple[Row, ...] = ()  # that were there when the check began

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.kind == "cuda"


class Check(NamedTuple):
    """One thing to find out. A failure costs this check alone."""

    part: str
    name: str
    run: Callable[[Setting], Iterator[Row]]


class GpuLostError(Exception):
    """A contender, whose row is written, left the GPU unusable for this process."""


def say(error: Exception) -> str:
    """The error's kind and its first line; what CUDA adds is advice to debuggers."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


@cache
def read_params() -> Params:
    """Read params.yaml once."""
    return load_params(ROOT / "params.yaml")


def variants() -> list[str]:
    """Names of the default study's variants."""
    return read_params().select.variants


def train_params(options: Options) -> TrainParams:
    """Take the parameters of params.yaml, with these options."""
    return read_params().train.model_copy(
        update={
            "precision": options.precision,
            "cuda_graphs": options.graphs,
            "resident_data": options.resident,
            "channels_last": options.channels_last,
        }
    )


def prepare(options: Options) -> torch.device:
    """Prepare torch as training does, then as the options say, and return the device."""
    device = prepare_torch(train_params(options))
    if device.type == "cuda" and options.textbook:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
    torch.utils.deterministic.fill_uninitialized_memory = options.fill
    return device


def method_of(case: Case, **changes: Any) -> VariantParams:
    """Take the case's recipe in its batch size; changes to what a recipe doesn't have are left out."""
    method = read_params().recipes[case.dataset][case.variant].method
    known = {name: value for name, value in changes.items() if name in type(method).model_fields}
    return method.model_copy(update={"batch_size": case.batch} | known)


def importing_us() -> dict[str, str]:
    """Environment of a process that runs a module of ours from any folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Run:
    """A run that goes on step by step. Its images come from a store, as in `pipeline.train`."""

    def __init__(
        self,
        setting: Setting,
        case: Case,
        options: Options,
        *,
        method: VariantParams | None = None,
        saved: dict[str, Any] | None = None,
        begin: int = 0,
    ) -> None:
        """saved: a state to go on from; begin: the step to begin with, where there is none."""
        self.options = options
        self.device = prepare(options)
        self.state = new_train_state(
            method or method_of(case),
            case.image,
            train_params(options),
            steps=10**6,
            seed=0,
            device=self.device,
        )
        self.state.step = begin
        if saved is not None:
            self.state.load_state_dict(saved)
        more = {"resident": True} if options.resident else {}
        batches = endless_batches(
            ImageStore(store_of(setting, case), "train"),
            case.batch,
            seed=0,
            start=self.state.batches_seen,
            device=self.device,
            **more,
        )
        loop = plain.training_steps if options.textbook else training_steps
        self._steps: Iterator[Any] = loop(self.state, batches)

    def advance(self, steps: int) -> dict[str, Any]:
        """Train for a number of steps, and return the last one's scalars, which may still be computed."""
        prepare(self.options)
        return self.advance_unprepared(steps)

    def advance_unprepared(self, steps: int) -> dict[str, Any]:
        """Train under torch's present settings."""
        scalars: dict[str, Any] = {}
        for _ in range(steps):
            scalars = next(self._steps)
        return scalars


def weights_of(state: TrainState) -> list[Tensor]:
    """Copies, on the CPU, of all weights and statistics of the three networks."""
    networks = (state.gan.generator, state.gan.critic, state.averaged)
    return [copy.deepcopy(value.detach().cpu()) for net in networks for value in net.state_dict().values()]


def largest_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest absolute difference of any number; 0 for equal bits, infinite where one is NaN."""
    if all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
        return 0.0
    largest = max((a.double() - b.double()).abs().max() for a, b in zip(found, expected, strict=True))
    return float(largest) if bool(torch.isfinite(largest)) and largest > 0 else float("inf")


def through_a_file(state: TrainState) -> dict[str, Any]:
    """Save a state and read it again, as a checkpoint does."""
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    buffer.seek(0)
    saved: dict[str, Any] = torch.load(buffer, map_location="cpu", weights_only=True)
    return saved


def store_of(setting: Setting, case: Case) -> Path:
    """Return a store of the case's images, which is made when it is first asked for.

    Digits are MNIST's where its files are in the data folder, else the repository's 5,000; those of other
    sides, and colour images, are random.
    """
    digits = case.dataset == DIGITS and case.side == 28
    path = setting.out / STORES / ("digits.lmdb" if digits else f"random-{case.side}-{case.image[0]}.lmdb")
    if not path.with_suffix(".json").is_file() and not path.exists():
        records: Any
        if digits:
            train = read_digits(setting)
            records, count, image = train.records(), len(train.labels), train.shape
        else:
            count, image = COLOUR_IMAGES, case.image
            stream = np.random.default_rng(0)
            records = ((stream.integers(0, 256, image, np.uint8), -1) for _ in range(count))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_store(path, records, image=image, splits={"train": (0, count)}, recipe={"split": "all"})
    return path


def read_digits(setting: Setting) -> Digits:
    """Read the digits to train on: MNIST's 55,000 where they are in the data folder, else 4,000."""
    folder = mnist_folder(setting)
    if folder is not None and setting.on_gpu:
        return last_5000_are_validation(folder)["train"]
    return every_fifth_is_test(ROOT / "data" / DIGITS)["train"]


def mnist_folder(setting: Setting) -> Path | None:
    """Return the folder of MNIST's raw files: the data folder, or data/raw/mnist or mnist in it."""
    for folder in (setting.data, setting.data / "data/raw/mnist", setting.data / "mnist"):
        if (folder / "train-images-idx3-ubyte.gz").is_file():
            return folder
    return None
