import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from gan.config import DatasetParams, load_params
from gan.data.digits import SPLIT_RULES
from gan.data.image_store import ImageStore
from gan.errors import ConfigError, DataError
from gan.files import read_json
from pipeline.convert import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the project's params and the embedded digits as raw files, as working directory."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "data/mnist_tiny", tmp_path / "data/raw/mnist_tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_embedded_digits_become_a_store_of_two_splits_and_equal_bytes_each_time(project):
    path = Path("data/lmdb/mnist_tiny.lmdb")
    main(load_params(Path("params.yaml")), "mnist_tiny")
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    main(load_params(Path("params.yaml")), "mnist_tiny")

    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["mnist_tiny.json", "mnist_tiny.lmdb"]
    train, test = ImageStore(path, "train"), ImageStore(path, "test")
    assert (len(train), len(test)) == (4000, 1000)
    assert train.image == (1, 28, 28)
    assert np.bincount(train.read_labels(range(4000))).tolist() == [400] * 10
    assert np.bincount(test.read_labels(range(1000))).tolist() == [100] * 10


def test_the_digest_of_the_embedded_digits_is_the_same_everywhere(project):
    main(load_params(Path("params.yaml")), "mnist_tiny")

    manifest = read_json(Path("data/lmdb/mnist_tiny.json"))
    assert manifest["digest"] == "bc74558795f18923c747bbbb14df1b2736fe03728e2fe5895c428b6a39f79238"
    assert (manifest["count"], manifest["splits"]) == (5000, {"train": [0, 4000], "test": [4000, 5000]})


def test_without_raw_files_the_message_says_what_to_run(project):
    shutil.rmtree("data/raw")

    with pytest.raises(DataError, match="run 'dvc repro -f download@mnist_tiny'"):
        main(load_params(Path("params.yaml")), "mnist_tiny")
    assert not Path("data/lmdb").exists()


def test_an_unknown_data_set_names_those_there_are(project):
    with pytest.raises(ConfigError, match="no data set 'cifar'"):
        main(load_params(Path("params.yaml")), "cifar")


def test_params_admits_exactly_the_split_rules_that_there_are():
    assert set(get_args(DatasetParams.model_fields["split"].annotation)) - {"as_published"} == set(
        SPLIT_RULES
    )
