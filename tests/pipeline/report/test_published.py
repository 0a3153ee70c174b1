from pathlib import Path

import pytest

from gan.config import load_params
from gan.errors import ConfigError
from pipeline.report.published import read_published

ROOT = Path(__file__).parents[3]


def test_published_scores_stand_beside_kinds_and_data_sets_that_there_are() -> None:
    params = load_params(ROOT / "params.yaml")
    kinds = {recipe.method.kind for entries in params.recipes.values() for recipe in entries.values()}
    for source in read_published():
        for scores in source.scores:
            assert set(scores.kinds) <= kinds
            assert set(scores.values) <= set(params.datasets)


def test_the_table_of_lucic_et_al_is_as_printed() -> None:
    lucic = next(source for source in read_published() if source.source.startswith("Lucic"))
    assert lucic.mark == "verified"
    assert lucic.of_kind("dragan") == [
        ("DRAGAN", "mnist", "7.6 ± 0.4"),
        ("DRAGAN", "fashion_mnist", "27.7 ± 1.2"),
        ("DRAGAN", "cifar10", "69.8 ± 2.0"),
        ("DRAGAN", "celeba", "42.3 ± 3.0"),
    ]


def test_values_that_were_not_read_again_are_marked() -> None:
    marks = {source.source: source.mark for source in read_published()}
    assert [name for name, mark in marks.items() if mark == "recalled"] == [
        "Unterthiner et al., 2018, arXiv:1708.08819"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1", "published.yaml:1: expected a list of entries"),
        ("- {source: x, mark: guessed, measure: FID, protocol: p, scores: []}", "0.mark"),
        (
            "- {source: x, mark: verified, measure: FID, protocol: p, scores: [{kinds: [gan], model: m}]}",
            "values",
        ),
        ("- [", "published.yaml:1: expected the node content"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "published.yaml").write_text(text)
    with pytest.raises(ConfigError, match=fault):
        read_published(tmp_path / "published.yaml")
