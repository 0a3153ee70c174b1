"""Owns data/manifest.yaml: which files make up a data set, where they are, and what their bytes are."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveInt

from gan.contract import StrictModel
from gan.errors import ConfigError
from gan.faults import read_checked

LOOPBACK = ("127.0.0.1", "::1", "localhost")
PLAIN = ("dl.yf.io",)  # LSUN's host has no TLS; SHA-256 protects against tampering
DRIVE = "gdrive:"


def _check_source(source: str) -> str:
    """Allow a file of this project, https, `gdrive:ID`, or http for hosts that have nothing else."""
    if re.fullmatch(rf"{DRIVE}[A-Za-z0-9_-]+", source):
        return source
    address = urlsplit(source)
    if not address.scheme:
        path = PurePosixPath(source)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("a local source is a path inside the project")
    elif address.scheme != "https" and not (
        address.scheme == "http" and address.hostname in (*LOOPBACK, *PLAIN)
    ):
        raise ValueError("a remote source is https")
    return source


Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Source = Annotated[str, AfterValidator(_check_source)]
Text = Annotated[str, Field(min_length=1)]


class FileEntry(StrictModel):
    """One file: its size, its hashes and its sources."""

    name: FileName
    urls: Annotated[list[Source], Field(min_length=1)]  # in order of preference
    bytes: PositiveInt
    sha256: Sha256
    # Of the uncompressed content, where the file is gzipped and it is known: a mirror may recompress.
    content_bytes: PositiveInt | None = None
    content_sha256: Sha256 | None = None
    count: PositiveInt  # records in it


class DatasetEntry(StrictModel):
    """The files of one data set and what may be done with them."""

    licence: Text
    citation: Text
    folder: Name | None = None  # of a mirror, where it isn't named like the data set
    files: Annotated[list[FileEntry], Field(min_length=1)]


def read_manifest(path: Path) -> dict[str, DatasetEntry]:
    """Read data/manifest.yaml. Raises ConfigError with one line per fault."""
    manifest: dict[str, DatasetEntry] = read_checked(path, dict[Name, DatasetEntry])
    return manifest


def find_entry(manifest: dict[str, DatasetEntry], dataset: str, path: Path) -> DatasetEntry:
    """Look up a data set. Raises ConfigError naming those there are."""
    if dataset not in manifest:
        raise ConfigError(f"{path}: no data set {dataset!r}; there are {', '.join(manifest)}")
    return manifest[dataset]
