"""Owns one transfer from an address into a partial file: waiting, going on where it broke off, giving up."""

import email.utils
import fcntl
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from gan.data.manifest import FileEntry

if TYPE_CHECKING:
    import requests

CHUNK = 2**16
SLACK = 2**20  # what a recompressed file may exceed its content by
AS_STORED = {"Accept-Encoding": "identity"}  # a .gz must not come unpacked or packed twice
PROGRESS = 2**20  # bytes after which a server that breaks off has all its tries again


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


class WrongBytes(Exception):
    """A source gave a file that isn't the one."""


class Unreachable(Exception):
    """A source gave no file."""


class Busy(Unreachable):
    """A source gave no file, and may give it in a while."""

    def __init__(self, reason: str, wait: float | None = None, version: str = "") -> None:
        super().__init__(reason)
        self.wait = wait
        self.version = version  # of the part that came


class Partial:
    """What has come of a file so far, kept beside it for the next try and for the next process."""

    def __init__(self, path: Path, stream: IO[bytes], report: Report) -> None:
        self.path = path
        self._stream = stream
        self.report = report
        self.is_joined = self.size > 0  # of pieces that may belong to different files

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return os.fstat(self._stream.fileno()).st_size

    def append(self, chunk: bytes) -> None:
        """Add what has come."""
        self._stream.write(chunk)
        self._stream.flush()
        self.report(self.size)

    def clear(self) -> None:
        """Begin again from nothing."""
        self._stream.truncate(0)
        self.is_joined = False


@contextmanager
def reserved(target: Path, report: Report) -> Iterator[Partial]:
    """Yield the partial file of `target`. Raises BlockingIOError while another process has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.part")
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"{path}: another process downloads it; wait until it ends") from error
        partial = Partial(path, stream, report)
        try:
            yield partial
        finally:
            if not partial.size:
                path.unlink(missing_ok=True)


def download(url: str, partial: Partial, file: FileEntry, patience: Patience) -> None:
    """Download to the end, again from where it broke off while the server is busy or breaks off."""
    attempt, furthest, version = 0, partial.size, ""
    while True:
        attempt += 1
        try:
            version = _try_download(url, partial, file, version, patience)
            break
        except Busy as busy:
            version = busy.version or version
            if partial.size >= furthest + PROGRESS:
                attempt, furthest = 0, partial.size
            if attempt == patience.tries:
                raise Unreachable(f"{busy}, {attempt} times") from busy
            backoff = patience.backoff * 2 ** max(0, attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311, jitter
            time.sleep(min(patience.longest_wait, busy.wait if busy.wait is not None else backoff))
    try:
        refuse_page(partial.path)
    except Unreachable:
        partial.clear()
        raise


def _try_download(url: str, partial: Partial, file: FileEntry, version: str, patience: Patience) -> str:
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
            raise Busy("stopped in the middle", version=version) from error
        raise Unreachable("answered nothing in time") from error
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError) as error:
        raise Busy(f"broke off ({_reason(error)})", version=version) from error
    except requests.RequestException as error:
        raise Unreachable(_reason(error)) from error
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
        raise Unreachable(f"redirects to {addresses[-1]}, which is not https")
    status = response.status_code
    if status == 429 or status >= 500:
        raise Busy(f"answers {status}", _asked_to_wait(response.headers.get("Retry-After", "")))
    if status == 206 and begin:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            raise WrongBytes(f"was asked for bytes from {begin} on and sends others")
        return True
    if status == 416:  # it has no byte there: the file is shorter than what came before
        raise WrongBytes(f"has no {begin} bytes")
    if status != 200:
        raise Unreachable(f"answers {status}")
    return False


def _asked_to_wait(text: str) -> float | None:
    """Seconds of a Retry-After, which is a number or a date."""
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _receive(response: "requests.Response", partial: Partial, limit: int, patience: Patience) -> None:
    """Append the body as it comes. `read1` returns what is there, so that a trickle is seen as one."""
    received = in_window = 0
    begin = time.monotonic()
    while chunk := response.raw.read1(CHUNK):
        partial.append(chunk)
        received += len(chunk)
        in_window += len(chunk)
        if partial.size > limit:
            raise WrongBytes(f"more than {limit} bytes")
        elapsed = time.monotonic() - begin
        if elapsed > patience.slow:
            if in_window < 1000 * elapsed:
                raise Unreachable(f"sent {in_window} bytes in {elapsed:.0f} s, too slow")
            begin, in_window = time.monotonic(), 0
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and received < int(promised):
        version = response.headers.get("ETag", "")
        raise Busy(f"broke off after {received} of {promised} bytes", version=version)


def refuse_page(path: Path) -> None:
    """Raise Unreachable for a web page that came instead of the file, as drives and proxies send.

    An address that gives pages with a status of success is recognised by nothing else.
    """
    with path.open("rb") as stream:
        start = stream.read(CHUNK).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not re.match(r"<(!doctype html|html|head|\?xml)", start, re.IGNORECASE):
        return
    if "quota" in start.lower():
        raise Unreachable("its download quota is exceeded; try again in 24 hours")
    title = re.search(r"<title[^>]*>([^<]*)", start, re.IGNORECASE)
    raise Unreachable(
        f"sent a web page instead of the file ({title[1].strip() if title else 'without a title'})"
    )
