import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from gan.config import DatasetParams, load_params
from gan.data.digits import SPLIT_RULES
from gan.data.image_store import ImageStore
from gan.errors import ConfigError
from gan.files import read_json
from pipeline.convert import main
from tests.parameters import copy_parameters

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the project's params and the embedded digits as raw files, as working directory."""
    copy_parameters(tmp_path)
    shutil.copytree(ROOT / "data/mnist_tiny", tmp_path / "data/raw/mnist_tiny")
    shutil.copy(ROOT / "data/manifest.yaml", tmp_path / "data")
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


def test_raw_files_that_are_gone_are_fetched_again(project):
    shutil.move("data/raw/mnist_tiny", "data/mnist_tiny")
    main(load_params(Path("params.yaml")), "mnist_tiny")

    assert read_json(Path("data/lmdb/mnist_tiny.json"))["count"] == 5000


def test_without_raw_files_and_without_a_source_the_message_says_where_to_put_them(project):
    shutil.rmtree("data/raw")

    with pytest.raises(ConnectionError, match="put images-idx3-ubyte.gz into data/raw/mnist_tiny/"):
        main(load_params(Path("params.yaml")), "mnist_tiny")
    assert not Path("data/lmdb").exists()


def test_an_unknown_data_set_names_those_there_are(project):
    with pytest.raises(ConfigError, match="no data set 'cifar'"):
        main(load_params(Path("params.yaml")), "cifar")


def test_params_admits_exactly_the_split_rules_that_there_are():
    assert set(get_args(DatasetParams.model_fields["split"].annotation)) - {"as_published"} == set(
        SPLIT_RULES
    )


def test_mnist_through_a_folder_and_through_an_address_is_the_same_store(project, monkeypatch, tmp_path):
    """The mirror here holds a small MNIST of the published names; the manifest is changed to fit it."""
    import functools
    import gzip
    import hashlib
    import struct
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from ruamel.yaml import YAML

    from gan.data import digits
    from pipeline.download import main as download

    monkeypatch.setattr(digits, "VALIDATION", 30)
    yaml = YAML(typ="safe", pure=True)
    manifest = yaml.load((ROOT / "data/manifest.yaml").read_text())
    mirror = project / "mirror/mnist"
    mirror.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for file in manifest["mnist"]["files"]:
        count = 100 if file["name"].startswith("train") else 40
        shape = (count, 28, 28) if "images" in file["name"] else (count,)
        values = rng.integers(0, 10, shape, np.uint8)
        header = struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape)
        content = gzip.compress(header + values.tobytes(), 1, mtime=0)
        (mirror / file["name"]).write_bytes(content)
        file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (project / "data").mkdir(exist_ok=True)
    yaml.dump(manifest, project / "data/manifest.yaml")
    params = load_params(Path("params.yaml"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(mirror.parent))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    manifests = []
    try:
        for source in (str(mirror.parent), f"http://127.0.0.1:{server.server_port}"):
            monkeypatch.setenv("GANTRY_MIRROR", source)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            shutil.rmtree("data/raw", ignore_errors=True)
            download(params, "mnist")
            main(params, "mnist")
            manifests.append(read_json(Path("data/lmdb/mnist.json")))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert manifests[0] == manifests[1]
    assert manifests[0]["splits"] == {"train": [0, 70], "validation": [70, 100], "test": [100, 140]}


def test_every_data_set_of_params_can_be_converted_as_it_says():
    from gan.data.pixels import check_crop

    for dataset in load_params(ROOT / "params.yaml").datasets.values():
        if dataset.layout != "idx":
            check_crop(dataset.crop, dataset.shape)


def test_a_split_rule_belongs_to_the_layout_idx_only():
    with pytest.raises(ValueError, match="layout idx needs a split rule"):
        DatasetParams(image=[1, 28, 28])
    with pytest.raises(ValueError, match="the others have the split that is published"):
        DatasetParams(image=[3, 64, 64], layout="celeba", split="stacked")
