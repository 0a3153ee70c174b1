"""The mutants themselves: they can still be planted, and the committed table is theirs."""

import pytest

from tests.mutants import MUTANTS, ROOT, TABLE, Mutant, planted


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_a_mutant_can_be_planted_and_names_tests_that_exist(mutant):
    assert planted(mutant) != (ROOT / mutant.file).read_text(encoding="utf-8")
    for test in mutant.tests:
        assert (ROOT / test.split("::")[0]).is_file()


def test_a_text_that_is_no_longer_there_is_an_error():
    gone = Mutant("gone", "", "gan/objectives/losses.py", "no such text", "", ())
    with pytest.raises(ValueError, match="found 0 times in gan/objectives/losses.py"):
        planted(gone)


def test_the_committed_table_lists_every_mutant_and_none_survived():
    rows = [line.split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines() if ".py` |" in line]
    assert [row[0].removeprefix("| ") for row in rows] == [mutant.bug for mutant in MUTANTS]
    assert all(row[3].startswith("`") for row in rows)


def test_no_bug_is_listed_twice():
    assert len({mutant.bug for mutant in MUTANTS}) == len(MUTANTS) >= 24
