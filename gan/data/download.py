"""Owns the way from an entry of data/manifest.yaml to a verified file. Knows nothing of images."""

import gzip
import hashlib
import random
import re
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3
from pydantic import AfterValidator, Field, PositiveInt, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gan.contract import StrictModel
from gan.errors import ConfigError, DataError
from gan.files import replaced_atomically, sha256_of

CHUNK = 2**16
SLACK = 2**20  # what a recompressed file may exceed its content by
AS_STORED = {"Accept-Encoding": "identity"}  # a .gz must not come unpacked or packed twice
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _check_source(source: str) -> str:
    """Admit a file of this project, https, or http on this machine."""
    address = urlsplit(source)
    if not address.scheme:
        path = PurePosixPath(source)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("a local source is a path inside the project")
    elif address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK):
        raise ValueError("a remote source is https")
    return source


Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Source = Annotated[str, AfterValidator(_check_source)]
Text = Annotated[str, Field(min_length=1)]


class FileEntry(StrictModel):
    """One file: what its bytes are and where they can be had."""

    name: FileName
    urls: Annotated[list[Source], Field(min_length=1)]  # in order of preference
    bytes: PositiveInt
    sha256: Sha256
    content_bytes: PositiveInt
    content_sha256: Sha256  # of the uncompressed content: a mirror may recompress
    count: PositiveInt  # records in it


class DatasetEntry(StrictModel):
    """The files of one data set and what may be done with them."""

    licence: Text
    citation: Text
    files: Annotated[list[FileEntry], Field(min_length=1)]


def read_manifest(path: Path) -> dict[str, DatasetEntry]:
    """Read data/manifest.yaml. Raises ConfigError with one line per fault."""
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[Name, DatasetEntry]).validate_python(raw)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; run this in the project's root") from error
    except ValidationError as error:
        faults = [f"{path}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ConfigError("\n".join(faults)) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def find_entry(manifest: dict[str, DatasetEntry], dataset: str, path: Path) -> DatasetEntry:
    """Look up a data set. Raises ConfigError naming those there are."""
    if dataset not in manifest:
        raise ConfigError(f"{path}: no data set {dataset!r}; there are {', '.join(manifest)}")
    return manifest[dataset]


class Patience(NamedTuple):
    """How long a source is waited for, in seconds."""

    connect: float = 10.0
    read: float = 30.0  # without a byte
    slow: float = 60.0  # with fewer than 1000 bytes a second on average
    tries: int = 5  # of a source that is busy or breaks off
    backoff: float = 1.0  # before the second try; doubles with each
    longest_wait: float = 60.0  # between two tries, whatever the server asks for


PATIENCE = Patience()
Report = Callable[[int], None]  # told how many bytes of the file are there


class _WrongBytes(Exception):
    """A source gave a file that isn't the one."""


class _Unreachable(Exception):
    """A source gave no file."""


class _Busy(_Unreachable):
    """A source gave no file, and may give it in a while."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(
    file: FileEntry,
    folder: Path,
    *,
    mirror: str = "",
    report: Report = lambda received: None,
    patience: Patience = PATIENCE,
) -> Path:
    """Get one file of the data set that `folder` is named after, verified before it has its name.

    A file that is there already is used when it is the right one, and never replaced. Then the sources
    are tried in turn: `mirror`, a folder or an address that holds <data set>/<file name>, and the urls.
    Raises DataError when a present file or every source is wrong; ConnectionError naming each
    source, with its fault and what to do by hand, when one of them could not be reached.
    """
    target = folder / file.name
    if target.exists():
        _check_present(target, file)
        report(target.stat().st_size)
        return target
    faults: list[str] = []
    is_service_fault = False
    for source in _sources(file, folder.name, mirror):
        try:
            with replaced_atomically(target) as temporary:
                _copy(source, temporary, file, report, patience)
                _verify(temporary, file)
            return target
        except (_WrongBytes, _Unreachable) as fault:
            faults.append(f"{source}: {fault}")
            is_service_fault = is_service_fault or isinstance(fault, _Unreachable)
    # Not into `folder` itself: it is a stage's output, which DVC empties before the stage runs.
    faults.append(
        f"{target}: no source gave it; put {file.name} into FOLDER/{folder.name}/ for a FOLDER of your own "
        "and run again with GANTRY_MIRROR=FOLDER"
    )
    raise (ConnectionError if is_service_fault else DataError)("\n".join(faults))


def _sources(file: FileEntry, dataset: str, mirror: str) -> list[str]:
    if not mirror:
        return file.urls
    if "://" in mirror and urlsplit(mirror).scheme not in ("http", "https"):
        raise ConfigError(f"GANTRY_MIRROR is {mirror}; give a folder, or an address with http or https")
    return [f"{mirror.rstrip('/')}/{dataset}/{file.name}", *file.urls]


def _check_present(path: Path, file: FileEntry) -> None:
    try:
        _verify(path, file)
    except _WrongBytes as fault:
        raise DataError(f"{path}: {fault}; move it away, or put the right file there") from fault


def _verify(path: Path, file: FileEntry) -> None:
    """Raise _WrongBytes unless the file's bytes, or those that it decompresses to, are the right ones."""
    if sha256_of(path) == file.sha256:
        return
    digest = hashlib.sha256()
    left = file.content_bytes + 1  # never inflate more than the right file holds
    try:
        with gzip.open(path) as stream:
            while left and (chunk := stream.read(min(CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _WrongBytes(f"{path.stat().st_size} bytes that are no whole gzip file ({error})") from error
    if digest.hexdigest() != file.content_sha256:
        raise _WrongBytes(f"SHA-256 of the content is {digest.hexdigest()}, expected {file.content_sha256}")


def _copy(source: str, temporary: Path, file: FileEntry, report: Report, patience: Patience) -> None:
    if "://" in source:
        _download(source, temporary, file, report, patience)
    elif Path(source).is_file():
        shutil.copyfile(source, temporary)
        report(temporary.stat().st_size)
    else:
        raise _Unreachable("no such file")


def _download(url: str, temporary: Path, file: FileEntry, report: Report, patience: Patience) -> None:
    """Download to `temporary`, again while the server is busy or breaks off."""
    for attempt in range(1, patience.tries + 1):
        try:
            _try_download(url, temporary, file, report, patience)
            break
        except _Busy as busy:
            if attempt == patience.tries:
                raise _Unreachable(f"{busy}, {attempt} times") from busy
            backoff = patience.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311, jitter
            time.sleep(min(patience.longest_wait, busy.wait if busy.wait is not None else backoff))
    _refuse_page(temporary)


def _try_download(url: str, temporary: Path, file: FileEntry, report: Report, patience: Patience) -> None:
    limit = max(file.bytes, file.content_bytes) + SLACK
    timeout = (patience.connect, patience.read)
    try:
        with requests.get(url, stream=True, timeout=timeout, headers=AS_STORED) as response:
            _check_answer(url, response)
            _receive(response, temporary, limit, report, patience)
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise _Unreachable("answered nothing in time") from error
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError) as error:
        raise _Busy(f"broke off ({_reason(error)})") from error
    except requests.RequestException as error:
        raise _Unreachable(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """Say the innermost cause in one line: requests and urllib3 wrap it up to three times."""
    while isinstance(inner := getattr(error, "reason", next(iter(error.args), None)), BaseException):
        error = inner
    text = " ".join(str(error).split()).rpartition("): ")[2]
    return text or type(error).__name__


def _check_answer(url: str, response: requests.Response) -> None:
    addresses = [answer.url for answer in (*response.history, response)]
    if url.startswith("https://") and not all(address.startswith("https://") for address in addresses):
        raise _Unreachable(f"redirects to {addresses[-1]}, which is not https")
    if response.status_code == 429 or response.status_code >= 500:
        wait = response.headers.get("Retry-After", "")
        raise _Busy(f"answers {response.status_code}", float(wait) if wait.isdecimal() else None)
    if response.status_code != 200:
        raise _Unreachable(f"answers {response.status_code}")


def _receive(
    response: requests.Response, temporary: Path, limit: int, report: Report, patience: Patience
) -> None:
    """Write the body as it comes. `read1` returns what is there, so that a trickle is seen as one."""
    received = 0
    begin = time.monotonic()
    with temporary.open("wb") as stream:
        while chunk := response.raw.read1(CHUNK):
            stream.write(chunk)
            received += len(chunk)
            report(received)
            elapsed = time.monotonic() - begin
            if received > limit:
                raise _WrongBytes(f"more than {limit} bytes")
            if elapsed > patience.slow and received < 1000 * elapsed:
                raise _Unreachable(f"sent {received} bytes in {elapsed:.0f} s, too slow")
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and received < int(promised):
        raise _Busy(f"broke off after {received} of {promised} bytes")


def _refuse_page(path: Path) -> None:
    """Raise _Unreachable for a web page that came instead of the file, as drives and proxies send."""
    with path.open("rb") as stream:
        start = stream.read(CHUNK).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not re.match(r"<(!doctype html|html|head|\?xml)", start, re.IGNORECASE):
        return
    if "quota" in start.lower():
        raise _Unreachable("its download quota is exceeded; try again in 24 hours")
    title = re.search(r"<title[^>]*>([^<]*)", start, re.IGNORECASE)
    raise _Unreachable(
        f"sent a web page instead of the file ({title[1].strip() if title else 'without a title'})"
    )
