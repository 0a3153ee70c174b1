"""Owns a store's manifest, `<name>.json` beside `<name>.lmdb`: what it promises about the file.

LMDB has no checksum, and a truncated file kills its reader with SIGBUS. So the manifest holds size and
hashes, is written last, and is compared with the file before LMDB maps it.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from gan.contract import ImageShape, StrictModel
from gan.errors import DataError
from gan.files import read_json

FORMAT = 1
SPLITS = ("train", "validation", "test")

Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Skipped(StrictModel):
    """An image of the source that was left out of the store."""

    name: str
    reason: str


class StoreManifest(StrictModel):
    """What a store promises about its file."""

    format: Literal[1]
    count: Count
    image: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)]
    splits: dict[str, Annotated[list[Count], Field(min_length=2, max_length=2)]]
    digest: Sha256  # of the shape, the splits and every label, attribute and image in order
    bytes: Count
    sha256: Sha256
    recipe: dict[str, Any]
    attributes: list[str] = []
    skipped: list[Skipped] = []
    seal: Sha256  # of all other fields: a changed digit in a split would pass every other check

    @property
    def shape(self) -> ImageShape:
        """Channels, height, width."""
        return ImageShape(*self.image)


def manifest_path(path: Path) -> Path:
    """Path of a store's manifest."""
    return path.with_suffix(".json")


def canonical(value: Any) -> bytes:
    """Bytes of a value that are equal for equal values, to be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def seal_of(manifest: dict[str, Any]) -> str:
    """SHA-256 of all fields but the seal itself."""
    return hashlib.sha256(canonical(manifest)).hexdigest()


def remedy(path: Path) -> str:
    """End of a message: the command that rebuilds a store."""
    return f"run 'dvc repro -f convert@{path.stem}'"


def read_manifest(path: Path) -> StoreManifest:
    """Read the manifest of the store at `path`. Raises DataError when there is none or it was changed."""
    source = manifest_path(path)
    try:
        raw = read_json(source)
        manifest = StoreManifest.model_validate(raw)
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file, {path.name} is incomplete; {remedy(path)}") from error
    except (ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{source}: not the manifest of a store ({reason}); {remedy(path)}") from error
    if manifest.seal != seal_of({key: value for key, value in raw.items() if key != "seal"}):
        raise DataError(f"{source}: was changed after it was written; {remedy(path)}")
    return manifest
