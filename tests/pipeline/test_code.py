"""The hash of an entry's code: what changes it, and what doesn't."""

import shutil
from pathlib import Path

import pytest

from gan.config import load_params
from gan.files import read_json
from pipeline import code

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sources(tmp_path, monkeypatch):
    for package in ("gan", "pipeline"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digests():
    params = load_params(ROOT / "params.yaml")
    code.main(params, "")
    return {path.stem: read_json(path)["digest"] for path in Path("build/code").glob("*.json")}


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_every_selected_entry_has_a_digest_of_its_own(sources):
    found = digests()
    assert set(found) == set(load_params(ROOT / "params.yaml").select.variants)
    # Entries of one kind and one family of networks run the same code: their digests are equal.
    alike = [{"ebgan", "ebgan_pt"}, {"wgan_l2", "wgan_gauss", "wgan_merged"}]
    for names in alike:
        assert len({found[name] for name in names}) == 1
    apart = [name for name in found if name not in set.union(*alike)] + ["ebgan", "wgan_l2"]
    assert len({found[name] for name in apart}) == len(apart) == 11


def test_comments_docstrings_and_layout_change_no_digest(sources):
    before = digests()
    path = sources / "gan/losses.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"""', '"""Other words. ', 1) + "\n\n# a remark\n", encoding="utf-8")
    assert digests() == before


def test_one_variants_file_changes_that_variant_only(sources):
    before = digests()
    append(sources / "gan/variants/wgan.py", "\nTHRESHOLD = 1\n")
    after = digests()
    assert {name for name in after if after[name] != before[name]} == {"wgan"}


def test_a_shared_file_changes_the_variants_that_import_it(sources):
    before = digests()
    append(sources / "gan/networks/dcgan.py", "\nTHRESHOLD = 1\n")
    after = digests()
    assert {name for name in after if after[name] != before[name]} == (
        set(after) - {"gan", "wgan_gp_resnet", "began"}  # perceptrons, residual blocks, an autoencoder
    )


@pytest.mark.parametrize("shared", ["gan/training.py", "gan/data/batches.py", "pipeline/train.py"])
def test_what_every_run_goes_through_changes_all(sources, shared):
    before = digests()
    append(sources / shared, "\nTHRESHOLD = 1\n")
    after = digests()
    assert all(after[name] != before[name] for name in after)


@pytest.mark.parametrize("apart", ["gan/metrics.py", "gan/config.py", "pipeline/tracking.py"])
def test_what_makes_no_weights_changes_none(sources, apart):
    before = digests()
    append(sources / apart, "\nTHRESHOLD = 1\n")
    assert digests() == before
