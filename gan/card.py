"""Owns a model's card: what a generator is, how it was made, and the digests of its weights. Loads no torch.

A card may come from a registry that someone else wrote to. So it names a variant of the roster, never
a class or a path, its sizes are bounded, and the weights beside it are hashed before anyone reads them.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, model_validator

from gan.contract import ImageShape, Precision, Profile, StrictModel
from gan.errors import DataError
from gan.files import write_json
from gan.variants import Variant

CARD = "card.json"
MAX_CARD_BYTES = 256 * 1024
MAX_WEIGHT_BYTES = 4 * 1024**3
MAX_Z_DIM = 4096
MAX_FAULTS_SHOWN = 5
# Fields that every card has from a format on; where an older one lacks them they are None.
ADDED = {2: ("profile", "log_points", "previews"), 3: ("device", "cuda_graphs", "resident_data")}

Weights = Literal["generator", "generator_raw"]
Side = Annotated[int, Field(ge=1, le=1024)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^[\w.!-]+$", max_length=50)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$", max_length=200)]


class Card(StrictModel):
    """The whole of card.json: a function of params, data, code and versions of packages, never of the clock.

    The weights of a diverged run are its last finite ones; `steps` is the budget of either kind of run.
    """

    format: Literal[1, 2, 3]
    key: Label
    dataset: Label
    variant: Label
    kind: Label
    image: Annotated[list[Side], Field(min_length=3, max_length=3)]
    method: Variant
    steps: PositiveInt
    images_seen: NonNegativeInt
    seed: NonNegativeInt
    precision: Precision
    num_threads: PositiveInt
    channels_last: bool
    ema_exponent: PositiveFloat
    data_digest: Digest
    code_digest: Digest
    weights_sha256: Digest
    raw_weights_sha256: Digest
    # Cards of format 1 were written for finished runs only before they said so.
    status: Literal["finished", "diverged"] = "finished"
    diverged_at: PositiveInt | None = None  # step at which a value of training was no longer finite
    # Since format 2, so that a run can be described without params.yaml.
    profile: Profile | None = None  # as the recipe said when training ended
    log_points: PositiveInt | None = None  # rows of the history
    previews: PositiveInt | None = None  # sample grids along the run
    versions: dict[Label, Version] | None = None  # of the packages that trained it
    # Since format 3. The noise of a GPU isn't that of a CPU, so that neither are the weights.
    device: Literal["cpu", "cuda"] | None = None
    cuda_graphs: bool | None = None
    resident_data: bool | None = None

    @model_validator(mode="after")
    def _is_one_model(self) -> "Card":
        if self.kind != self.method.kind:
            raise ValueError(f"kind is {self.kind!r}, its method is {self.method.kind!r}")
        if self.method.z_dim > MAX_Z_DIM:
            raise ValueError(f"z_dim is {self.method.z_dim}, more than {MAX_Z_DIM}")
        if (self.status == "diverged") != (self.diverged_at is not None):
            raise ValueError(f"status is {self.status!r}, diverged_at is {self.diverged_at}")
        if self.diverged_at is not None and self.diverged_at > self.steps:
            raise ValueError(f"diverged_at is {self.diverged_at}, beyond the {self.steps} steps of the run")
        missing = [
            name
            for since, names in ADDED.items()
            for name in names
            if self.format >= since and getattr(self, name) is None
        ]
        if missing:
            raise ValueError(f"a card of format {self.format} must hold {', '.join(missing)}")
        return self

    @property
    def shape(self) -> ImageShape:
        """Channels, height, width of what the generator makes."""
        return ImageShape(*self.image)

    def digest_of(self, weights: Weights) -> str:
        """SHA-256 that the file `<weights>.safetensors` must have."""
        return self.weights_sha256 if weights == "generator" else self.raw_weights_sha256


def write_card(folder: Path, card: Card) -> None:
    """Write card.json into a model's folder."""
    write_json(folder / CARD, card.model_dump(mode="json", by_alias=True))


def read_card(folder: Path) -> Card:
    """Read and check card.json. Raises DataError with one line per fault, the first five."""
    path = folder / CARD
    content = read_bounded(path, MAX_CARD_BYTES)
    try:
        return Card.model_validate_json(content)
    except ValidationError as error:
        faults = [
            f"{path}: {'.'.join(map(str, fault['loc'])) or 'card'}: {fault['msg']}"
            for fault in error.errors(include_input=False)[:MAX_FAULTS_SHOWN]
        ]
        raise DataError("\n".join(faults)) from error


def read_weights(folder: Path, card: Card, weights: Weights = "generator") -> bytes:
    """Read a weights file whole and compare its digest with the card's. Raises DataError.

    Whoever parses these bytes parses what was hashed; the file may change in between.
    """
    path = folder / f"{weights}.safetensors"
    content = read_bounded(path, MAX_WEIGHT_BYTES)
    found, expected = hashlib.sha256(content).hexdigest(), card.digest_of(weights)
    if found != expected:
        raise DataError(
            f"{path}: sha256 is {found}, the card says {expected}; "
            "the file was changed or damaged, so get or train it again"
        )
    return content


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a file whole. Raises DataError where it is missing or larger than the limit."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; a model's folder holds card.json and generator.safetensors")
    size = path.stat().st_size
    if size > limit:
        raise DataError(f"{path}: {size} bytes, more than the {limit} that are read")
    return path.read_bytes()
