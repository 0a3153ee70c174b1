"""`gantry compare`: scores of one protocol stand side by side, those of two never do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gan.config import load_params
from gan.files import read_json, write_json
from pipeline.cli import main
from pipeline.scores.protocol import Protocol, flat_protocol, make_protocols
from pipeline.stage import Cell

ROOT = Path(__file__).resolve().parents[3]
PARAMS = load_params(ROOT / "params.yaml")
A, B = "mnist_tiny-gan-smoke-0", "mnist_tiny-gan-smoke-1"
STAMPS = make_protocols(
    Cell("mnist_tiny", "gan", "smoke", 0),
    PARAMS,
    {"name": "mnistnet", "sha256": "e" * 64},
    {"n": 1000, "split": "test", "data_digest": "d" * 64, "device": "cpu"},
)
# Another value of the right type for each field.
OTHER = {name: f"other {name}" for name in Protocol.model_fields} | {
    "samples": 5000,
    "reference_samples": 5000,
    "device": "cuda",
    "batch_norm": "running",
    "weights": "raw",
    "ema_exponent": 6.94,
    "noise_seed": 7,
    "split": "validation",
    "extractor": "inception",
}


def gantry(*arguments):
    result = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def named(fid, stamp):
    name = f"fid_{stamp['extractor']}_{stamp['samples'] // 1000}k_{stamp['split']}"
    return {name: fid, f"{name}_raw": fid * 2, f"{name}_floor": 4.0, f"{name}_ceiling": 5188.0}


def write_cell(root, key, fid, **changes):
    stamps = {weights: stamp.model_dump() | changes for weights, stamp in STAMPS.items()}
    write_json(root / f"build/protocols/{key}.json", stamps)
    write_json(root / f"build/metrics/{key}.json", named(fid, stamps["averaged"]))
    return root / f"build/metrics/{key}.json"


def row(seed, fid, stamped=True, **changes):
    stamp = STAMPS["averaged"].model_copy(update=changes)
    flat = flat_protocol(stamp) if stamped else {}
    return (
        {"dataset": stamp.dataset, "variant": "gan", "budget": "full", "seed": seed}
        | {"data_digest": stamp.data_digest, "evaluator_sha256": stamp.extractor_sha256}
        | flat
        | named(fid, stamp.model_dump())
    )


def write_report(root, *rows):
    write_json(root / "leaderboard.json", list(rows))
    return root


def errors(result):
    assert result.exit_code == 65
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    return [line.removeprefix("error: ") for line in lines]


def test_equal_stamps_show_both_cells_with_floor_and_ceiling(checkout):
    write_cell(checkout, A, 33.25)
    write_cell(checkout, B, 41.5)
    result = gantry(A, B)
    assert result.exit_code == 0
    assert result.stderr == ""
    heading, header, *lines = result.stdout.splitlines()
    assert heading == "mnist_tiny: averaged generator, 1,000 samples against test, mnistnet eeeeeeeeeeee"
    assert header.split() == ["fid"]
    assert [line.split() for line in lines] == [
        [A, "33.25"],
        [B, "41.5"],
        ["floor", "4"],
        ["ceiling", "5188"],
    ]


def test_raw_shows_the_raw_generators(checkout):
    write_cell(checkout, A, 33.25)
    assert "66.5" in gantry(A, "--raw").stdout
    assert "33.25" not in gantry(A, "--raw").stdout


def test_json_holds_protocol_scores_and_scale(checkout):
    write_cell(checkout, A, 33.25)
    write_cell(checkout, B, 41.5)
    found = json.loads(gantry(A, B, "--json").stdout)
    name = "fid_mnistnet_1k_test"
    assert found["protocol"] == STAMPS["averaged"].model_dump()
    assert [record["key"] for record in found["records"]] == [A, B]
    assert [record["scores"] for record in found["records"]] == [{name: 33.25}, {name: 41.5}]
    assert (found["floor"], found["ceiling"]) == ({name: 4.0}, {name: 5188.0})


@pytest.mark.parametrize("field", Protocol.model_fields)
def test_any_one_field_of_the_stamp_that_differs_is_named_with_both_values(field, checkout):
    write_cell(checkout, A, 33.25)
    write_cell(checkout, B, 41.5, **{field: OTHER[field]})
    first, last = errors(gantry(A, B))
    ours = getattr(STAMPS["averaged"], field)
    assert first == f"{field}: {ours!r} in {A}, {OTHER[field]!r} in {B}"
    assert "two protocols" in last


@pytest.mark.parametrize("field", Protocol.model_fields)
def test_any_one_field_of_a_reports_stamp_that_differs_is_named(field, tmp_path):
    report = write_report(tmp_path, row(0, 30.0), row(1, 31.0, **{field: OTHER[field]}))
    assert errors(gantry(report))[0].startswith(f"{field}: ")


def test_every_differing_field_has_a_line(checkout):
    write_cell(checkout, A, 33.25)
    write_cell(checkout, B, 41.5, resize="clean", gantry="9.9")
    assert [line.split(":")[0] for line in errors(gantry(A, B))[:-1]] == ["resize", "gantry"]


def test_a_report_of_another_study_compares_with_a_cell(checkout, tmp_path):
    write_cell(checkout, A, 33.25)
    report = write_report(tmp_path / "full", row(0, 30.0), row(1, 31.0))
    result = gantry(A, report / "leaderboard.json")
    assert result.exit_code == 0
    assert all(text in result.stdout for text in (A, "mnist_tiny-gan-full-1", "33.25", "30", "31"))


def test_a_report_without_stamps_compares_by_what_it_tells_and_says_what_is_unknown(checkout, tmp_path):
    write_cell(checkout, A, 33.25)
    report = write_report(tmp_path / "old", row(0, 30.0, stamped=False))
    result = gantry(A, report)
    assert result.exit_code == 0
    assert "unknown and not compared: data_recipe, reference_samples, device, resize" in result.stderr


@pytest.mark.parametrize(
    "field", ["dataset", "data_digest", "split", "samples", "extractor", "extractor_sha256"]
)
def test_a_report_without_stamps_is_refused_for_what_it_tells(field, checkout, tmp_path):
    write_cell(checkout, A, 33.25)
    report = write_report(tmp_path / "old", row(0, 30.0, stamped=False, **{field: OTHER[field]}))
    assert errors(gantry(A, report))[0].startswith(f"{field}: ")


def test_two_reports_of_one_protocol_compare(tmp_path):
    result = gantry(write_report(tmp_path / "a", row(0, 31.25)), write_report(tmp_path / "b", row(1, 62.5)))
    assert result.exit_code == 0
    assert "31.25" in result.stdout
    assert "62.5" in result.stdout


def test_floors_that_differ_under_equal_stamps_are_refused(checkout):
    write_cell(checkout, A, 33.25)
    path = write_cell(checkout, B, 41.5)
    write_json(path, read_json(path) | {"fid_mnistnet_1k_test_floor": 4.1})
    assert errors(gantry(A, B))[0] == f"fid_mnistnet_1k_test_floor: 4.0 in {A}, 4.1 in {B}"
    write_json(path, read_json(path) | {"fid_mnistnet_1k_test_floor": 4.001})
    assert gantry(A, B).exit_code == 0


def test_a_file_of_another_checkout_has_its_stamp_beside_it(checkout, tmp_path):
    write_cell(checkout, A, 33.25)
    path = write_cell(tmp_path / "elsewhere", A, 41.5)
    result = gantry(A, path)
    assert result.exit_code == 0
    assert f"{A} ({path})" in result.stdout


@pytest.mark.parametrize("folder", ["metrics", "protocols"])
def test_a_missing_file_is_one_line_that_says_what_to_run(folder, checkout):
    write_cell(checkout, A, 33.25)
    (checkout / f"build/{folder}/{A}.json").unlink()
    (line,) = errors(gantry(A))
    assert line.startswith(f"build/{folder}/{A}.json: no such file; run 'dvc repro ")
    assert line.endswith(f"evaluate@{A}'")


def test_a_missing_report_is_one_line(checkout):
    (line,) = errors(gantry("reports/nowhere/leaderboard.json"))
    assert line == "reports/nowhere/leaderboard.json: no such file; run 'make repro' of its study"


def test_an_unknown_cell_is_refused_by_name(checkout):
    result = gantry("mnist_tiny-dcgam-quick-0")
    assert result.exit_code == 78
    assert "no variant 'dcgam'" in result.stderr


@pytest.mark.parametrize("text", ["", "3", "[]", "[3]", '[{"dataset": "x"}]'])
def test_a_file_that_is_no_leaderboard_is_one_line(text, tmp_path):
    (tmp_path / "leaderboard.json").write_text(text)
    assert len(errors(gantry(tmp_path))) == 1


def test_metrics_that_belong_to_another_protocol_than_their_stamp_are_refused(checkout):
    path = write_cell(checkout, A, 33.25)
    write_json(path, {"fid_mnistnet_5k_test": 33.25})
    (line,) = errors(gantry(A))
    assert "no metric" in line
    assert "samples 1000" in line


def test_comparing_loads_neither_torch_nor_mlflow(checkout):
    write_cell(checkout, A, 33.25)
    code = (
        f"import sys; from pipeline.cli import main; main(['compare', '{A}'], standalone_mode=False); "
        "print(sorted({'torch', 'mlflow'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert found.stdout.split()[-1] == "[]"
