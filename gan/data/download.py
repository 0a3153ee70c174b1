"""Owns the way from an entry of data/manifest.yaml to a verified file. Knows nothing of images."""

import email.utils
import fcntl
import gzip
import hashlib
import os
import random
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveInt, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gan.contract import StrictModel
from gan.errors import ConfigError, DataError
from gan.files import rename_durably, replaced_atomically, sha256_of

if TYPE_CHECKING:
    import requests

CHUNK = 2**16
SLACK = 2**20  # what a recompressed file may exceed its content by
AS_STORED = {"Accept-Encoding": "identity"}  # a .gz must not come unpacked or packed twice
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PLAIN = ("dl.yf.io",)  # LSUN's host has no TLS; nobody who sits between can forge a SHA-256
DRIVE = "gdrive:"
PROGRESS = 2**20  # bytes after which a server that breaks off has all its tries again


def _check_source(source: str) -> str:
    """Admit a file of this project, https, `gdrive:ID`, or http where nothing else is to be had."""
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
    """One file: what its bytes are and where they can be had."""

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
    slow: float = 60.0  # with fewer than 1000 bytes a second
    tries: int = 5  # of a source that is busy or breaks off, without a megabyte in between
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

    def __init__(self, reason: str, wait: float | None = None, version: str = "") -> None:
        super().__init__(reason)
        self.wait = wait
        self.version = version  # of the part that came


class _Partial:
    """What has come of a file so far, kept beside it for the next try and for the next process."""

    def __init__(self, path: Path, stream: IO[bytes], report: Report) -> None:
        self.path = path
        self._stream = stream
        self.report = report
        self.is_joined = self.size > 0  # of pieces that may belong to different files

    @property
    def size(self) -> int:
        return os.fstat(self._stream.fileno()).st_size

    def append(self, chunk: bytes) -> None:
        self._stream.write(chunk)
        self._stream.flush()
        self.report(self.size)

    def clear(self) -> None:
        self._stream.truncate(0)
        self.is_joined = False


@contextmanager
def _reserved(target: Path, report: Report) -> Iterator[_Partial]:
    """Yield the partial file of `target`. Raises BlockingIOError while another process has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.part")
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"{path}: another process downloads it; wait until it ends") from error
        partial = _Partial(path, stream, report)
        try:
            yield partial
        finally:
            if not partial.size:
                path.unlink(missing_ok=True)


def fetch(
    file: FileEntry,
    folder: Path,
    *,
    mirror: str = "",
    mirror_folder: str = "",
    report: Report = lambda received: None,
    patience: Patience = PATIENCE,
) -> Path:
    """Get one file of the data set that `folder` is named after, verified before it has its name.

    A file that is there already is used when it is the right one, and never replaced. Then the sources
    are tried in turn: `mirror`, a folder or an address that holds <data set>/<file name>, and the urls.
    What came of an interrupted download is gone on with.
    mirror_folder: name of the data set on the mirror, where it isn't that of `folder`.
    Raises DataError when a present file or every source is wrong; ConnectionError naming each
    source, with its fault and what to do by hand, when one of them could not be reached;
    BlockingIOError while another process downloads the file.
    """
    target = folder / file.name
    name = mirror_folder or folder.name
    faults: list[str] = []
    is_service_fault = False
    if not target.exists():
        with _reserved(target, report) as partial:
            for source in () if target.exists() else _sources(file, name, mirror):
                try:
                    _obtain(source, target, partial, file, patience)
                    report(target.stat().st_size)
                    return target
                except (_WrongBytes, _Unreachable) as fault:
                    faults.append(f"{source}: {fault}")
                    is_service_fault = is_service_fault or isinstance(fault, _Unreachable)
    if target.exists():
        _check_present(target, file)
        report(target.stat().st_size)
        return target
    faults.append(
        f"{target}: no source gave it; put {file.name} into {folder}/, or into FOLDER/{name}/ for a FOLDER "
        "of your own and run again with GANTRY_MIRROR=FOLDER"
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
    found = sha256_of(path)
    if found == file.sha256:
        return
    if file.content_sha256 is None or file.content_bytes is None:
        size = path.stat().st_size
        raise _WrongBytes(
            f"SHA-256 of its {size:,} bytes is {found}, expected {file.sha256} of {file.bytes:,}"
        )
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


def _obtain(source: str, target: Path, partial: _Partial, file: FileEntry, patience: Patience) -> None:
    """Get a file from one source, verify it, and give it its name."""
    if source.startswith(DRIVE):
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            temporary = Path(folder) / target.name
            _download_from_drive(source.removeprefix(DRIVE), temporary, partial, patience)
            _verify(temporary, file)
            rename_durably(temporary, target)
    elif "://" in source:
        _download_and_verify(source, partial, file, patience)
        rename_durably(partial.path, target)
    elif Path(source).is_file():
        with replaced_atomically(target) as temporary:
            shutil.copyfile(source, temporary)
            _verify(temporary, file)
    else:
        raise _Unreachable("no such file")


def _download_from_drive(identity: str, temporary: Path, partial: _Partial, patience: Patience) -> None:
    """Download by gdown, which knows the pages that Google Drive puts before large files."""
    import gdown
    import requests
    import urllib3

    try:
        gdown.download(
            id=identity,
            output=str(temporary),
            quiet=True,
            timeout=(patience.connect, patience.read),
            progress=lambda received, _: partial.report(received),
        )
    except (
        gdown.exceptions.DownloadError,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
    ) as error:
        text = " ".join(str(error).split())
        if "quota" in text.lower() or "too many users" in text.lower():
            raise _Unreachable("its download quota is exceeded; try again in 24 hours") from error
        raise _Unreachable(f"Google Drive gave no file ({text[:200]})") from error
    if not temporary.is_file():
        raise _Unreachable("Google Drive gave no file")
    _refuse_page(temporary)


def _download_and_verify(url: str, partial: _Partial, file: FileEntry, patience: Patience) -> None:
    """Download what is missing of a file and verify it; from its start if what was there was wrong."""
    try:
        if partial.size < file.bytes:
            _download(url, partial, file, patience)
        _verify(partial.path, file)
        return
    except _WrongBytes:
        was_joined = partial.is_joined
        partial.clear()
        if not was_joined:
            raise
    # The beginning came from another source, or from another version of the file.
    _download(url, partial, file, patience)
    try:
        _verify(partial.path, file)
    except _WrongBytes:
        partial.clear()
        raise


def _download(url: str, partial: _Partial, file: FileEntry, patience: Patience) -> None:
    """Download to the end, again from where it broke off while the server is busy or breaks off."""
    attempt, furthest, version = 0, partial.size, ""
    while True:
        attempt += 1
        try:
            version = _try_download(url, partial, file, version, patience)
            break
        except _Busy as busy:
            version = busy.version or version
            if partial.size >= furthest + PROGRESS:
                attempt, furthest = 0, partial.size
            if attempt == patience.tries:
                raise _Unreachable(f"{busy}, {attempt} times") from busy
            backoff = patience.backoff * 2 ** max(0, attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311, jitter
            time.sleep(min(patience.longest_wait, busy.wait if busy.wait is not None else backoff))
    try:
        _refuse_page(partial.path)
    except _Unreachable:
        partial.clear()
        raise


def _try_download(url: str, partial: _Partial, file: FileEntry, version: str, patience: Patience) -> str:
    """Ask for what is missing and append it. Returns the version of the file that the server names.

    version: what it named before; it then sends the rest only when that is still the file's.
    """
    import requests  # a fifth of the time that `gantry --help` takes
    import urllib3

    begin = partial.size
    headers = dict(AS_STORED)
    if begin:
        headers["Range"] = f"bytes={begin}-"
        if version:
            headers["If-Range"] = version
    try:
        with requests.get(
            url, stream=True, timeout=(patience.connect, patience.read), headers=headers
        ) as response:
            version = response.headers.get("ETag", "")
            if version.startswith("W/"):  # a weak one doesn't vouch for bytes
                version = ""
            if _goes_on(url, response, begin):
                partial.is_joined = True
            else:
                partial.clear()
            limit = max(file.bytes, file.content_bytes or 0) + SLACK
            _receive(response, partial, limit, patience)
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        if partial.size > begin:
            raise _Busy("stopped in the middle", version=version) from error
        raise _Unreachable("answered nothing in time") from error
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError) as error:
        raise _Busy(f"broke off ({_reason(error)})", version=version) from error
    except requests.RequestException as error:
        raise _Unreachable(_reason(error)) from error
    return version


def _reason(error: BaseException) -> str:
    """Say the innermost cause in one line: requests and urllib3 wrap it up to three times."""
    while isinstance(inner := getattr(error, "reason", next(iter(error.args), None)), BaseException):
        error = inner
    text = " ".join(str(error).split()).rpartition("): ")[2]
    return text or type(error).__name__


def _goes_on(url: str, response: "requests.Response", begin: int) -> bool:
    """Say whether an answer is the rest from byte `begin` on, or else the whole file."""
    addresses = [answer.url for answer in (*response.history, response)]
    if url.startswith("https://") and not all(address.startswith("https://") for address in addresses):
        raise _Unreachable(f"redirects to {addresses[-1]}, which is not https")
    status = response.status_code
    if status == 429 or status >= 500:
        raise _Busy(f"answers {status}", _asked_to_wait(response.headers.get("Retry-After", "")))
    if status == 206 and begin:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            raise _WrongBytes(f"was asked for bytes from {begin} on and sends others")
        return True
    if status == 416:  # it has no byte there: the file is shorter than what came before
        raise _WrongBytes(f"has no {begin} bytes")
    if status != 200:
        raise _Unreachable(f"answers {status}")
    return False


def _asked_to_wait(text: str) -> float | None:
    """Seconds of a Retry-After, which is a number or a date."""
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _receive(response: "requests.Response", partial: _Partial, limit: int, patience: Patience) -> None:
    """Append the body as it comes. `read1` returns what is there, so that a trickle is seen as one."""
    received = in_window = 0
    begin = time.monotonic()
    while chunk := response.raw.read1(CHUNK):
        partial.append(chunk)
        received += len(chunk)
        in_window += len(chunk)
        if partial.size > limit:
            raise _WrongBytes(f"more than {limit} bytes")
        elapsed = time.monotonic() - begin
        if elapsed > patience.slow:
            if in_window < 1000 * elapsed:
                raise _Unreachable(f"sent {in_window} bytes in {elapsed:.0f} s, too slow")
            begin, in_window = time.monotonic(), 0
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and received < int(promised):
        version = response.headers.get("ETag", "")
        raise _Busy(f"broke off after {received} of {promised} bytes", version=version)


def _refuse_page(path: Path) -> None:
    """Raise _Unreachable for a web page that came instead of the file, as drives and proxies send.

    An address that gives pages with a status of success is recognised by nothing else.
    """
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
