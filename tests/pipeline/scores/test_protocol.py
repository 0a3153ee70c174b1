"""The stamp beside a cell's scores: what it says, and when it changes."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gan.config import load_params
from gan.errors import DataError
from gan.files import write_json
from pipeline.scores import protocol
from pipeline.scores.protocol import (
    Protocol,
    flat_protocol,
    make_protocols,
    protocol_digest,
    read_protocol,
    scoring_digest,
    scoring_modules,
    write_protocols,
)
from pipeline.stage import Cell
from pipeline.trace import trace_stage

ROOT = Path(__file__).resolve().parents[3]
PARAMS = load_params(ROOT / "params.yaml")
CELL = Cell("mnist_tiny", "dcgan", "quick", 0)
EVALUATOR = {"name": "mnistnet", "sha256": "e" * 64}
REFERENCE = {"n": 1000, "split": "test", "data_digest": "d" * 64, "device": "cpu"}


def stamps():
    return make_protocols(CELL, PARAMS, EVALUATOR, REFERENCE)


def test_a_stamp_says_what_was_scored_by_what_and_against_what():
    found = stamps()["averaged"].model_dump()
    assert len(found.pop("code")) == 64
    assert found == {
        "dataset": "mnist_tiny",
        "data_digest": "d" * 64,
        "data_recipe": "1x28x28, layout idx, crop exact, split every_fifth_is_test",
        "split": "test",
        "samples": 1000,
        "reference_samples": 1000,
        "extractor": "mnistnet",
        "extractor_sha256": "e" * 64,
        "device": "cpu",
        "resize": "none",
        "rounding": "clamp, round, uint8",
        "batch_norm": "re-estimated from noise",
        "weights": "averaged",
        "ema_exponent": 17.97,
        "noise_seed": found["noise_seed"],
        "gantry": "0.1.0",
    }


def test_a_stamp_has_its_own_data_sets_count_of_samples():
    cell = Cell("mnist", "dcgan", "quick", 0)
    reference = REFERENCE | {"n": 10_000}
    found = make_protocols(cell, PARAMS, EVALUATOR, reference)["averaged"]
    assert (found.samples, found.reference_samples) == (10_000, 10_000)


def test_the_raw_generators_stamp_differs_in_weights_and_their_statistics_only():
    found = stamps()
    averaged, raw = found["averaged"].model_dump(), found["raw"].model_dump()
    assert {name: raw[name] for name in raw if raw[name] != averaged[name]} == {
        "weights": "raw",
        "ema_exponent": None,
        "batch_norm": "running",
    }


def test_stamps_are_read_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_protocols(CELL, stamps())
    path = Path("build/protocols/mnist_tiny-dcgan-quick-0.json")
    assert {weights: read_protocol(path, weights) for weights in ("averaged", "raw")} == stamps()


@pytest.mark.parametrize("field", Protocol.model_fields)
def test_every_field_is_needed_and_none_is_coerced(field, tmp_path):
    path = tmp_path / "KEY.json"
    whole = stamps()["averaged"].model_dump()
    for damaged in ({name: whole[name] for name in whole if name != field}, whole | {field: ["x"]}):
        write_json(path, {"averaged": damaged})
        with pytest.raises(DataError, match=rf"KEY\.json: no protocol .*{field}.*evaluate@KEY'$") as error:
            read_protocol(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"averaged": 1}'])
def test_a_file_without_a_stamp_is_one_line(text, tmp_path):
    path = tmp_path / "KEY.json"
    path.write_text(text)
    with pytest.raises(DataError, match="no protocol of the averaged generator") as error:
        read_protocol(path)
    assert "\n" not in str(error.value)


def test_flat_fields_hold_the_whole_stamp_and_a_digest_that_any_field_changes():
    stamp = stamps()["averaged"]
    flat = flat_protocol(stamp)
    assert flat.pop("protocol_digest") == protocol_digest(stamp)
    assert {name.removeprefix("protocol_"): value for name, value in flat.items()} == stamp.model_dump()
    assert json.loads(json.dumps(flat)) == flat
    other = {str: "other", int: 7, float: 1.5}
    values = {name: other[type(value)] for name, value in stamp}
    values |= {"device": "cuda", "weights": "raw", "batch_norm": "running"}
    changed = [stamp.model_copy(update={name: values[name]}) for name in Protocol.model_fields]
    assert len({protocol_digest(other) for other in [stamp, *changed]}) == len(Protocol.model_fields) + 1


@pytest.fixture
def sources(tmp_path, monkeypatch):
    for package in ("gan", "pipeline"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(protocol, "ROOT", tmp_path)
    return tmp_path


def test_the_code_that_scores_changes_the_stamp_and_a_comment_or_other_code_does_not(sources):
    before = scoring_digest()
    for name, text, changes in (
        ("gan/metrics/distances.py", "\n# a remark\n", False),
        ("gan/training.py", "\nX = 1\n", False),
        ("gan/errors.py", "\nX = 1\n", False),
        ("gan/metrics/distances.py", "\nX = 1\n", True),
        ("pipeline/evaluate.py", "\nX = 1\n", True),
        ("pipeline/reference.py", "\nX = 1\n", True),
        ("gan/sampling.py", "\nX = 1\n", True),
    ):
        path = sources / name
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole + text, encoding="utf-8")
        assert (scoring_digest() != before) == changes, name
        path.write_text(whole, encoding="utf-8")


def test_dvc_stamps_again_when_stamped_code_changes():
    assert scoring_modules() <= set(trace_stage("evaluate", ROOT)["modules"])
    stage = YAML().load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["evaluate"]
    assert {"evaluate", "train.ema_exponent", "datasets.${item.dataset}"} <= set(stage["params"])
    assert [out.split("/")[1] for out in stage["outs"]] == ["protocols"]
