"""params.yaml and recipes: what is accepted, and what each fault says."""

from pathlib import Path

import pytest

from gan.config import load_params
from gan.errors import ConfigError
from tests.parameters import DIGITS, copy_parameters

ROOT = Path(__file__).parents[1]
COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")
RECIPES = (ROOT / DIGITS).read_text(encoding="utf-8")


def faults_of(tmp_path, text=COMMITTED, recipes=RECIPES):
    """Load these texts in place of the committed ones; return a line for each fault, without the folder."""
    path = copy_parameters(tmp_path)
    path.write_text(text, encoding="utf-8")
    (tmp_path / DIGITS).write_text(recipes, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{tmp_path}/") for line in lines)
    return [line.removeprefix(f"{tmp_path}/") for line in lines]


def changed(old, new, count=1, text=COMMITTED):
    assert text.count(old) >= 1, f"{old!r} is no longer there"
    return text.replace(old, new, count)


def line_of(text, fragment):
    return text[: text.index(fragment)].count("\n") + 1


def test_the_committed_files_are_read_and_data_sets_that_name_a_file_share_its_entries():
    recipes = load_params(ROOT / "params.yaml").recipes
    assert recipes["mnist"] == recipes["fashion_mnist"]
    assert recipes["mnist"].items() < recipes["mnist_tiny"].items()  # which has those of claims too
    assert recipes["mnist"]["wgan_paper"].method.critic_steps == 5  # a default
    assert recipes["mnist"]["wgan"].method.critic_steps == 2


def test_a_misspelt_key_is_one_line_with_key_place_and_nearest_name(tmp_path):
    text = changed("    critic_steps: 2", "    critc_steps: 2", text=RECIPES)
    (line,) = faults_of(tmp_path, recipes=text)
    assert line.startswith(f"{DIGITS}:{line_of(text, 'critc_steps')}: wgan.method.critc_steps:")
    assert "did you mean 'critic_steps'?" in line


def test_a_wrong_type_names_what_was_found(tmp_path):
    text = changed("batch_size: 64", "batch_size: '64'", text=RECIPES)
    (line,) = faults_of(tmp_path, recipes=text)
    assert line.startswith(f"{DIGITS}:{line_of(text, 'batch_size: ' + chr(39))}: gan.method.batch_size:")
    assert "integer" in line and "'64'" in line


def test_a_departure_from_a_setting_that_is_none_is_named(tmp_path):
    text = changed('departures: {networks: "', 'departures: {netwroks: "', text=RECIPES)
    (line,) = faults_of(tmp_path, recipes=text)
    assert line.startswith(f"{DIGITS}:{line_of(text, 'netwroks')}: gan.departures.netwroks: unknown setting")
    assert "did you mean 'networks'?" in line


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("[recipes/digitz.yaml]", "recipes.mnist.0: no such file 'recipes/digitz.yaml'"),
        ("[recipes]", "recipes.mnist.0: no such file 'recipes'"),
        ("recipes/digits.yaml", "recipes.mnist: input should be a valid list"),
        (
            "[recipes/digits.yaml, recipes/plane.yaml]",
            "recipes.mnist.1: recipes/plane.yaml has entries that a file before it has too: "
            "coulomb, gan, wgan_gp",
        ),
    ],
)
def test_files_of_recipes_that_do_not_fit_are_named_where_params_name_them(tmp_path, files, expected):
    text = changed("  mnist: [recipes/digits.yaml]", f"  mnist: {files}")
    (line,) = faults_of(tmp_path, text)
    assert line.startswith(f"params.yaml:{line_of(text, f'  mnist: {files}')}: {expected}")


def test_a_file_of_recipes_that_is_no_yaml_is_one_line(tmp_path):
    (line,) = faults_of(tmp_path, recipes="gan: [")
    assert line.startswith(f"{DIGITS}:")


def test_recipes_written_into_params_are_refused(tmp_path):
    text = changed("  mnist: [recipes/digits.yaml]", "  mnist: {gan: {profile: tuned}}")
    (line,) = faults_of(tmp_path, text)
    assert "recipes.mnist: input should be a valid list" in line


def test_an_unknown_variant_lists_the_valid_ones(tmp_path):
    (line,) = faults_of(tmp_path, changed("variants: [wgan_gp_resnet,", "variants: [dcgn,"))
    assert "select.variants.0" in line and "did you mean 'dcgan'?" in line and "wgan_paper" in line


def test_all_faults_are_said_at_once_in_the_order_of_the_files(tmp_path):
    text = changed("variants: [wgan_gp_resnet,", "variants: [dcgn,").replace(
        "precision: fp32", "precision: fp16"
    )
    recipes = RECIPES.replace("critic_steps: 2", "critic_steps: -2", 1)
    recipes = recipes.replace("    kind: wgan_gp\n", "    kind: wgan-gp\n", 1)
    lines = faults_of(tmp_path, text, recipes)
    places = [(line.split(":")[0], int(line.split(":")[1])) for line in lines]
    assert places == sorted(places)
    keys = ("select.variants.0", "train.precision", "wgan.method.critic_steps", "wgan_gp.method.kind")
    for line, key in zip(lines, keys, strict=True):
        assert key in line


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("precision: fp32", "precision: fp64", "unknown value 'fp64'"),
        ("budgets: [quick]", "budgets: [quik]", "did you mean 'quick'?"),
        ("datasets: [mnist_tiny]", "datasets: [mnist_tyni]", "did you mean 'mnist_tiny'?"),
        ("seeds: [0]", "seeds: [0, 0]", "twice"),
        ("seeds: [0]", "seeds: []", "at least 1 item"),
        ("seeds: [0]", "seeds: [-1]", "greater than or equal to 0"),
        ("num_threads: 1 ", "num_threads: true ", "valid integer"),
        ("mnist_tiny: 1000", "mnist_tiny: 100", "greater than or equal to 129"),
        ("previews: 10 ", "# previews: ", "this key is missing"),
        ("study: default ", "study: ../elsewhere ", "pattern"),
    ],
)
def test_each_kind_of_fault_is_one_line(tmp_path, old, new, expected):
    (line,) = faults_of(tmp_path, changed(old, new))
    assert expected in line


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("margin: 10.0", "margin: .nan", "finite number"),
        ("margin: 10.0", "margin: .inf", "finite number"),
        ("lr: 4.0e-3, betas", "lr: 0, betas", "greater than 0"),
        ("from: 0.3,", "from: 1.5,", "less than 1"),
        ("critic_norm: layer", "critic_norm: batch", "unknown value 'batch'"),  # under a penalty
        ("{smoke: 20, quick: 3400", "{smoke: 20, quik: 3400", "did you mean 'quick'?"),
        ("profile: tuned", "profile: tunde", "did you mean 'tuned'?"),
        ("  profile: tuned\n", "  # nothing\n", "this key is missing"),
    ],
)
def test_each_kind_of_fault_in_a_recipe_is_one_line(tmp_path, old, new, expected):
    lines = faults_of(tmp_path, recipes=changed(old, new, text=RECIPES))
    assert expected in lines[-1]
    assert lines[-1].startswith(f"{DIGITS}:")
    assert len(lines) == 1 or "has no budget 'quick'" in lines[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {a: 1}\ntrain: {b: 2}\n", 'found duplicate key "train"'),
        ("train: [1, 2\n", "expected"),
        ("- a\n- b\n", "mapping of sections"),
        ("", "mapping of sections"),
        ("\tselect: 1\n", "cannot start any token"),
    ],
)
def test_what_is_no_mapping_of_sections_is_one_line(tmp_path, text, expected):
    (line,) = faults_of(tmp_path, text)
    assert expected in line


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    path = copy_parameters(tmp_path)
    text = changed("lr: 5.0e-4, betas", "lr: 5e-4, betas", 2, text=RECIPES)
    (tmp_path / DIGITS).write_text(text, encoding="utf-8")
    assert load_params(path).recipes["mnist_tiny"]["gan"].method.generator_optimizer.lr == 5e-4


def test_a_missing_file_and_bytes_that_are_no_text_are_said(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_params(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_params(tmp_path / "bytes.yaml")


def test_each_data_set_has_its_count_of_samples_and_no_other_name_has_one(tmp_path):
    text = changed("  mnist: 10000\n", "  mnisst: 10000\n")
    lines = faults_of(tmp_path, text)
    assert len(lines) == 2
    assert any("samples.mnist: this key is missing" in line for line in lines)
    assert any("samples.mnisst: unknown data set 'mnisst'; did you mean 'mnist'?" in line for line in lines)
