import email.utils
import fcntl
import gzip
import hashlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
from gdown.exceptions import FileURLRetrievalError
from ruamel.yaml import YAML

from gan.data.download import fetch
from gan.data.manifest import FileEntry, find_entry, read_manifest
from gan.data.transfer import Patience
from gan.errors import ConfigError, DataError
from gan.files import sha256_of
from pipeline.stage import exit_code

MANIFEST = Path(__file__).parents[2] / "data/manifest.yaml"
# Bytes that don't compress, so that the file is larger than what a socket buffers.
CONTENT = np.random.default_rng(0).bytes(300_000)
FILE = gzip.compress(CONTENT, 1, mtime=0)
HASTE = Patience(connect=1.0, read=0.4, slow=0.3, tries=3, backoff=0.01, longest_wait=0.2)
PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>Sorry.</body></html>"


def flipped(content, position=150_000):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


class Handler(BaseHTTPRequestHandler):
    """Answers /FAULT/... with that fault; the server counts requests by fault."""

    def log_message(self, format, *args):
        """Keep stderr for pytest."""

    def do_GET(self):
        fault = self.path.split("/")[1]
        self.server.requests.append(fault)
        self.server.ranges.append(self.headers.get("Range"))
        getattr(self, f"answer_{fault}")()

    def send(self, body, status=200, length=None, **headers):
        self.send_response(status)
        if length != "none":
            self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self):
        self.send(FILE)

    def answer_recompressed(self):
        self.send(gzip.compress(CONTENT, 9, mtime=1))

    def answer_truncated(self):
        self.send(FILE[:-1000], length=len(FILE))

    def answer_silently_truncated(self):
        self.send(FILE[:-1000], length="none")

    def answer_flipped(self):
        self.send(flipped(FILE))

    def answer_longer(self):
        self.send(FILE + b"more")

    def answer_endless(self):
        self.send(FILE * 10)

    def answer_page(self):
        self.send(PAGE.format(title="Sign in").encode(), Content_Type="text/html")

    def answer_quota(self):
        self.send(PAGE.format(title="Google Drive - Quota exceeded").encode())

    def answer_missing(self):
        self.send(b"no", 404)

    def answer_forbidden(self):
        self.send(b"no", 403)

    def answer_broken(self):
        self.send(b"oops", 500)

    def answer_twice_broken(self):
        if self.server.requests.count("twice_broken") <= 2:
            self.send(b"oops", 500)
        else:
            self.send(FILE)

    def answer_once_truncated(self):
        if self.server.requests.count("once_truncated") == 1:
            self.answer_truncated()
        else:
            self.send(FILE)

    def answer_busy(self):
        if self.server.requests.count("busy") == 1:
            self.send(b"later", 429, Retry_After="3600")  # capped by the test's patience
        else:
            self.send(FILE)

    def answer_silent(self):
        time.sleep(0.8)
        self.close_connection = True

    def answer_trickle(self):
        self.send(b"", length=len(FILE))
        for _ in range(15):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def answer_moved(self):
        self.send(b"", 302, Location="/good/file.gz")

    def answer_moved_to_ftp(self):
        self.send(b"", 302, Location="ftp://127.0.0.1/file.gz")

    def answer_moved_in_circles(self):
        self.send(b"", 302, Location="/moved_in_circles/file.gz")

    def send_from(self, content, stop=None, **headers):
        """Honour a Range, as long as If-Range names the version that there is."""
        asked = self.headers.get("Range")
        version = headers.get("ETag")
        if asked and self.headers.get("If-Range", version) == version:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            headers["Content_Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            self.send(content[begin:stop], 206, length=len(content) - begin, **headers)
        else:
            self.send(content[:stop], length=len(content), **headers)

    def answer_ranged(self):
        self.send_from(FILE, ETag='"1"')

    def answer_ranged_once_broken(self):
        first = self.server.requests.count("ranged_once_broken") == 1
        self.send_from(FILE, 100_000 if first else None, ETag='"1"')

    def answer_changed(self):
        """Another file first, half of it, and the right one afterwards."""
        first = self.server.requests.count("changed") == 1
        self.send_from(flipped(FILE, 10) if first else FILE, 100_000 if first else None, ETag=f'"{first}"')

    def answer_changed_in_secret(self):
        """The same without a version, so that only the hash can tell."""
        first = self.server.requests.count("changed_in_secret") == 1
        self.send_from(flipped(FILE, 10) if first else FILE, 100_000 if first else None)

    def answer_wrong_range(self):
        if not self.headers.get("Range"):
            self.answer_truncated()
        else:
            self.send(FILE[5:], 206, Content_Range=f"bytes 5-{len(FILE) - 1}/{len(FILE)}")

    def answer_no_range(self):
        if not self.headers.get("Range"):
            self.answer_truncated()
        else:
            self.send(b"", 416)

    def answer_encoded(self):
        self.send(gzip.compress(bytes(10**7)), Content_Encoding="gzip")

    def answer_short(self):
        self.send(FILE, length=1000)

    def answer_empty(self):
        self.send(b"")

    def answer_reset(self):
        self.send(FILE[:1000], length=len(FILE))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def answer_garbage(self):
        self.wfile.write(b"this is no HTTP\r\n\r\n")
        self.close_connection = True

    def answer_stalled(self):
        self.send(FILE[:1000], length=len(FILE))
        time.sleep(0.8)

    def answer_proxy(self):
        self.send(PAGE.format(title="Bad gateway").encode(), 502)

    def answer_later(self):
        if self.server.requests.count("later") == 1:
            self.send(b"later", 503, Retry_After=email.utils.formatdate(time.time() + 3600, usegmt=True))
        else:
            self.send(FILE)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that hangs up on a fault is what these tests are about."""


@contextmanager
def serving():
    server = Server(("127.0.0.1", 0), Handler)
    server.requests, server.ranges = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        yield running


def address(server, fault):
    return f"http://127.0.0.1:{server.server_port}/{fault}/file.gz"


def entry(*urls):
    return FileEntry(
        name="file.gz",
        urls=list(urls),
        bytes=len(FILE),
        sha256=hashlib.sha256(FILE).hexdigest(),
        content_bytes=len(CONTENT),
        content_sha256=hashlib.sha256(CONTENT).hexdigest(),
        count=1,
    )


def fetch_from(server, folder, *faults, **options):
    urls = [address(server, fault) for fault in faults]
    return fetch(entry(*urls), folder, patience=HASTE, **options)


def names(folder):  # of whole and partial files
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_good_file_gets_its_name_and_its_bytes_are_reported(server, tmp_path):
    reports = []
    path = fetch_from(server, tmp_path / "digits", "good", report=reports.append)

    assert path.read_bytes() == FILE
    assert names(tmp_path / "digits") == ["file.gz"]
    assert reports[-1] == len(FILE)
    assert reports == sorted(reports)


@pytest.mark.parametrize(
    "fault",
    [
        "recompressed",
        "moved",
        "once_truncated",
        "twice_broken",
        "busy",
        "later",
        "ranged",
        "ranged_once_broken",
        "changed",
        "changed_in_secret",
    ],
)
def test_an_answer_that_is_right_in_the_end_is_accepted(server, tmp_path, fault):
    path = fetch_from(server, tmp_path, fault)

    assert gzip.decompress(path.read_bytes()) == CONTENT


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("flipped", "SHA-256 of the content is|no whole gzip file"),
        ("silently_truncated", "that are no whole gzip file"),
        ("longer", "that are no whole gzip file"),
        ("endless", f"more than {len(FILE) + 2**20} bytes"),
    ],
)
def test_wrong_bytes_from_every_source_are_a_data_error(server, tmp_path, fault, reason):
    with pytest.raises(DataError, match=reason):
        fetch_from(server, tmp_path, fault, fault)
    assert server.requests == [fault, fault]  # wrong bytes are not asked for twice of one source
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        ("truncated", "broke off", 3),
        ("broken", "answers 500, 3 times", 3),
        ("missing", "answers 404", 1),
        ("forbidden", "answers 403", 1),
        ("page", r"sent a web page instead of the file \(Sign in\)", 1),
        ("quota", "download quota is exceeded; try again in 24 hours", 1),
        ("silent", "answered nothing in time", 1),
        ("trickle", "too slow", 1),
    ],
)
def test_a_source_that_gives_no_file_is_a_dead_service(server, tmp_path, fault, reason, tries):
    with pytest.raises(ConnectionError, match=reason):
        fetch_from(server, tmp_path, fault)
    assert server.requests == [fault] * tries
    assert names(tmp_path) in ([], [".file.gz.part"])  # what came is kept for the next try


@pytest.mark.parametrize("fault", ["missing", "flipped", "page", "silent", "truncated", "broken"])
def test_after_a_fault_the_next_source_is_asked(server, tmp_path, fault):
    assert fetch_from(server, tmp_path, fault, "good").read_bytes() == FILE


def test_a_machine_without_network_is_told_each_source_and_what_to_do_by_hand(tmp_path):
    with serving() as stopped:
        urls = [address(stopped, "good"), address(stopped, "other")]
    begin = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        fetch(entry(*urls), tmp_path / "digits", patience=HASTE)

    lines = str(caught.value).splitlines()
    assert time.monotonic() - begin < 5
    assert len(lines) == 3
    for line, url in zip(lines[:2], urls, strict=True):
        assert line.startswith(f"{url}: Failed to establish a new connection: ")
        assert line.endswith("Connection refused")
    assert lines[-1].endswith(
        f"put file.gz into {tmp_path / 'digits'}/, or into FOLDER/digits/ for a FOLDER of your own and run "
        "again with GANTRY_MIRROR=FOLDER"
    )


def test_one_dead_source_among_wrong_ones_is_a_dead_service(server, tmp_path):
    with pytest.raises(ConnectionError, match="answers 404"):
        fetch_from(server, tmp_path, "flipped", "missing")


def test_a_present_file_needs_no_network(tmp_path):
    (tmp_path / "file.gz").write_bytes(FILE)

    assert fetch(entry("https://nowhere.invalid/file.gz"), tmp_path).read_bytes() == FILE


def test_a_present_wrong_file_is_an_error_and_stays(server, tmp_path):
    (tmp_path / "file.gz").write_bytes(b"mine")

    with pytest.raises(DataError, match="move it away"):
        fetch_from(server, tmp_path, "good")
    assert (tmp_path / "file.gz").read_bytes() == b"mine"
    assert server.requests == []


def test_a_mirror_folder_comes_before_the_sources(server, tmp_path):
    mirror = tmp_path / "mirror/digits/file.gz"
    mirror.parent.mkdir(parents=True)
    mirror.write_bytes(gzip.compress(CONTENT, 9, mtime=1))
    path = fetch_from(server, tmp_path / "digits", "good", mirror=str(tmp_path / "mirror"))

    assert path.read_bytes() == mirror.read_bytes()
    assert server.requests == []


def test_a_mirror_folder_without_the_file_or_with_a_wrong_one_is_passed_over(server, tmp_path):
    mirror = tmp_path / "mirror/wrong/file.gz"
    mirror.parent.mkdir(parents=True)
    mirror.write_bytes(flipped(FILE))
    for name in ("absent", "wrong"):
        path = fetch_from(server, tmp_path / name, "good", mirror=str(tmp_path / "mirror"))
        assert path.read_bytes() == FILE


def test_a_mirror_address_is_asked_for_data_set_and_file(server, tmp_path):
    base = f"http://127.0.0.1:{server.server_port}/"
    fetch_from(server, tmp_path / "good", "missing", mirror=base)  # asks for /good/file.gz

    assert server.requests == ["good"]


def test_a_mirror_of_another_scheme_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="GANTRY_MIRROR is ftp://there; give a folder"):
        fetch(entry("https://nowhere.invalid/file.gz"), tmp_path, mirror="ftp://there")


def test_a_redirect_from_https_to_http_is_refused(tmp_path, monkeypatch):
    with serving() as server:
        plain = address(server, "good")
        get = requests.get
        # No certificate here: the first hop is made up, the second is a real answer over http.
        first = requests.Response()
        first.url = "https://safe.example/file.gz"

        def redirected(url, **options):
            response = get(plain, **options)
            response.history = [first]
            return response

        monkeypatch.setattr(requests, "get", redirected)
        with pytest.raises(ConnectionError, match=f"redirects to {plain}, which is not https"):
            fetch(entry(first.url), tmp_path, patience=HASTE)
    assert names(tmp_path) == []


def test_a_full_disk_is_not_taken_for_a_fault_of_the_source(server, tmp_path, monkeypatch):
    def no_space(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan.data.transfer._receive", no_space)
    with pytest.raises(OSError, match="No space left") as caught:
        fetch_from(server, tmp_path, "good")
    assert caught.value.errno == 28
    assert names(tmp_path) == []


# Exit code that a fault of every source ends with: 65 for wrong bytes, 69 for none.
CODES = {
    "truncated": 69,
    "silently_truncated": 65,
    "flipped": 65,
    "longer": 65,
    "endless": 65,
    "short": 65,
    "empty": 65,
    "encoded": 65,
    "page": 69,
    "quota": 69,
    "missing": 69,
    "forbidden": 69,
    "broken": 69,
    "proxy": 69,
    "silent": 69,
    "stalled": 69,
    "trickle": 69,
    "reset": 69,
    "garbage": 69,
    "moved_to_ftp": 69,
    "moved_in_circles": 69,
    "wrong_range": 65,
    "no_range": 65,
}
NAMES = {"gz": "images-idx3-ubyte.gz", "zip": "img_align_celeba.zip", "txt": "list_eval_partition.txt"}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("fault", CODES)
def test_every_fault_of_every_kind_of_file_ends_with_its_code_and_without_a_file(
    server, tmp_path, fault, kind
):
    file = entry(address(server, fault)).model_copy(update={"name": NAMES[kind]})
    if kind != "gz":
        file = file.model_copy(update={"content_bytes": None, "content_sha256": None})
    begin = time.monotonic()
    with pytest.raises((DataError, OSError)) as caught:
        fetch(file, tmp_path, patience=HASTE)

    assert exit_code(caught.value) == CODES[fault]
    assert not (tmp_path / file.name).exists()
    assert set(names(tmp_path)) <= {f".{file.name}.part"}
    assert time.monotonic() - begin < 10


def test_a_download_goes_on_where_it_broke_off(server, tmp_path):
    path = fetch_from(server, tmp_path, "ranged_once_broken")

    assert path.read_bytes() == FILE
    assert server.ranges == [None, "bytes=100000-"]
    assert names(tmp_path) == ["file.gz"]


def test_a_download_goes_on_where_another_process_was_killed(server, tmp_path):
    (tmp_path / ".file.gz.part").write_bytes(FILE[:123_456])
    path = fetch_from(server, tmp_path, "ranged")

    assert path.read_bytes() == FILE
    assert server.ranges == ["bytes=123456-"]


def test_a_process_that_is_killed_leaves_its_bytes_for_the_next_one(server, tmp_path):
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from gan.data.download import fetch\nfrom gan.data.manifest import FileEntry\n"
        "def stop(received):\n"
        "    if received > 100_000: os.kill(os.getpid(), 9)\n"
        "fetch(FileEntry.model_validate_json(sys.argv[1]), Path(sys.argv[2]), report=stop)\n"
    )
    file = entry(address(server, "ranged"))
    killed = subprocess.run(
        [sys.executable, "-c", program, file.model_dump_json(), str(tmp_path)],
        env={"PYTHONPATH": str(MANIFEST.parents[1]), "NO_PROXY": "127.0.0.1"},
    )
    assert killed.returncode == -9
    assert names(tmp_path) == [".file.gz.part"]
    came = (tmp_path / ".file.gz.part").stat().st_size

    assert fetch(file, tmp_path, patience=HASTE).read_bytes() == FILE
    assert came > 100_000
    assert server.ranges == [None, f"bytes={came}-"]
    assert names(tmp_path) == ["file.gz"]


def test_a_whole_partial_file_needs_no_network(tmp_path):
    (tmp_path / ".file.gz.part").write_bytes(FILE)

    assert fetch(entry("https://nowhere.invalid/file.gz"), tmp_path).read_bytes() == FILE
    assert names(tmp_path) == ["file.gz"]


@pytest.mark.parametrize("junk", [b"x" * 1000, b"x" * (len(FILE) + 10)])
def test_a_partial_file_of_something_else_is_thrown_away(server, tmp_path, junk):
    (tmp_path / ".file.gz.part").write_bytes(junk)

    assert fetch_from(server, tmp_path, "ranged").read_bytes() == FILE


def test_two_downloads_of_one_file_do_not_meet(server, tmp_path):
    with (tmp_path / ".file.gz.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another process downloads it") as caught:
            fetch_from(server, tmp_path, "good")
    assert exit_code(caught.value) == 75
    assert server.requests == []


def test_a_host_without_address_is_a_dead_service(tmp_path, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConnectionError, match="Name or service not known"):
        fetch(entry("https://nowhere.invalid/file.gz"), tmp_path, patience=HASTE)


def drive(monkeypatch, answer):
    import gdown

    def download(*, id, output, quiet, timeout, progress):
        assert (id, quiet) == ("0B7_x-Y", True)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            Path(output).write_bytes(answer)
            progress(len(answer), None)

    monkeypatch.setattr(gdown, "download", download)


def test_a_file_of_google_drive_comes_by_gdown(tmp_path, monkeypatch):
    drive(monkeypatch, FILE)
    reports = []

    assert fetch(entry("gdrive:0B7_x-Y"), tmp_path, report=reports.append).read_bytes() == FILE
    assert reports[-1] == len(FILE)
    assert names(tmp_path) == ["file.gz"]


@pytest.mark.parametrize(
    ("answer", "reason", "code"),
    [
        (PAGE.format(title="Google Drive - Quota exceeded").encode(), "quota is exceeded", 69),
        (None, "gave no file", 69),
        (
            FileURLRetrievalError("Too many users have viewed or downloaded this file"),
            "quota is exceeded",
            69,
        ),
        (
            FileURLRetrievalError("Cannot retrieve the public link of the file."),
            "gave no file .*public link",
            69,
        ),
        (requests.ConnectionError("no route"), "gave no file .*no route", 69),
        (flipped(FILE), "SHA-256|gzip", 65),
    ],
)
def test_a_fault_of_google_drive_has_its_code_and_leaves_nothing(tmp_path, monkeypatch, answer, reason, code):
    drive(monkeypatch, answer)
    with pytest.raises((DataError, ConnectionError), match=reason) as caught:
        fetch(entry("gdrive:0B7_x-Y"), tmp_path)
    assert exit_code(caught.value) == code
    assert names(tmp_path) == []


def test_a_mirror_may_name_the_data_set_otherwise(server, tmp_path):
    mirror = tmp_path / "mirror/faces/file.gz"
    mirror.parent.mkdir(parents=True)
    mirror.write_bytes(FILE)
    path = fetch(
        entry(address(server, "missing")),
        tmp_path / "faces_128",
        mirror=str(tmp_path / "mirror"),
        mirror_folder="faces",
    )

    assert path.read_bytes() == FILE
    assert server.requests == []


def test_the_manifest_names_every_scene_category_of_lsun_with_its_bytes_and_hash():
    manifest = read_manifest(MANIFEST)
    scenes = {name for name in manifest if name.startswith("lsun_") and not name.endswith("_128")}

    assert len(scenes) == 10
    for name in scenes:
        train, validation = manifest[name].files
        category = name.removeprefix("lsun_")
        assert train.urls == [f"http://dl.yf.io/lsun/scenes/{category}_train_lmdb.zip"]
        assert (validation.name, validation.count) == (f"{category}_val_lmdb.zip", 300)
    assert manifest["lsun_bedroom"].files[0].count == 3_033_042
    assert manifest["lsun_bedroom"].files[0].bytes == 45_922_737_680
    assert manifest["stacked_mnist"].files == manifest["mnist"].files


def write_manifest(tmp_path, change):
    manifest = YAML(typ="safe", pure=True).load(MANIFEST.read_text())
    manifest = json.loads(json.dumps(manifest))  # data sets share files by alias; one of them is changed
    change(manifest)
    path = tmp_path / "manifest.yaml"
    YAML(typ="safe", pure=True).dump(manifest, path)
    return path


def test_the_manifest_promises_what_the_embedded_files_are():
    manifest = read_manifest(MANIFEST)

    for file in manifest["mnist_tiny"].files:
        path = MANIFEST.parents[1] / file.urls[0]
        content = gzip.decompress(path.read_bytes())
        assert (path.stat().st_size, sha256_of(path)) == (file.bytes, file.sha256)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (
            file.content_bytes,
            file.content_sha256,
        )
    assert [file.count for file in manifest["mnist"].files] == [60000, 60000, 10000, 10000]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: m["mnist_tiny"]["files"][1].update(sha="0"), "mnist_tiny.files.1.sha: unknown key"),
        (
            lambda m: m["mnist_tiny"]["files"][0].update(sha256="xyz"),
            "mnist_tiny.files.0.sha256: string should match",
        ),
        (
            lambda m: m["mnist_tiny"]["files"][0].update(bytes="1"),
            "mnist_tiny.files.0.bytes: input should be a valid int",
        ),
        (
            lambda m: m["mnist_tiny"]["files"][0].update(name="../x"),
            "mnist_tiny.files.0.name: string should match",
        ),
        (
            lambda m: m["mnist_tiny"]["files"][0].update(urls=[]),
            "mnist_tiny.files.0.urls: list should have at least 1",
        ),
        (lambda m: m["mnist_tiny"]["files"][0].update(urls=["http://x.org/f"]), "a remote source is https"),
        (lambda m: m["mnist_tiny"]["files"][0].update(urls=["ftp://x.org/f"]), "a remote source is https"),
        (lambda m: m["mnist_tiny"]["files"][0].update(urls=["/etc/passwd"]), "a path inside the project"),
        (lambda m: m["mnist_tiny"]["files"][0].update(urls=["data/../../f"]), "a path inside the project"),
        (lambda m: m["mnist_tiny"].pop("licence"), "mnist_tiny.licence: this key is missing"),
    ],
)
def test_a_fault_in_the_manifest_is_one_line(tmp_path, change, line):
    with pytest.raises(ConfigError) as caught:
        read_manifest(write_manifest(tmp_path, change))
    assert len(str(caught.value).splitlines()) == 1
    assert line in str(caught.value)


@pytest.mark.parametrize("text", ["a: {", "a: 1\na: 2", "", "- 1", "\x00"])
def test_a_manifest_that_is_no_mapping_is_a_config_error_of_one_line(tmp_path, text):
    (tmp_path / "manifest.yaml").write_text(text)

    with pytest.raises(ConfigError) as caught:
        read_manifest(tmp_path / "manifest.yaml")
    assert len(str(caught.value).splitlines()) == 1


def test_an_absent_manifest_and_an_unknown_data_set_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="no such file; run this in the project's root"):
        read_manifest(tmp_path / "manifest.yaml")
    with pytest.raises(ConfigError, match="no data set 'imagenet'; there are mnist_tiny, stacked_tiny, "):
        find_entry(read_manifest(MANIFEST), "imagenet", MANIFEST)
