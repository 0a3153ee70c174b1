import gzip
import hashlib
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
from ruamel.yaml import YAML

from gan.data.download import FileEntry, Patience, fetch, find_entry, read_manifest
from gan.errors import ConfigError, DataError
from gan.files import sha256_of

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


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that hangs up on a fault is what these tests are about."""


@contextmanager
def serving():
    server = Server(("127.0.0.1", 0), Handler)
    server.requests = []
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


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_good_file_gets_its_name_and_its_bytes_are_reported(server, tmp_path):
    reports = []
    path = fetch_from(server, tmp_path / "digits", "good", report=reports.append)

    assert path.read_bytes() == FILE
    assert names(tmp_path / "digits") == ["file.gz"]
    assert reports[-1] == len(FILE)
    assert reports == sorted(reports)


@pytest.mark.parametrize("fault", ["recompressed", "moved", "once_truncated", "twice_broken", "busy"])
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
    assert names(tmp_path) == []


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
        "put file.gz into FOLDER/digits/ for a FOLDER of your own and run again with GANTRY_MIRROR=FOLDER"
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

    monkeypatch.setattr("gan.data.download._receive", no_space)
    with pytest.raises(OSError, match="No space left") as caught:
        fetch_from(server, tmp_path, "good")
    assert caught.value.errno == 28
    assert names(tmp_path) == []


def write_manifest(tmp_path, change):
    manifest = YAML(typ="safe", pure=True).load(MANIFEST.read_text())
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
        (lambda m: m["mnist"]["files"][1].update(sha="0"), "mnist.files.1.sha: Extra inputs"),
        (lambda m: m["mnist"]["files"][0].update(sha256="xyz"), "mnist.files.0.sha256: String should match"),
        (
            lambda m: m["mnist"]["files"][0].update(bytes="1"),
            "mnist.files.0.bytes: Input should be a valid int",
        ),
        (lambda m: m["mnist"]["files"][0].update(name="../x"), "mnist.files.0.name: String should match"),
        (lambda m: m["mnist"]["files"][0].update(urls=[]), "mnist.files.0.urls: List should have at least 1"),
        (lambda m: m["mnist"]["files"][0].update(urls=["http://x.org/f"]), "a remote source is https"),
        (lambda m: m["mnist"]["files"][0].update(urls=["ftp://x.org/f"]), "a remote source is https"),
        (lambda m: m["mnist"]["files"][0].update(urls=["/etc/passwd"]), "a path inside the project"),
        (lambda m: m["mnist"]["files"][0].update(urls=["data/../../f"]), "a path inside the project"),
        (lambda m: m["mnist"].pop("licence"), "mnist.licence: Field required"),
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
    with pytest.raises(ConfigError, match="no data set 'cifar'; there are mnist_tiny, mnist"):
        find_entry(read_manifest(MANIFEST), "cifar", MANIFEST)
