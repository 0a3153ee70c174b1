"""The digests of the code of stages and entries: what changes them, and what doesn't."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gan.config import load_params
from gan.files import read_json
from pipeline import code, trace
from pipeline.study.selection import select_study
from tests.parameters import CLAIMS, DIGITS, copy_parameters

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sources(tmp_path, monkeypatch):
    for package in ("gan", "pipeline"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digests():
    """Run the stage; return the digest of each selected entry on the selected data set."""
    params = load_params(ROOT / "params.yaml")
    code.main(params, "")
    (dataset,) = params.select.datasets
    return {
        variant: read_json(Path(f"build/code/train-{dataset}-{variant}-quick.json"))["digest"]
        for variant in params.select.variants
    }


def stage_digests():
    return {stage: trace.trace_stage(stage)["digest"] for stage in trace.STAGES}


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


@pytest.mark.parametrize(
    "name",
    ["gan/objectives/losses.py", "gan/metrics/distances.py", "pipeline/sample.py", "pipeline/stage.py"],
)
def test_comments_docstrings_and_layout_change_no_digest(sources, name):
    before = digests(), stage_digests()
    path = sources / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"""', '"""Other words. ', 1) + "\n\n# a remark\n", encoding="utf-8")
    assert (digests(), stage_digests()) == before


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ('logging.info("one %s", n)', 'logging.info("other %s", n)', False),
        ('logging.info("one %s", n)', 'logging.info("one %s", n + 1)', True),
        ('raise ValueError(f"one {n}")', 'raise ValueError(f"other {n!r} and more")', False),
        ('raise ValueError(f"one {n}")', 'raise KeyError(f"one {n}")', True),
        ('return "one"', 'return "other"', True),
    ],
)
def test_the_texts_of_log_lines_and_of_errors_are_no_code(sources, old, new, changes):
    module = (
        'import logging\n\ndef f(n):\n    logging.info("one %s", n)\n'
        '    if n:\n        raise ValueError(f"one {n}")\n    return "one"\n'
    )
    path = sources / "gan/trial.py"
    path.write_text(module, encoding="utf-8")
    before = trace.digest_of("gan.trial")
    assert module.count(old) == 1
    path.write_text(module.replace(old, new), encoding="utf-8")
    assert (trace.digest_of("gan.trial") != before) == changes


def test_every_stage_of_the_pipeline_depends_on_its_own_digest_and_on_no_source_file():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert set(stages) == {"code", "train", *trace.STAGES}
    for name, stage in stages.items():
        if name != "code":
            digest = "train-${item.dataset}-${item.variant}-${item.budget}" if name == "train" else name
            assert f"build/code/{digest}.json" in stage["deps"], name
            recipes = {"recipes", CLAIMS.as_posix()} if name == "claims" else set()
            sources = {dep for dep in stage["deps"] if dep.split("/")[0] in ("gan", "pipeline", "recipes")}
            assert sources == recipes, name


def test_digests_depend_on_code_and_recipes_and_not_on_what_is_selected(sources):
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages["code"]["deps"] == ["gan", "pipeline", "recipes"]
    assert stages["code"]["params"] == ["recipes"]
    assert not [name for name, stage in stages.items() if "params.yaml" in stage.get("deps", [])]
    params = copy_parameters(sources)
    shutil.copytree(ROOT / "studies", sources / "studies")
    before = dict(code.describe_recipes(load_params(params)))
    for study in sorted(path.stem for path in (ROOT / "studies").glob("*.yaml")):
        select_study(study, params)
        assert dict(code.describe_recipes(load_params(params))) == before


def test_what_a_recipe_says_of_itself_changes_no_cell(sources):
    params = copy_parameters(sources)
    before = dict(code.describe_recipes(load_params(params)))
    text = (sources / DIGITS).read_text(encoding="utf-8")
    edited = text.replace("ancestor: 128, relu, none", "ancestor: 128").replace(
        "generative-models, torch", "other"
    )
    (sources / DIGITS).write_text(edited, encoding="utf-8")
    after = dict(code.describe_recipes(load_params(params)))
    assert {name for name in after if after[name] != before[name]} == {"departures"}


def test_a_changed_constant_makes_just_those_stages_stale_that_can_run_it(sources):
    """Every module and every file beside one, changed one at a time, against each stage's own list."""
    before = {stage: trace.trace_stage(stage) for stage in trace.STAGES}
    files = [path for package in ("gan", "pipeline") for path in sorted((sources / package).rglob("*.*"))]
    for path in [path for path in files if path.is_file() and path != sources / CLAIMS]:
        whole = path.read_bytes()
        path.write_bytes(whole + b"\nTHRESHOLD = 1\n")
        name = path.relative_to(sources).as_posix()
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        expected = {
            s for s, traced in before.items() if module in traced["modules"] or name in traced["files"]
        }
        stale = {stage for stage, digest in stage_digests().items() if digest != before[stage]["digest"]}
        assert stale == expected, name
        path.write_bytes(whole)
        if path.suffix != ".py":
            assert expected, f"{name}: no stage reads it"


def test_what_python_loads_for_a_stage_is_among_what_was_traced(sources):
    """Python's own record of imports, as a check on the reading of their text."""
    program = (
        "import importlib, json, sys\n"
        "ours = lambda: {n for n in sys.modules if n.split('.')[0] in ('gan', 'pipeline')}\n"
        "found = {}\n"
        "for stage, module in json.loads(sys.argv[1]).items():\n"
        "    for name in ours():\n        del sys.modules[name]\n"
        "    importlib.import_module(module)\n    found[stage] = sorted(ours())\n"
        "print(json.dumps(found))\n"
    )
    modules = {stage: trace.ROOTS.get(stage, [f"pipeline.{stage}"])[0] for stage in trace.STAGES}
    command = [sys.executable, "-c", program, json.dumps({"parameters": "gan.config"} | modules)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {stage: set(loaded) for stage, loaded in json.loads(answer.stdout).items()}
    parameters = found.pop("parameters")  # what reading params.yaml loads, which is followed no further
    for stage, loaded in found.items():
        traced = set(trace.trace_stage(stage)["modules"])
        assert modules[stage] in traced & loaded
        assert loaded - traced - parameters == set(), stage


@pytest.mark.parametrize(
    ("stage", "module"),
    [
        ("convert", "gan.data.archive"),
        ("convert", "gan.data.lmdb_pages"),
        ("convert", "gan.data.workers"),
        ("evaluator", "gan.randomness"),
        ("trajectory", "pipeline.scores.history"),
        ("trajectory", "gan.metrics.distances"),
        ("register", "pipeline.tracking.lineage"),
        ("register", "pipeline.tracking.database"),
        ("register", "pipeline.tracking.run"),
        ("report", "gan.card"),
        ("report", "pipeline.stage"),
        ("champion", "pipeline.tracking.database"),
        ("reference", "gan.data.image_store"),
    ],
)
def test_what_a_list_written_by_hand_had_forgotten_is_traced(stage, module):
    assert module in trace.trace_stage(stage, ROOT)["modules"]


@pytest.mark.parametrize("module", ["gan.data.archive", "gan.training", "gan.variants.wgan", "pipeline.cli"])
def test_what_scoring_never_runs_is_not(module):
    assert module not in trace.trace_stage("evaluate", ROOT)["modules"]


def test_the_digest_of_training_depends_on_no_order_of_a_set():
    """Such an order differs from process to process, and each would train all cells again."""
    params = load_params(ROOT / "params.yaml")
    for recipe in params.recipes["celeba"].values():
        modules = trace.trace_training(recipe.method)["modules"]
        assert list(modules) == sorted(modules)
        assert sum(":" in name for name in modules) >= 2  # the classes of its networks


def test_a_new_variant_changes_no_other_entry_and_no_stage(sources):
    before = digests(), stage_digests()
    text = (sources / "gan/variants/gan.py").read_text(encoding="utf-8")
    (sources / "gan/variants/hinge.py").write_text(text.replace("GANParams", "HingeParams"), encoding="utf-8")
    append(sources / "gan/variants/__init__.py", "\nfrom gan.variants.hinge import HingeParams\n")
    append(sources / "gan/networks/__init__.py", "\n\nclass OtherParams(NetworksParams):\n    depth = 1\n")
    assert (digests(), stage_digests()) == before


def test_another_default_stands_in_the_method_that_training_depends_on(sources):
    code.main(load_params(ROOT / "params.yaml"), "")
    method = read_json(Path("build/code/train-mnist_tiny-gan-quick.json"))["method"]
    assert method["networks"]["depth"] == 1  # which the recipe doesn't say
    changed = sources / "gan/networks/__init__.py"
    text = changed.read_text(encoding="utf-8")
    assert text.count("depth: Depth = 1") == 1
    before = digests()
    changed.write_text(text.replace("depth: Depth = 1", "depth: Depth = 2"), encoding="utf-8")
    assert {name for name, digest in digests().items() if digest != before[name]} == {"gan"}


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


@pytest.mark.parametrize(
    "shared",
    [
        "gan/training.py",
        "gan/data/batches.py",
        "pipeline/train.py",
        *(
            f"pipeline/training/{path.name}"
            for path in sorted((ROOT / "pipeline/training").glob("*.py"))
            if f"pipeline.training.{path.stem}" not in trace.NOT_TRAINED_WITH
        ),
    ],
)
def test_what_every_run_goes_through_changes_all(sources, shared):
    before = digests()
    append(sources / shared, "\nTHRESHOLD = 1\n")
    after = digests()
    assert all(after[name] != before[name] for name in after)


def test_whatever_steps_a_training_is_in_its_digest():
    """Outside of what is traced only a measurement, which keeps no weights, reaches the loop of `gan`."""
    names = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "pipeline").rglob("*.py"))
    callers = {
        name
        for name in (".".join(path.parts) for path in names)
        if "gan.training" in trace.imports_of(name.removesuffix(".__init__"), ROOT)
    }
    assert callers
    others = {name for name in callers if not name.startswith("pipeline.training.")}
    assert others == {"pipeline.train", "pipeline.cli.speed"}


@pytest.mark.parametrize(
    "apart",
    [
        "gan/metrics/distances.py",
        "gan/config.py",
        "gan/versions.py",
        "pipeline/training/interruption.py",
        "pipeline/stage.py",
        "pipeline/tracking/database.py",
        "pipeline/tracking/live.py",
        "pipeline/tracking/run.py",
    ],
)
def test_what_makes_no_weights_changes_none(sources, apart):
    before = digests()
    append(sources / apart, "\nTHRESHOLD = 1\n")
    assert digests() == before
