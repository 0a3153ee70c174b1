import io

import lmdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gan.data.lmdb_pages import LmdbPages, Window
from gan.errors import DataError


def items(content, **options):
    return list(LmdbPages(io.BytesIO(content), "data.mdb", **options).items())


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=511),
        st.one_of(
            st.binary(max_size=60), st.integers(1, 40_000).map(lambda n: bytes(n % 251 for _ in range(n)))
        ),
        max_size=120,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_database_is_read_as_lmdb_itself_reads_it(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("any")
    with lmdb.open(str(folder), map_size=2**26) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in values.items():
                transaction.put(key, value)
        with environment.begin() as transaction:
            expected = list(transaction.cursor())

    assert items((folder / "data.mdb").read_bytes()) == expected


def test_a_database_with_deleted_and_replaced_records_is_read_at_its_last_transaction(make_lmdb, tmp_path):
    folder = make_lmdb(
        tmp_path / "d", {f"{i:05d}".encode(): bytes([i % 256]) * (i * 7 % 9000) for i in range(3000)}
    )
    with lmdb.open(str(folder), map_size=2**30) as environment:
        for begin in range(0, 3000, 500):
            with environment.begin(write=True) as transaction:
                for i in range(begin, begin + 500, 3):
                    transaction.delete(f"{i:05d}".encode())
                transaction.put(f"{begin + 1:05d}".encode(), b"new" * 3000)
        with environment.begin() as transaction:
            expected = list(transaction.cursor())

    found = items((folder / "data.mdb").read_bytes())
    assert len(found) == 1998  # 167 of each 500 are gone
    assert found == expected


@pytest.fixture(scope="module")
def small(tmp_path_factory, make_lmdb):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("small") / "d"
    values = {f"{i:040x}".encode(): rng.bytes(int(rng.integers(1, 9000))) for i in range(200)}
    return (make_lmdb(folder, values) / "data.mdb").read_bytes()


def test_every_truncation_is_a_data_error(small):
    for size in (0, 1, 100, 4096, 8192, len(small) // 2, len(small) - 4096, len(small) - 1):
        with pytest.raises(DataError, match="not a sound LMDB file"):
            items(small[:size])


def test_two_thousand_mutations_give_records_or_a_data_error_and_always_end(small):
    rng = np.random.default_rng(1)
    for _ in range(2000):
        content = bytearray(small)
        for _ in range(rng.integers(1, 6)):
            page = rng.integers(len(small) // 4096)
            position = page * 4096 + rng.integers(rng.choice([16, 200, 4096]))
            content[position] = rng.integers(256)
        try:
            assert len(items(content)) <= 2**32
        except DataError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017, most mutations raise, some do no harm


def test_a_tree_that_leads_back_to_itself_ends(small):
    pages = [small[i : i + 4096] for i in range(0, len(small), 4096)]
    branch = LmdbPages(io.BytesIO(small), "data.mdb")._meta.root
    content = bytearray(small)
    at = branch * 4096 + int.from_bytes(pages[branch][16:18], "little")  # its first node
    content[at : at + 2] = branch.to_bytes(2, "little")

    with pytest.raises(DataError, match="too deep"):
        items(content)


def test_a_value_larger_than_allowed_is_refused(small):
    with pytest.raises(DataError, match="more than 100"):
        items(small, largest=100)


def test_a_named_database_is_refused(tmp_path):
    with lmdb.open(str(tmp_path), map_size=2**20, max_dbs=2) as environment:
        database = environment.open_db(b"named", dupsort=True)
        with environment.begin(write=True, db=database) as transaction:
            transaction.put(b"a", b"1")

    with pytest.raises(DataError, match="it has sub-databases"):
        items((tmp_path / "data.mdb").read_bytes())


def test_a_window_is_a_part_of_a_file(tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with Window(tmp_path / "f", 2, 5) as window:
        assert (window.read(), window.read()) == (b"23456", b"")
        assert (window.seek(1), window.read(2), window.seek(0, 2)) == (1, b"34", 5)
        assert (window.seek(-2, 1), window.read(9)) == (3, b"56")
