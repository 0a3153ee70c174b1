import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import limit, plain, quality
from benchmarks.__main__ import PARTS, TEXTBOOK, check, step_cases
from benchmarks.results import as_table, lost, merge
from benchmarks.step import LOOPS, Case, FlopCounter, Training, new_state, read_params
from benchmarks.turns import Contender, records_of
from gan.config import load_params
from gan.networks.convolutions import ImageConv2d, ImageConvTranspose2d
from gan.networks.winograd import WideConv2d, WideConvTranspose2d
from gan.training import new_train_state, training_steps

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")


@pytest.mark.parametrize(
    ("dataset", "variant", "batch"),
    [
        *(("mnist_tiny", kind, 8) for kind in (*plain.KINDS, "dcgan_paper")),
        ("cifar10", "dcgan", 32),  # wide enough for tiles
    ],
)
def test_the_textbook_loop_makes_the_losses_of_ours(dataset, variant, batch):
    method = PARAMS.recipes[dataset][variant].method.model_copy(update={"batch_size": batch})
    image = PARAMS.datasets[dataset].shape
    images = torch.rand(12, batch, *image, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = []
    for loop in (training_steps, plain.training_steps):
        state = new_train_state(method, image, PARAMS.train, steps=100, seed=0, device=torch.device("cpu"))
        rows = itertools.islice(loop(state, iter(images)), 3)
        found.append([[float(row["loss/critic"]), float(row["loss/generator"])] for row in rows])

    torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), rtol=2e-3, atol=2e-3)


def test_the_textbook_loop_has_none_of_our_layers():
    state = new_state(Case("mnist_tiny", "dcgan", 28, 4), "plain")
    next(plain.training_steps(state, iter([torch.zeros(4, 1, 28, 28)])))
    modules = [*state.gan.generator.modules(), *state.gan.critic.modules()]
    ours = (ImageConv2d, ImageConvTranspose2d, WideConv2d, WideConvTranspose2d)
    assert not [module for module in modules if isinstance(module, ours)]
    assert not [module for module in modules if getattr(module, "inplace", False)]


def test_the_textbook_loop_refuses_what_it_does_not_know():
    method = PARAMS.recipes["mnist_tiny"]["began"].method
    state = new_train_state(
        method, PARAMS.datasets["mnist_tiny"].shape, PARAMS.train, steps=1, seed=0, device=torch.device("cpu")
    )

    with pytest.raises(ValueError, match="not began"):
        next(plain.training_steps(state, iter([])))


def test_a_ratio_says_how_many_times_as_fast_whether_rates_or_seconds_are_measured():
    rates = list(records_of("part", "case", {"old": [10.0, 20.0, 90.0], "new": [50.0]}, "images/s", "old"))
    seconds = list(records_of("part", "case", {"old": [4.0], "new": [1.0, 2.0, 3.0]}, "s", "old"))

    assert [(r["value"], r["ratio"]) for r in rates] == [(20.0, 1.0), (50.0, 2.5)]
    assert [(r["value"], r["ratio"]) for r in seconds] == [(4.0, 1.0), (2.0, 2.0)]
    (share,) = records_of("part", "case", {"old": [4.0]}, "% of the run", "old")
    assert (share["value"], share["ratio"]) == (4.0, None)  # neither fast nor slow
    assert (rates[0]["lowest"], rates[0]["highest"], rates[0]["rounds"]) == (10.0, 90.0, 3)


def test_a_contender_that_does_not_run_is_recorded_with_its_error():
    values = {"old": [1.0], "broken": []}
    records = list(records_of("part", "case", values, "s", "old", {"broken": "ImportError: no module"}))

    assert (records[1]["value"], records[1]["note"]) == (None, "ImportError: no module")
    assert "| - | - |" in as_table([record | {"load": 0.5} for record in records])


def test_a_contender_that_ends_gives_the_last_line_of_its_error():
    with Contender(
        ["-c", "import sys; print('first', file=sys.stderr); sys.exit('the reason')"]
    ) as contender:
        with pytest.raises(RuntimeError, match="^the reason$"):
            contender.ask(anything=1)


def test_the_count_of_operations_has_forward_and_both_gradients_of_a_convolution():
    images = torch.ones(2, 3, 8, 8, requires_grad=True)
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    with FlopCounter() as counter:
        convolution(images).sum().backward()

    assert counter.total == 3 * (2 * 2 * 8 * 8 * 3 * 5 * 9)


def test_the_time_to_a_level_lies_between_two_scores_on_a_line_in_the_logarithm():
    assert quality.crossing((10.0, 400.0), (20.0, 100.0), 200.0) == pytest.approx(15.0)
    assert quality.crossing((10.0, 400.0), (20.0, 200.0), 200.0) == pytest.approx(20.0)
    assert quality.crossing((0.0, math.inf), (20.0, 100.0), 200.0) == 20.0  # at the first score already


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS)
def test_a_case_goes_on_with_the_same_networks(loop):
    training = Training(Case("mnist_tiny", "dcgan", 28, 4), loop)

    assert training.run(0.0)["images"] == training.run(0.0)["images"] == 4
    assert training.state.step == 104


@pytest.mark.gpu
@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_trains_on_a_gpu(loop):
    training = Training(Case("mnist_tiny", "wgan_gp", 32, 4, cuda=True), loop)

    assert training.run(0.0)["images"] == 8
    assert training.state.device.type == "cuda"

    assert training.run(0.0)["peak_mb"] == torch.cuda.max_memory_allocated() // 2**20


@pytest.mark.gpu
@pytest.mark.parametrize("kind", limit.KINDS)
def test_every_limit_is_measured_on_a_gpu(kind):
    assert limit.measure(kind, "fp32", 1, 0.0, cuda=True)["size"] > 0


@pytest.mark.parametrize(("loop", "flushes"), [("fp32", True), ("bf16", True), ("plain", False)])
def test_our_loops_run_in_a_torch_prepared_as_for_training(loop, flushes, monkeypatch):
    prepared = []
    monkeypatch.setattr("benchmarks.step.prepare_torch", prepared.append)
    new_state(Case("mnist_tiny", "dcgan", 28, 4, threads=torch.get_num_threads()), loop)
    found = [(params.precision, params.num_threads) for params in prepared]
    assert found == ([(loop, torch.get_num_threads())] if flushes else [])  # a person's torch is unprepared


def test_to_seed_all_generators_changes_no_number():
    batches = [torch.rand(4, 1, 1, 2) for _ in range(3)]
    found = []
    for loop in ("fp32", "manual_seed"):
        state = new_state(Case("mixture", "wgan_gp", 1, 4), loop)
        row = next(training_steps(state, itertools.cycle(batches)))
        found.append([float(row["loss/critic"]), float(row["loss/generator"])])
    assert found[0] == found[1]


def test_points_of_the_plane_keep_their_shape_as_a_case():
    assert Case("mixture", "gan", 1, 4).name == "gan 1x2x1"
    assert Case("celeba", "dcgan", 32, 4).name == "dcgan 32x32x3"


def test_each_variant_is_measured_by_one_part():
    variants = read_params().select.variants
    beside = {case.variant for case in step_cases(TEXTBOOK, quick=False)}
    assert beside == set(TEXTBOOK) <= set(variants)
    assert {"textbook", "step"} <= set(PARTS)


def ratio_of(contender, ratio, case="dcgan", machine="AMD, 2 cores, Python 3.11.7, torch 2.14.1"):
    record = {"part": "train step", "case": case, "contender": contender, "baseline": "plain"}
    record |= {"machine": machine, "measured_by": "textbook", "load": 0.5, "unit": "images/s"}
    return record | {"ratio": ratio, "value": 1.0, "lowest": 1.0, "highest": 1.0}


INTEL = "Intel, 2 cores, Python 3.11.2, torch 2.14.1"


def test_a_run_replaces_what_its_own_processor_measured_of_the_same_part():
    kept = [
        ratio_of("gantry, fp32", 1.0),
        ratio_of("gantry, fp32", 2.0, machine=INTEL),
        ratio_of("gantry, fp32", 3.0) | {"measured_by": "peers"},
    ]
    fresh = [ratio_of("gantry, fp32", 4.0, machine="AMD, 2 cores, Python 3.11.9, torch 2.14.1")]

    assert [record["ratio"] for record in merge(kept, fresh)] == [2.0, 3.0, 4.0]


def test_the_table_says_of_each_row_which_machine_and_load_it_is_from():
    records = [
        ratio_of("gantry, fp32", 1.25, "dcgan", INTEL),
        ratio_of("gantry, fp32", 1.5, "wgan_gp", INTEL),
        ratio_of("gantry, fp32", 1.75) | {"load": 3.25, "note": "a note"},
    ]

    lines = as_table(records).splitlines()

    assert f"2. {INTEL}" in lines
    rows = [line.split(" | ") for line in lines if line.startswith("| train step")]
    assert [(row[1], row[3], row[-2], row[-1]) for row in rows] == [
        ("dcgan", "1.75", "1", "3.25 |"),
        ("dcgan", "1.25", "2", "0.50 |"),
        ("wgan_gp", "1.5", "2", "0.50 |"),
    ]
    assert lines[-1] == "- train step, dcgan, gantry, fp32, machine 1: a note"


def test_a_check_compares_with_its_own_processor_and_elsewhere_with_the_lowest(tmp_path, monkeypatch, capsys):
    committed = [ratio_of("gantry, fp32", 1.2), ratio_of("gantry, fp32", 2.0, machine=INTEL)]
    (tmp_path / "results.json").write_text(json.dumps(committed))
    monkeypatch.setattr("benchmarks.__main__.FOLDER", tmp_path)
    monkeypatch.setattr("benchmarks.__main__.measure_check", lambda: [ratio_of("gantry, fp32", 1.1)])

    for here in ("AMD, 2 cores, Python 3.12", "another, 2 cores, Python 3.12"):
        monkeypatch.setattr("benchmarks.__main__.machine", lambda here=here: here)
        check()
    monkeypatch.setattr("benchmarks.__main__.machine", lambda: INTEL)
    with pytest.raises(SystemExit, match=r"1\.1 times plain, it was 2$"):
        check()


def test_a_ratio_that_lost_more_than_15_percent_is_named():
    committed = [ratio_of("gantry, fp32", 2.0), ratio_of("gantry, bf16", 2.0), ratio_of("plain", 1.0)]
    fresh = [ratio_of("gantry, fp32", 1.69), ratio_of("gantry, bf16", 1.71), ratio_of("plain", 0.1)]

    assert lost(committed, fresh) == ["train step, dcgan, gantry, fp32: 1.69 times plain, it was 2"]


def test_a_contender_that_no_longer_runs_is_named():
    fresh = [ratio_of("gantry, fp32", None)]

    assert lost([ratio_of("gantry, fp32", 2.0)], fresh) == ["train step, dcgan, gantry, fp32: no longer runs"]


def test_a_check_without_committed_results_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.__main__.FOLDER", tmp_path)

    with pytest.raises(SystemExit, match=r"results\.json: there is none to compare with; run 'make bench'"):
        check()


def test_a_check_that_compares_nothing_is_an_error():
    with pytest.raises(ValueError, match="no case has a committed ratio"):
        lost([ratio_of("gantry, fp32", None)], [ratio_of("gantry, fp32", 1.0)])
    with pytest.raises(ValueError, match="no case has a committed ratio"):
        lost([ratio_of("gantry, fp32", 2.0)], [ratio_of("gantry, fp32", 1.0, "lsgan")])
