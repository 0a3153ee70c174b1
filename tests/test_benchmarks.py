import itertools
import math
from pathlib import Path

import pytest
import torch

from benchmarks import plain, quality
from benchmarks.__main__ import as_table, check, lost
from benchmarks.step import LOOPS, Case, FlopCounter, Training, new_state
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


def ratio_of(contender, ratio, case="dcgan"):
    return {"part": "train step", "case": case, "contender": contender, "baseline": "plain", "ratio": ratio}


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
