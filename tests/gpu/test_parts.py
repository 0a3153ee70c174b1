"""The functions of benchmarks/gpu.py on a CPU: that each finds what it looks for, and what it doesn't."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.gpu_parts import bits, ceilings, hygiene, parity, quality, rates, runs
from benchmarks.gpu_parts.runs import DIGITS, FACES, Case, Options
from gan.contract import ImageShape
from gan.extractors.mnistnet import extract, new_mnistnet, save_mnistnet
from gan.objectives.games import NonSaturating


@pytest.mark.parametrize("variant", ["gan", "wgan_gp", "wgan_merged", "coulomb"])
def test_gradients_on_a_cpu_are_those_of_float64(on_cpu, variant):
    rows = list(parity.compare(Case(DIGITS, variant, 28, 8), ["fp32", "bf16"]))

    assert len(rows) == 6
    assert [row for row in rows if not row["ok"]] == []
    assert all(0 < row["value"] for row in rows)  # the two sides aren't one and the same


def test_a_gradient_that_is_a_thousandth_off_is_found(on_cpu):
    case = Case(DIGITS, "wgan_gp", 28, 8)
    method = runs.method_of(case, critic_steps=1)
    changed = method.model_copy(update={"penalty_weight": 1.001 * method.penalty_weight})
    expected = parity.compute(method, case, Options(), parity.CPU, torch.float64)
    found = parity.compute(changed, case, Options(), parity.CPU, torch.float64)

    assert parity.relative_error(found.critic, expected.critic) > parity.BOUNDS["fp32"]
    assert parity.relative_error(found.generator, expected.generator) == 0
    assert parity.largest_error(found.losses, expected.losses) > 0


def test_numbers_are_drawn_on_the_cpu_whatever_device_is_named():
    drawn = []
    for device in ("cpu", "meta"):
        with parity.Comparable(0, torch.float64):
            drawn.append(torch.randn(16, 3, device=device))
            assert torch.ones(2).float().dtype == torch.float64
            assert torch.equal(torch.nn.Dropout(0.9)(torch.ones(5)), torch.ones(5))

    assert [(each.device.type, each.dtype) for each in drawn] == [
        ("cpu", torch.float64),
        ("meta", torch.float64),
    ]
    assert torch.equal(drawn[0].float(), torch.randn(16, 3, generator=torch.Generator().manual_seed(0)))


def test_a_run_has_equal_bits_with_a_checkpoint_and_without(on_cpu, monkeypatch):
    rows = {row["what"]: row for row in bits.compare(on_cpu, Case(DIGITS, "began", 28, 4), Options())}

    assert set(rows) == {
        "twice",
        "checkpoint half way",
        "graphs",
        "graphs, checkpoint half way",
        "resident data",
    }
    assert rows["twice"]["ok"] and rows["checkpoint half way"]["ok"] and rows["graphs"]["ok"]


def test_a_state_that_a_checkpoint_forgets_is_found(on_cpu, monkeypatch):
    def forgetful(state):
        return state.state_dict() | {"batches_seen": 0}

    monkeypatch.setattr(bits, "through_a_file", forgetful)
    (row,) = [
        row
        for row in bits.compare(on_cpu, Case(DIGITS, "gan", 28, 4), Options())
        if row["what"] == "checkpoint half way"
    ]
    assert row["value"] > 0
    assert row["ok"] is False


def test_a_difference_is_zero_for_equal_bits_and_infinite_for_what_is_no_number():
    assert runs.largest_difference([torch.ones(2)], [torch.ones(2)]) == 0
    assert runs.largest_difference([torch.ones(2)], [torch.tensor([1.0, 1.5])]) == 0.5
    assert runs.largest_difference([torch.ones(2)], [torch.tensor([1.0, math.nan])]) == math.inf


def test_a_saved_state_goes_on(on_cpu):
    (row,) = bits.go_on_from_a_cpu(on_cpu)
    assert row["ok"]


def test_a_value_that_is_read_within_a_step_is_counted(on_cpu, monkeypatch):
    case = Case(DIGITS, "dcgan", 28, 4)
    reads = [row["value"] for row in hygiene.watch(on_cpu, case) if row["what"] == "values read"]
    monkeypatch.setattr(NonSaturating, "after_generator_step", lambda _: torch.ones(1).item())
    more = [row["value"] for row in hygiene.watch(on_cpu, case) if row["what"] == "values read"]

    assert (reads, more) == ([0], [2 * on_cpu.sizes.half])


def test_every_way_to_train_is_measured_or_says_why_not(on_cpu):
    rows = list(rates.measure_rates(on_cpu, Case(DIGITS, "dcgan", 28, 4)))
    measured = [row["contender"] for row in rows if row.get("value")]

    assert {row["contender"] for row in rows} == set(rates.CONTENDERS)
    assert {"textbook", "today", "no fill"} <= set(measured)
    assert all(row["rounds"] == on_cpu.sizes.rounds for row in rows if "value" in row)


def test_a_contender_that_broke_the_gpu_is_left_out_the_next_time(on_cpu):
    others = set(rates.CONTENDERS) - {"no fill"}
    setting = replace(on_cpu, failed=frozenset(others))
    rows = list(rates.measure_rates(setting, Case(DIGITS, "dcgan", 28, 4)))

    assert [row["contender"] for row in rows] == ["no fill"]


def test_a_contender_that_fails_on_the_way_costs_itself_only(on_cpu, monkeypatch):
    measured = rates._seconds

    def fails_without_fill(run, steps):
        if run.options == Options() and run.state.step > runs.PAST_WARMUP + 2:
            raise RuntimeError("illegal address\nCompile with ...")
        return measured(run, steps)

    monkeypatch.setattr(rates, "_seconds", fails_without_fill)
    setting = replace(on_cpu, failed=frozenset(set(rates.CONTENDERS) - {"today", "no fill"}))
    found = {row["contender"]: row for row in rates.measure_rates(setting, Case(DIGITS, "gan", 28, 4))}

    assert found["no fill"]["error"] == "RuntimeError: illegal address"
    assert found["today"]["rounds"] == on_cpu.sizes.rounds


def test_what_a_step_is_made_of_is_held_against_the_measured_ceiling(on_cpu):
    ceiling = {"check": "convolution fp32", "value": 0.1}
    rows = {
        row["what"]: row
        for row in rates.measure_use(replace(on_cpu, rows=(ceiling,)), Case(DIGITS, "dcgan", 28, 4))
    }

    assert rows["arithmetic of a step"]["value"] > 0
    assert rows["operations of a step"]["value"] > 50
    speed = rows["speed"]["value"]
    assert rows["speed"]["note"].startswith(f"{speed / 100 * 100:.2g} %")


def test_a_ceiling_is_measured_in_its_unit(on_cpu, monkeypatch):
    monkeypatch.setattr(ceilings, "work_of", lambda *_: (lambda: None, 1e12))
    units = {kind: next(ceilings.measure(on_cpu, kind, "fp32"))["unit"] for kind in ceilings.KINDS}
    assert units == {"matrix product": "TFLOP/s", "convolution": "TFLOP/s", "copy": "GB/s"}


def test_random_images_stand_for_a_set_that_is_not_there(on_cpu):
    paths = {
        runs.store_of(on_cpu, Case(DIGITS, "gan", 28, 4)),
        runs.store_of(on_cpu, Case(FACES, "gan", 32, 4)),
    }
    assert {path.name for path in paths} == {"digits.lmdb", "random-32-3.lmdb"}
    assert runs.mnist_folder(on_cpu) is None


def test_time_to_quality_says_what_it_lacks(on_cpu):
    (row,) = quality.reach(on_cpu, "today")
    assert row["value"] is None
    assert row["note"].startswith("skipped for want of build/evaluators/mnist/card.json in")


@pytest.fixture
def with_evaluator(on_cpu):
    """A data folder with an untrained evaluator and its features of noise."""
    folder, reference = on_cpu.data / quality.EVALUATOR, on_cpu.data / quality.REFERENCE
    folder.mkdir(parents=True)
    reference.mkdir(parents=True)
    net = new_mnistnet(ImageShape(1, 28, 28), seed=0)
    digest = save_mnistnet(net, folder / "weights.safetensors")
    assert digest == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps({"name": "mnistnet", "sha256": digest}), encoding="utf-8")
    images = np.random.default_rng(0).integers(0, 256, (150, 1, 28, 28), np.uint8)
    np.savez(reference / "features.npz", features=extract(net, images).features)
    return replace(on_cpu, sizes=replace(on_cpu.sizes, samples=150, every=0.01, limit=0.01))


@pytest.mark.parametrize(("level", "end"), [(1e9, "reached"), (0.0, "not reached")])
def test_time_to_quality_ends_at_the_level_or_at_the_limit(with_evaluator, level, end):
    setting = replace(with_evaluator, sizes=replace(with_evaluator.sizes, level=level))
    (row,) = quality.reach(setting, "today")
    assert row["value"] > 0
    assert row["note"].startswith(f"{end}: FID")
