"""What a person gets from `gantry`: answers, files, exit codes."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from ruamel.yaml import YAML

from gan.config import Params, flatten
from gan.files import sha256_of
from gan.versions import installed_versions
from pipeline import register
from pipeline.cli import main
from pipeline.stage import Cell
from pipeline.study.params_file import append_line, replace_selection

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's, and those of what it imports

ROOT = Path(__file__).resolve().parents[3]
MakeCell = Callable[..., Cell]
GAN, OTHER = "mnist_tiny-gan-smoke-0", "mnist_tiny-gan-smoke-1"


def gantry(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# ---- check, variants, select


def test_check_lists_the_cells_in_a_second_without_torch_or_mlflow(checkout: Path) -> None:
    code = (
        "import sys; from pipeline.cli import main; main(['check'], standalone_mode=False); "
        "print(sorted({'torch', 'mlflow'} & set(sys.modules)))"
    )
    started = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    seconds = time.monotonic() - started
    assert found.stdout.split() == [GAN, OTHER, "[]"]
    assert "params.yaml is valid; it selects 2 cells" in found.stderr
    assert seconds < 3  # 0.4 s on an idle machine


def test_check_says_every_fault_and_ends_with_78(checkout: Path) -> None:
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(
        text.replace("[gan]", "[gam]").replace("precision: fp32", "precision: fp8")
    )
    result = gantry("check")
    assert result.exit_code == 78
    assert "did you mean 'gan'?" in result.stderr
    assert "train.precision" in result.stderr
    assert all(line.startswith("error: params.yaml:") for line in result.stderr.splitlines())


def test_check_without_params_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = gantry("check", "--json")
    assert result.exit_code == 78
    assert "params.yaml: no such file" in result.stderr


def test_the_committed_selection_is_the_default_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert gantry("check", "--default").exit_code == 0


def test_another_selection_is_not_the_default_study(checkout: Path) -> None:
    result = gantry("check", "--default")
    assert result.exit_code == 78
    assert "gantry select default" in result.stderr


def test_variants_count_parameters_without_making_networks(checkout: Path, params: Params) -> None:
    rows = {row["name"]: row for row in json.loads(gantry("variants", "--json").stdout)}
    hidden = params.recipes["mnist_tiny"]["gan"].method.networks.hidden  # type: ignore[union-attr]
    z_dim = params.recipes["mnist_tiny"]["gan"].method.z_dim
    assert rows["gan"]["generator_parameters"] == z_dim * hidden + hidden + hidden * 784 + 784
    assert rows["gan"]["critic_parameters"] == 784 * hidden + hidden + hidden + 1
    assert rows["wgan_gp"]["critic_steps"] == 2
    assert "arXiv:1406.2661" in gantry("variants").stdout
    assert gantry("variants", "--dataset", "nothing").exit_code == 78


def test_entries_named_by_a_suffix_are_listed_on_demand_only(checkout: Path, params: Params) -> None:
    def names(*arguments: str) -> list[str]:
        return [row["name"] for row in json.loads(gantry("variants", "--json", *arguments).stdout)]

    recipes = params.recipes["mnist_tiny"]
    everything = list(recipes)
    assert names("--all") == everything
    further = {name for name in everything if re.search(r"_(paper|seed|as_coded)$", name)}
    further |= {name for name, recipe in recipes.items() if recipe.profile == "claim"}
    plain = [name for name in everything if name not in further]
    assert names() == plain
    assert "wgan" in plain
    assert "wgan_paper" in set(everything) - set(plain)


def test_each_entry_says_what_it_is(checkout: Path) -> None:
    keys = {"name", "kind", "profile", "paper", "loss", "networks", "generator_parameters"}
    keys |= {"critic_parameters", "critic_steps", "batch_size", "steps"}
    for row in json.loads(gantry("variants", "--all", "--json").stdout):
        assert keys <= row.keys()
        assert all(row[key] for key in keys)
        assert "\n" not in row["loss"] + row["networks"] + row["paper"]


def test_one_entry_is_printed_with_every_setting_its_departures_and_its_origin(
    checkout: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = gantry("variants", "dcgan")
    lines = printed.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert re.search(r"(?m)^batch_size +64 +paper: 128 *$", printed.stdout)
    assert re.search(r"(?m)^noise +normal +default *$", printed.stdout)
    names = {line.split()[0] for line in lines if line[:1].strip()}
    assert set(dict(flatten(params.recipes["mnist_tiny"]["dcgan"].settings))) <= names
    assert "kuleshov/tf-wgan: both networks by one step" in gantry("variants", "dcgan_seed").stdout

    row = json.loads(gantry("variants", "dcgan", "--json").stdout)
    assert row["method"] == params.recipes["mnist_tiny"]["dcgan"].settings
    assert row["departures"]["batch_size"] == "paper: 128"


def test_an_entry_is_found_on_the_data_set_that_has_it_and_a_wrong_name_has_a_near_one(
    checkout: Path,
) -> None:
    assert "1 entry of cifar10" in gantry("variants", "began_seed").stderr
    assert "64" in gantry("variants", "began", "--dataset", "celeba").stdout
    found = gantry("variants", "dcgn")
    assert found.exit_code == 78
    assert "mnist_tiny: unknown entry 'dcgn'; did you mean 'dcgan'?" in found.stderr
    assert gantry("variants", "began_seed", "--dataset", "mnist").exit_code == 78


def test_another_image_is_made_by_the_recipes_of_its_data_set(checkout: Path, params: Params) -> None:
    path = checkout / "params.yaml"
    assert "wide" not in params.datasets
    text = path.read_text()
    text = append_line(text, "datasets", "  wide: {image: [2, 32, 32], split: every_fifth_is_test}")
    text = append_line(text, "samples", "  wide: 1000")
    path.write_text(append_line(text, "recipes", "  wide: [wide.yaml]"))
    entries = YAML(typ="safe").load((checkout / "recipes/digits.yaml").read_text())
    (checkout / "wide.yaml").write_text(json.dumps({"only": entries["dcgan"]}))
    rows = json.loads(gantry("variants", "--image", "2x32x32", "--json").stdout)
    assert [row["name"] for row in rows] == ["only"]
    elsewhere = json.loads(gantry("variants", "--image", "2x32x32", "--dataset", "mnist", "--json").stdout)
    assert len(elsewhere) > 1
    dcgan = next(row for row in elsewhere if row["name"] == "dcgan")
    assert dcgan["generator_parameters"] == rows[0]["generator_parameters"]


def test_an_image_of_no_data_set_is_made_by_the_recipes_of_the_selection(checkout: Path) -> None:
    def generator(*arguments: str) -> int:
        rows = json.loads(gantry("variants", "--json", *arguments).stdout)
        return next(int(row["generator_parameters"]) for row in rows if row["name"] == "gan")

    # the MLP's last layer: a weight for each hidden unit and a bias, for 784 values and for 2 x 56 x 56
    hidden = (generator() - 784) / (100 + 1 + 784)
    assert generator("--image", "2x56x56") == hidden * (100 + 1 + 6272) + 6272


@pytest.mark.parametrize(
    "image", ["64x64", "3x64", "3X64X64", "0x64x64", "3x64x64x1", "-3x64x64", "", "3x0x9"]
)
def test_a_shape_in_another_spelling_is_one_line_and_78(checkout: Path, image: str) -> None:
    result = gantry("variants", f"--image={image}")
    assert (result.exit_code, len(result.stderr.splitlines())) == (78, 1)
    assert "write CHANNELSxHEIGHTxWIDTH, such as 3x64x64" in result.stderr


def test_a_shape_that_networks_can_not_make_is_one_line_and_78(checkout: Path) -> None:
    result = gantry("variants", "--image", "1x30x30")
    assert (result.exit_code, len(result.stderr.splitlines())) == (78, 1)
    assert re.match(r"error: \w+ can't make images of 1x30x30: ", result.stderr)
    assert "9999x1" not in gantry("variants", "--image", "1x9999x1").stdout


def test_the_roster_fits_a_terminal_of_100_columns(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = gantry("variants", "--all").stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == [
        "entry",
        "profile",
        "generator",
        "critic",
        "critic",
        "steps",
        "batch",
        "quick",
        "full",
    ]
    assert lines[1].startswith("gan ")


def test_select_changes_the_selection_and_no_other_byte(checkout: Path) -> None:
    path = checkout / "params.yaml"
    before = path.read_text().split("\ntrain:")
    (checkout / "studies" / "seeds.yaml").write_text(
        "select: {datasets: [mnist_tiny], variants: [gan, dcgan], budgets: [smoke], seeds: [0, 1, 2],"
        " study: seeds}\n"
    )
    result = gantry("select", "seeds")
    after = path.read_text().split("\ntrain:")
    assert "study seeds: 6 cells" in result.stderr
    assert after[1] == before[1]
    assert "\n  variants: [gan, dcgan]" in after[0]
    assert "\n  study: seeds  # the report is build/reports/<study>;" in after[0]
    assert after[0].splitlines()[:3] == before[0].splitlines()[:3]


def test_selecting_the_default_leaves_the_committed_file_as_it_is() -> None:
    from pipeline.study.selection import Study

    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    study = Study.model_validate(YAML(typ="safe").load((ROOT / "studies" / "default.yaml").read_text()))
    assert replace_selection(text, study.select.model_dump()) == text


def test_a_selection_in_block_style_is_replaced_whole() -> None:
    text = "select:\n  datasets:\n    - a\n    - b\n\n  seeds: [0]  # why\n\n# next\ntrain: {}\n"
    found = replace_selection(text, {"datasets": ["c"], "seeds": [1, 2]})
    assert found == "select:\n  datasets: [c]\n  seeds: [1, 2]  # why\n\n# next\ntrain: {}\n"


def test_a_comment_above_a_key_stays_above_it() -> None:
    text = "select:\n  datasets: [a]\n  # why\n  # so\n  seeds: [0]  # how\n\n# next\ntrain: {}\n"
    found = replace_selection(text, {"datasets": ["c"], "seeds": [1]})
    assert found == text.replace("[a]", "[c]").replace("[0]", "[1]")


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        (
            "select: {datasets: [mnist_tiny], variants: [gam], budgets: [quick], seeds: [0], study: default}",
            "gam",
        ),
        ("select: {datasets: [mnist_tiny]}", "bad.yaml:1: select.variants: this key is missing"),
        ("selct: {}", "unknown key 'selct'; did you mean 'select'?"),
        ("a: [", "bad.yaml:"),
    ],
)
def test_a_study_that_is_wrong_changes_nothing(checkout: Path, study: str, expected: str) -> None:
    (checkout / "studies" / "bad.yaml").write_text(study)
    before = (checkout / "params.yaml").read_bytes()
    result = gantry("select", "bad")
    assert result.exit_code == 78
    assert expected in result.stderr
    assert (checkout / "params.yaml").read_bytes() == before


def test_an_unknown_study_says_which_there_are(checkout: Path) -> None:
    result = gantry("select", "../../etc/passwd")
    assert result.exit_code == 78
    assert "there are claims_mnist, default" in result.stderr


# ---- models, sample, sync


def test_models_without_a_database_says_what_to_do_and_makes_none(checkout: Path) -> None:
    result = gantry("models")
    assert result.exit_code == 78
    assert "run 'make repro', or set MLFLOW_TRACKING_URI" in result.stderr
    assert not (checkout / "mlflow.db").exists()


def test_models_lists_versions_aliases_and_scores(project: Path, params: Params, make_cell: MakeCell) -> None:
    assert "nothing is registered" in gantry("models").stderr
    register.main(params, make_cell().key)
    row = json.loads(gantry("models", "--json").stdout)[0]
    assert (row["model"], row["version"], row["aliases"]) == ("mnist_tiny-gan", 1, ["latest"])
    assert row["metrics"] == {"fid_mnistnet_1k_test": 40.0}
    assert "mnist_tiny-gan  1" in gantry("models").stdout


def test_sampling_needs_no_checkout_and_gives_equal_bytes_twice(
    project: Path, params: Params, make_cell: MakeCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register.main(params, make_cell().key)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert gantry("sample", "--model", "mnist_tiny-gan").exit_code == 78
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")

    for name, reference in (("a.png", "@latest"), ("b.png", ""), ("c.png", "@1")):
        result = gantry(
            "sample", "--model", f"mnist_tiny-gan{reference}", "-n", "9", "--seed", "5", "--out", name
        )
        assert result.exit_code == 0, result.stderr
    assert (
        gantry("sample", "--model", "mnist_tiny-gan", "-n", "9", "--seed", "6", "--out", "d.png").exit_code
        == 0
    )

    digests = [sha256_of(empty / f"{name}.png") for name in "abcd"]
    assert digests[0] == digests[1] == digests[2] != digests[3]
    assert {path.name for path in empty.iterdir()} == {"a.png", "b.png", "c.png", "d.png"}


def test_a_folder_is_sampled_in_every_format(checkout: Path, make_cell: MakeCell) -> None:
    model = str(make_cell().model)
    assert gantry("sample", "--model", model, "-n", "5", "--format", "npy", "--out", "x.npy").exit_code == 0
    assert gantry("sample", "--model", model, "-n", "5", "--format", "png-dir", "--out", "x").exit_code == 0
    array = np.load("x.npy")
    assert (array.shape, array.dtype) == ((5, 1, 28, 28), np.dtype("uint8"))
    with Image.open("x/00004.png") as image:
        assert (np.asarray(image) == array[4, 0]).all()
    assert len(list(Path("x").iterdir())) == 5


def test_what_is_there_is_overwritten_by_force_only(checkout: Path, make_cell: MakeCell) -> None:
    model = str(make_cell().model)
    Path("out.png").write_text("mine")
    result = gantry("sample", "--model", model, "--out", "out.png")
    assert result.exit_code == 73
    assert "give --force" in result.stderr
    assert Path("out.png").read_text() == "mine"
    assert gantry("sample", "--model", model, "--out", "out.png", "--force").exit_code == 0
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["-n", "0"], ["-n", "1000000000"], ["--seed", "-1"], ["--seed", "x"]])
def test_numbers_out_of_range_are_refused_as_usage(checkout: Path, arguments: list[str]) -> None:
    assert gantry("sample", "--model", "models/x", *arguments).exit_code == 2


def test_a_damaged_folder_is_refused_and_nothing_is_written(checkout: Path, make_cell: MakeCell) -> None:
    cell = make_cell()
    weights = cell.model / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    result = gantry("sample", "--model", str(cell.model), "--out", "out.png")
    assert result.exit_code == 65
    assert "sha256 is" in result.stderr
    assert not Path("out.png").exists()
    assert gantry("sample", "--model", "models/nothing").exit_code == 65


def test_a_dead_server_is_a_service_that_is_down(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = gantry("models")
    assert result.exit_code == 69
    assert result.stderr.startswith("error: MLflow at http://127.0.0.1:9 failed")


def test_sync_fills_an_empty_database_and_twice_adds_nothing(project: Path, make_cell: MakeCell) -> None:
    make_cell(GAN)
    first, second = gantry("sync"), gantry("sync")
    assert first.exit_code == second.exit_code == 0, first.stderr
    assert first.stdout == second.stdout
    assert "mnist_tiny-gan-smoke-0: version 1 of mnist_tiny-gan" in first.stdout
    assert "champion of mnist_tiny: mnist_tiny-gan-smoke-0" in first.stdout
    assert "workflowType=machine_learning" in first.stdout
    assert f"{OTHER}: not trained and scored here; run 'dvc repro evaluate@{OTHER}'" in first.stderr
    assert len(json.loads(gantry("models", "--json").stdout)) == 2


def test_sync_registers_no_diverged_cell_and_says_so(project: Path, make_cell: MakeCell) -> None:
    make_cell(GAN, diverged_at=12)
    alone = gantry("sync")
    assert alone.exit_code == 0, alone.stderr
    assert f"{GAN}: diverged, nothing registered" in alone.stdout
    assert "no champion of mnist_tiny: every run on it diverged" in alone.stdout
    assert "workflowType=machine_learning" in alone.stdout
    make_cell(OTHER)
    assert f"champion of mnist_tiny: {OTHER}" in gantry("sync").stdout
    assert {row["key"] for row in json.loads(gantry("models", "--json").stdout)} == {OTHER}


def test_every_command_has_help(checkout: Path) -> None:
    listed = gantry("--help").stdout
    for name, command in main.commands.items():
        assert name in listed
        assert gantry(name, "--help").exit_code == 0
        assert command.help


def test_a_fault_of_our_own_ends_with_70_and_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("a name that we misspelt")

    monkeypatch.setattr("pipeline.cli.read_params", fail)
    result = gantry("check")
    assert result.exit_code == 70
    assert "Traceback" in result.stderr and "a name that we misspelt" in result.stderr


def test_check_notes_other_versions_of_packages_and_passes(checkout: Path, make_cell: MakeCell) -> None:
    cell = make_cell()
    card = json.loads((cell.model / "card.json").read_text())
    own = installed_versions()
    for versions, stale in ((own, False), (own | {"torch": "1.13.1"}, True)):
        (cell.model / "card.json").write_text(json.dumps(card | {"versions": versions}))
        Path("requirements.lock").write_text("scipy==1.0.1\nclick==0.1\n" if stale else "click==0.1\n")
        result = gantry("check")
        assert result.exit_code == 0
        notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
        assert notes == stale * [
            f"note: requirements.lock pins scipy 1.0.1 ({own['scipy']} is installed)",
            f"note: {cell.model}/card.json was made with torch 1.13.1 ({own['torch']} is installed)",
        ]
