import shutil
from pathlib import Path

import pytest

from gan.config import load_params
from gan.errors import ConfigError
from gan.files import read_json, sha256_of
from pipeline.download import main
from tests.parameters import copy_parameters

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the project's params, manifest and embedded digits, as working directory."""
    copy_parameters(tmp_path)
    shutil.copytree(ROOT / "data/mnist_tiny", tmp_path / "data/mnist_tiny")
    shutil.copy(ROOT / "data/manifest.yaml", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANTRY_MIRROR", raising=False)
    return tmp_path


def test_the_embedded_digits_come_without_network_and_twice_is_as_once(project):
    for _ in range(2):
        main(load_params(Path("params.yaml")), "mnist_tiny")
        raw = project / "data/raw/mnist_tiny"
        assert sorted(path.name for path in raw.iterdir()) == [
            "images-idx3-ubyte.gz",
            "labels-idx1-ubyte.gz",
        ]
        names = read_json(project / "data/raw/mnist_tiny.json")
        assert names == {path.name: sha256_of(path) for path in raw.iterdir()}
        for path in raw.iterdir():
            assert sha256_of(path) == sha256_of(ROOT / "data/mnist_tiny" / path.name)


def test_the_variable_gantry_mirror_names_the_first_source(project, monkeypatch):
    mirror = project / "elsewhere/mnist_tiny"
    shutil.move(project / "data/mnist_tiny", mirror)
    monkeypatch.setenv("GANTRY_MIRROR", str(mirror.parent))
    main(load_params(Path("params.yaml")), "mnist_tiny")

    assert len(list((project / "data/raw/mnist_tiny").iterdir())) == 2


def test_without_any_source_the_message_says_where_to_put_the_file(project):
    shutil.rmtree(project / "data/mnist_tiny")

    with pytest.raises(ConnectionError, match="or into FOLDER/mnist_tiny/"):
        main(load_params(Path("params.yaml")), "mnist_tiny")


def test_an_unknown_data_set_names_those_there_are(project):
    with pytest.raises(
        ConfigError, match="no data set 'imagenet'; there are mnist_tiny, mixture, stacked_tiny"
    ):
        main(load_params(Path("params.yaml")), "imagenet")


def test_every_data_set_of_params_has_an_entry_in_the_manifest():
    from gan.data.manifest import read_manifest

    assert set(load_params(ROOT / "params.yaml").datasets) <= set(read_manifest(ROOT / "data/manifest.yaml"))
