"""params.yaml: what is accepted, and what each fault says."""

from pathlib import Path

import pytest

from gan.config import load_params
from gan.errors import ConfigError

COMMITTED = (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")


def faults_of(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def changed(old, new, count=1):
    assert COMMITTED.count(old) >= 1, f"{old!r} is no longer in params.yaml"
    return COMMITTED.replace(old, new, count)


def line_of(text, fragment):
    return text[: text.index(fragment)].count("\n") + 1


def test_the_committed_file_is_read_and_aliases_give_equal_recipes(tmp_path):
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    assert params.recipes["mnist"] == params.recipes["mnist_tiny"]
    assert params.recipes["mnist_tiny"]["wgan_paper"].method.critic_steps == 5  # merged, then overridden
    assert params.recipes["mnist_tiny"]["wgan_paper"].method.clip == 0.01  # merged


def test_a_misspelt_key_is_one_line_with_key_place_and_nearest_name(tmp_path):
    text = changed("critic_steps: 2           # paper: 5\n        warmup", "critc_steps: 2\n        warmup")
    (line,) = faults_of(tmp_path, text)
    assert line.startswith(f"{line_of(text, 'critc_steps')}: recipes.mnist_tiny.wgan.method.critc_steps:")
    assert "did you mean 'critic_steps'?" in line


def test_a_wrong_type_names_what_was_found(tmp_path):
    text = changed("batch_size: 64            # paper: 128", "batch_size: '64'")
    (line,) = faults_of(tmp_path, text)
    assert line.startswith(
        f"{line_of(text, 'batch_size: ' + chr(39))}: recipes.mnist_tiny.dcgan.method.batch_size:"
    )
    assert "integer" in line and "'64'" in line


def test_an_unknown_variant_lists_the_valid_ones(tmp_path):
    (line,) = faults_of(tmp_path, changed("variants: [wgan_gp_resnet,", "variants: [dcgn,"))
    assert "select.variants.0" in line and "did you mean 'dcgan'?" in line and "wgan_paper" in line


def test_all_faults_are_said_at_once_in_the_order_of_the_file(tmp_path):
    text = changed("variants: [wgan_gp_resnet,", "variants: [dcgn,").replace("clip: 0.01", "clip: -0.01", 1)
    text = text.replace("precision: fp32", "precision: fp16").replace("kind: wgan_gp", "kind: wgan-gp", 1)
    lines = faults_of(tmp_path, text)
    numbers = [int(line.split(":")[0]) for line in lines]
    assert numbers == sorted(numbers)
    said = "\n".join(lines)
    for fragment in ("select.variants.0", "train.precision", "wgan.method.clip", "wgan_gp.method.kind"):
        assert fragment in said
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("precision: fp32", "precision: tf32", "unknown value 'tf32'"),
        ("budgets: [quick]", "budgets: [quik]", "did you mean 'quick'?"),
        ("datasets: [mnist_tiny]", "datasets: [mnist_tyni]", "did you mean 'mnist_tiny'?"),
        ("seeds: [0]", "seeds: [0, 0]", "twice"),
        ("seeds: [0]", "seeds: []", "at least 1 item"),
        ("seeds: [0]", "seeds: [-1]", "greater than or equal to 0"),
        ("num_threads: 1 ", "num_threads: true ", "valid integer"),
        ("clip: 0.01", "clip: .nan", "finite number"),
        ("clip: 0.01", "clip: .inf", "finite number"),
        ("lr: 4.0e-3, betas", "lr: 0, betas", "greater than 0"),
        ("from: 0.3,", "from: 1.5,", "less than 1"),
        ("critic_norm: layer ", "critic_norm: batch ", "unknown value 'batch'"),  # under a penalty
        ("mnist_tiny: 1000", "mnist_tiny: 100", "greater than or equal to 129"),
        ("previews: 10 ", "# previews: ", "this key is missing"),
        ("study: default ", "study: ../elsewhere ", "pattern"),
    ],
)
def test_each_kind_of_fault_is_one_line(tmp_path, old, new, expected):
    (line,) = faults_of(tmp_path, changed(old, new))
    assert expected in line


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
    path = tmp_path / "params.yaml"
    path.write_text(changed("lr: 5.0e-4, betas", "lr: 5e-4, betas", 2), encoding="utf-8")
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
