"""Owns downloading the files of an entry of data/manifest.yaml and verifying them."""

import gzip
import hashlib
import shutil
import tempfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from gan.data.manifest import DRIVE, FileEntry
from gan.data.transfer import (
    CHUNK,
    PATIENCE,
    Partial,
    Patience,
    Report,
    Unreachable,
    WrongBytes,
    download,
    refuse_page,
    reserved,
)
from gan.errors import ConfigError, DataError
from gan.files import rename_durably, replaced_atomically, sha256_of


def fetch(
    file: FileEntry,
    folder: Path,
    *,
    mirror: str = "",
    mirror_folder: str = "",
    report: Report = lambda received: None,
    patience: Patience = PATIENCE,
) -> Path:
    """Fetch one file of the data set that `folder` is named after; it gets its name once it is verified.

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
        with reserved(target, report) as partial:
            for source in () if target.exists() else _sources(file, name, mirror):
                try:
                    _obtain(source, target, partial, file, patience)
                    report(target.stat().st_size)
                    return target
                except (WrongBytes, Unreachable) as fault:
                    faults.append(f"{source}: {fault}")
                    is_service_fault = is_service_fault or isinstance(fault, Unreachable)
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
    except WrongBytes as fault:
        raise DataError(f"{path}: {fault}; move it away, or put the right file there") from fault


def _verify(path: Path, file: FileEntry) -> None:
    """Raise WrongBytes unless the file's bytes, or those that it decompresses to, are the right ones."""
    found = sha256_of(path)
    if found == file.sha256:
        return
    if file.content_sha256 is None or file.content_bytes is None:
        size = path.stat().st_size
        raise WrongBytes(
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
        raise WrongBytes(f"{path.stat().st_size} bytes that are no whole gzip file ({error})") from error
    if digest.hexdigest() != file.content_sha256:
        raise WrongBytes(f"SHA-256 of the content is {digest.hexdigest()}, expected {file.content_sha256}")


def _obtain(source: str, target: Path, partial: Partial, file: FileEntry, patience: Patience) -> None:
    """Fetch a file from one source, verify it, and rename it to its name."""
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
        raise Unreachable("no such file")


def _download_from_drive(identity: str, temporary: Path, partial: Partial, patience: Patience) -> None:
    """Download with gdown, which gets past Google Drive's pages before large files."""
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
            raise Unreachable("its download quota is exceeded; try again in 24 hours") from error
        raise Unreachable(f"Google Drive gave no file ({text[:200]})") from error
    if not temporary.is_file():
        raise Unreachable("Google Drive gave no file")
    refuse_page(temporary)


def _download_and_verify(url: str, partial: Partial, file: FileEntry, patience: Patience) -> None:
    """Download the missing rest of a file and verify it; start over if the existing part was wrong."""
    try:
        if partial.size < file.bytes:
            download(url, partial, file, patience)
        _verify(partial.path, file)
        return
    except WrongBytes:
        was_joined = partial.is_joined
        partial.clear()
        if not was_joined:
            raise
    # The beginning came from another source, or from another version of the file.
    download(url, partial, file, patience)
    try:
        _verify(partial.path, file)
    except WrongBytes:
        partial.clear()
        raise
