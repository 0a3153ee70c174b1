"""Archives that were made to do harm: each is refused, and nothing appears anywhere."""

import io
import os
import stat
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from gan.contract import ImageShape
from gan.data.archive import Limits, open_zip, tar_members
from gan.data.convert import Plan, convert
from gan.errors import DataError

LIMITS = Limits(entries=50, member=2**22, total=2**23)
NOISE = np.random.default_rng(0).bytes(2000)


def zipped(*members, compression=zipfile.ZIP_STORED):
    """Bytes of a zip of (name or ZipInfo, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in (("good.jpg", NOISE), *members):
            archive.writestr(name, content, None if isinstance(name, str) else compression)
    return buffer.getvalue()


def special(name, mode):
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (mode | 0o777) << 16
    return entry


def patched(content, mark, offset, value, size=2):
    """Change a field of the last record that begins with a mark."""
    content = bytearray(content)
    at = content.rindex(mark) + offset
    content[at : at + size] = value.to_bytes(size, "little")
    return bytes(content)


def renamed(content, old, new):
    assert len(old) == len(new)
    return content.replace(old, new)


def overlapping():
    """Two entries of the directory for the same bytes."""
    content = bytearray(zipped(("b.jpg", NOISE)))
    at = content.rindex(b"PK\x01\x02")
    content[at + 42 : at + 46] = bytes(4)  # offset of the first member's header
    return bytes(content)


def warned_duplicate():
    content = zipped(("b.jpg", NOISE), ("c.jpg", NOISE))
    return renamed(content, b"c.jpg", b"b.jpg")


ZIPS = {
    "parent": (lambda: zipped(("../evil.jpg", b"x")), "leads out"),
    "deep parent": (lambda: zipped(("a/../../evil.jpg", b"x")), "leads out"),
    "absolute": (lambda: zipped(("/evil.jpg", b"x")), "leads out"),
    "backslash": (lambda: zipped(("..\\evil.jpg", b"x")), "leads out"),
    "drive": (lambda: zipped(("C:evil.jpg", b"x")), "leads out"),
    "symlink": (lambda: zipped((special("link", stat.S_IFLNK), b"/etc/passwd")), "not a regular file"),
    "device": (lambda: zipped((special("null", stat.S_IFCHR), b"")), "not a regular file"),
    "newline": (lambda: zipped(("a\nb.jpg", b"x")), "control character"),
    "nul": (lambda: renamed(zipped(("evil1.jpg", b"x")), b"evil1", b"evil\0"), "control character"),
    "invalid utf-8": (
        lambda: renamed(zipped(("\u00e4\u00e4.jpg", b"x")), b"\xc3\xa4\xc3", b"\xff\xfe\xc3"),
        "not a complete",
    ),
    "encrypted": (lambda: patched(zipped(), b"PK\x01\x02", 8, 1), "is encrypted"),
    "duplicate": (warned_duplicate, "occurs twice"),
    "case": (lambda: zipped(("GOOD.jpg", b"x")), "occurs twice, or in another case"),
    "wrong crc": (lambda: zipped().replace(NOISE, NOISE[:-1] + b"?"), "is broken .*CRC"),
    "bomb": (
        lambda: zipped(("zeros", bytes(2**22)), compression=zipfile.ZIP_DEFLATED),
        "inflate more than 200",
    ),
    "large member": (lambda: zipped(("zeros", bytes(2**22 + 1))), "bytes, more than 4,194,304"),
    "large total": (lambda: zipped(*((f"{i}", bytes(2**21)) for i in range(5))), "holds more than 8,388,608"),
    "overlap": (overlapping, "overlaps another one"),
    "many": (lambda: zipped(*((f"{i}", b"") for i in range(60))), "entries, more than 50"),
    "many announced": (lambda: patched(zipped(), b"PK\x05\x06", 10, 60000), "entries, more than 50"),
    "method": (lambda: patched(zipped(), b"PK\x01\x02", 10, 12), "compressed by method 12"),
    "truncated": (lambda: zipped()[:-30], "not a complete zip"),
    "page": (lambda: b"<!DOCTYPE html><title>Quota exceeded</title>", "not a complete zip"),
    "empty": (lambda: b"", "not a complete zip"),
    "lying size": (lambda: patched(zipped(), b"PK\x01\x02", 24, 1999, 4), "is broken"),
}


def listing(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """A folder in a folder as the working directory, so that a name with .. would show."""
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return tmp_path


@pytest.mark.parametrize("kind", ZIPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_zip_is_refused_and_nothing_appears(sandbox, kind):
    make, reason = ZIPS[kind]
    path = sandbox / "a/b/archive.zip"
    path.write_bytes(make())
    before = listing(sandbox)

    def read():
        with open_zip(path, LIMITS) as members:
            return [members.read(name) for name in members.names]

    with pytest.raises(DataError, match=reason) as caught:
        read()
    assert len(str(caught.value).splitlines()) == 1
    assert listing(sandbox) == before
    assert not os.path.exists("/evil.jpg")


def tarred(*members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, kind, content in (("good", tarfile.REGTYPE, NOISE), *members):
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


TARS = {
    "parent": (lambda: tarred(("../evil", tarfile.REGTYPE, b"x")), "leads out"),
    "absolute": (lambda: tarred(("/evil", tarfile.REGTYPE, b"x")), "leads out"),
    "symlink": (lambda: tarred(("link", tarfile.SYMTYPE, b"")), "not a regular file"),
    "hard link": (lambda: tarred(("link", tarfile.LNKTYPE, b"")), "not a regular file"),
    "device": (lambda: tarred(("null", tarfile.CHRTYPE, b"")), "not a regular file"),
    "pipe": (lambda: tarred(("pipe", tarfile.FIFOTYPE, b"")), "not a regular file"),
    "bomb": (lambda: tarred(("zeros", tarfile.REGTYPE, bytes(2**22 + 1))), "bytes, more than"),
    "many": (lambda: tarred(*((f"{i}", tarfile.REGTYPE, b"") for i in range(60))), "more than 50 entries"),
    "truncated": (lambda: tarred()[:-60], "not a complete tar|ends early"),
    "page": (lambda: b"<!DOCTYPE html>", "not a complete tar"),
    "wrong sum": (lambda: tarred(mode="w").replace(b"good", b"evil"), "not a complete tar"),
}


@pytest.mark.parametrize("kind", TARS)
def test_a_hostile_tar_is_refused_and_nothing_appears(sandbox, kind):
    make, reason = TARS[kind]
    path = sandbox / "a/b/archive.tar.gz"
    path.write_bytes(make())
    before = listing(sandbox)

    with pytest.raises(DataError, match=reason):
        list(tar_members(path, LIMITS))
    assert listing(sandbox) == before


def test_a_good_zip_gives_names_and_contents_without_what_a_mac_adds(tmp_path):
    extra = [
        ("__MACOSX/._a", b"x"),
        (".DS_Store", b"x"),
        ("b/._a.jpg", b"x"),
        ("b/", b""),
        ("b/a.jpg", b"abc"),
    ]
    (tmp_path / "a.zip").write_bytes(zipped(*extra, compression=zipfile.ZIP_DEFLATED))

    with open_zip(tmp_path / "a.zip", LIMITS) as members:
        assert members.names == ["b/a.jpg", "good.jpg"]
        assert members.read("b/a.jpg") == b"abc"
        assert members.stored_at("b/a.jpg") is None


def test_a_stored_member_lies_where_the_archive_says(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(("b", b"content")))

    with open_zip(path, LIMITS) as members:
        begin = members.stored_at("b")
    assert path.read_bytes()[begin : begin + 7] == b"content"


def test_a_thousand_mutations_of_an_archive_of_pictures_are_data_errors_or_harmless(make_celeba, sandbox):
    folder = make_celeba(sandbox / "celeba", 10)
    path = folder / "img_align_celeba.zip"
    good = path.read_bytes()
    plan = Plan(ImageShape(3, 64, 64), "celeba", crop="centre_128")
    rng = np.random.default_rng(0)
    tail = len(good) - 1500  # directory and end, where the structure is
    for _ in range(1000):
        content = bytearray(good)
        for position in rng.integers(tail if rng.random() < 0.8 else 0, len(good), rng.integers(1, 4)):
            content[position] = rng.integers(256)
        path.write_bytes(content[: rng.integers(len(good))] if rng.random() < 0.1 else content)
        try:
            with convert(folder, plan) as found:
                for record in found.records:
                    assert record.pixels.shape == (3, 64, 64)
        except DataError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017, some mutations do no harm
    path.write_bytes(good)
    assert listing(sandbox / "a") == ["b"]


def test_an_archive_that_is_no_file_is_named(tmp_path):
    with (
        pytest.raises(DataError, match=r"absent\.zip: no such file"),
        open_zip(tmp_path / "absent.zip", LIMITS),
    ):
        pass
    with pytest.raises(DataError, match=r"absent\.tar: no such file"):
        list(tar_members(tmp_path / "absent.tar", LIMITS))


def test_a_zip64_directory_is_counted_too(tmp_path):
    content = zipped()
    at = content.rindex(b"PK\x05\x06")
    directory = struct.unpack_from("<L", content, at + 16)[0]
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**7, 10**7, at - directory, directory
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    end = bytearray(content[at:])
    end[8:12] = b"\xff" * 4
    (tmp_path / "a.zip").write_bytes(content[:at] + end64 + locator + bytes(end))

    with (
        pytest.raises(DataError, match="announces 10,000,000 entries, more than 50"),
        open_zip(tmp_path / "a.zip", LIMITS),
    ):
        pass
