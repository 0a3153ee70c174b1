"""The ancestors' claims: all of them stand in claims.yaml, and each verdict can be reached."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.stats import ttest_ind

from gan.config import Params, load_params
from gan.contract import ImageShape
from gan.errors import ConfigError
from gan.files import read_json, write_json
from pipeline.claims.claim import Claim, find_claim, judge, minutes_of, read_claims
from pipeline.claims.evidence import Evidence, MetricNameError, find_score, scores_along
from pipeline.claims.finding import combined, decide, spoken
from pipeline.claims.kinds import Test
from pipeline.claims.runs import Falls, Grows, RisesThenFalls
from pipeline.scores.history import WINDOW, smooth, write_history
from pipeline.scores.inference import Effect
from pipeline.stage import Cell
from pipeline.study.selection import read_study

ROOT = Path(__file__).resolve().parents[3]
PARAMS = load_params(ROOT / "params.yaml")
CLAIMS = read_claims(PARAMS)
IDS = (
    "K1 K2 K3 K4 K5 K6 K7 O1 O2 O3 O4 O5 D1 D2 E1 E2 E3 L1 W1 W2 W3 W4 G1 G2 G3 G4 G5 B1 B2 B3 B4 B5 B6 "
    "R1 R2 R3 C1 C2 C3 C4 S1 S2 S3 S4 A1 A2"
).split()
ENTRIES = [name for name, recipe in PARAMS.recipes["mnist_tiny"].items() if recipe.profile == "claim"]
SCORES = {"fid": 40.0, "recall": 0.9, "duplicates": 0.0}
WHERE = {"dataset": "mnist_tiny", "budget": "quick", "seeds": [0, 1, 2]}


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder without results."""
    monkeypatch.chdir(tmp_path)


def claim_of(**test: Any) -> Claim:
    texts = {"hypothesis": "h", "origin": "o", "confounder": "c"}
    return Claim.model_validate({"id": "K1", **texts, "cells": WHERE, "tests": [test]})


def leave(
    variant: str,
    seed: int,
    scores: dict[str, float] | None = None,
    curves: dict[str, list[float]] | None = None,
    along: list[float] | None = None,
    seconds: float = 10.0,
) -> None:
    """Write what the pipeline leaves of one cell; the history has a row every ten steps."""
    cell = Cell("mnist_tiny", variant, "quick", seed)
    columns = curves or {"loss/critic": [1.0, 1.0]}
    rows = len(next(iter(columns.values())))
    logged = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    write_history(cell, [{"step": 10 * n, "images_seen": 640 * n} | row for n, row in enumerate(logged, 1)])
    named = {f"{name}_mnistnet_1k_test": value for name, value in (SCORES | (scores or {})).items()}
    write_json(cell.metrics, named | {"fid_mnistnet_1k_test_ceiling": 1000.0})
    write_json(cell.training, {"seconds": seconds, "steps": 10 * rows})
    points = [
        {"step": 10 * n, "images_seen": 640 * n}
        | {"fid_mnistnet_1k_train": fid, "recall_mnistnet_1k_train": 0.9}
        for n, fid in enumerate(along or [100.0, 50.0, 40.0], start=1)
    ]
    write_json(scores_along(cell), {"split": "train", "n": 1000, "points": points})


def verdict_of(claim: Claim) -> str:
    return judge(claim, PARAMS).verdict


def test_every_claim_of_the_ancestors_stands_there_once() -> None:
    assert [claim.id for claim in CLAIMS if claim.id in IDS] == IDS
    assert len(IDS) == 46


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_entry_that_a_claim_reads_has_a_recipe_with_its_budget(claim: Claim) -> None:
    for cell in claim.runs:
        assert cell.budget in PARAMS.recipes[cell.dataset][cell.variant].steps
    assert claim.hypothesis.strip().endswith(".") and claim.confounder.strip().endswith(".")


def test_every_entry_of_profile_claim_belongs_to_a_claim() -> None:
    assert set(ENTRIES) <= {cell.variant for claim in CLAIMS for cell in claim.runs}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_of_a_claim_can_be_built(name: str) -> None:
    method = PARAMS.recipes["mnist_tiny"][name].method
    with torch.device("meta"):
        gan = method.build(ImageShape(1, 28, 28))
        assert gan.generator(torch.empty(2, method.z_dim)).shape == (2, 1, 28, 28)


def test_what_was_not_trained_is_not_run_here_and_names_its_cells() -> None:
    found = judge(find_claim("k4", CLAIMS), PARAMS)
    assert found.verdict == "not run here"
    assert "12 of 12 cells (wgan_k4_bn, wgan_k4, dcgan_k4_bn, dcgan_k1)" in found.needs
    assert "dvc repro train@mnist_tiny-wgan_k4_bn-quick-0" in found.needs
    assert found.minutes is not None and found.minutes > 1


def test_what_needs_another_data_set_says_so() -> None:
    found = judge(find_claim("B2", CLAIMS), PARAMS)
    assert found.verdict == "not run here" and "lsun" in found.needs and found.findings == []


def test_one_missing_file_is_enough_to_be_not_run_here() -> None:
    claim = claim_of(
        kind="correlation", variants=["wgan_k4"], series="critic/wasserstein", score="fid", more_than=0.7
    )
    for seed in range(3):
        leave("wgan_k4", seed, curves={"critic/wasserstein": [3.0, 2.0, 1.0]})
    assert verdict_of(claim) != "not run here"
    scores_along(claim.runs[2]).unlink()
    found = judge(claim, PARAMS)
    assert found.verdict == "not run here"
    assert "1 of 3 cells" in found.needs and "dvc repro trajectory@mnist_tiny-wgan_k4-quick-2" in found.needs


RATIO = {"kind": "comparison", "quantity": "score/fid", "of": "wgan", "against": "dcgan", "scale": "ratio"}


@pytest.mark.parametrize(
    ("fids", "expected"),
    [([80, 84, 88], "confirmed"), ([40, 41, 42], "refuted"), ([20, 60, 160], "inconclusive")],
)
def test_a_ratio_of_scores_reaches_each_verdict(fids: list[float], expected: str) -> None:
    for seed, fid in enumerate(fids):
        leave("wgan", seed, {"fid": fid})
        leave("dcgan", seed, {"fid": 40.0 + seed})
    assert verdict_of(claim_of(**RATIO, more_than=1.5)) == expected


def test_a_difference_below_a_threshold_is_told() -> None:
    for seed in range(3):
        leave("wgan", seed, {"recall": 0.3 + seed / 100})
        leave("dcgan", seed, {"recall": 0.8 + seed / 100})
    test = RATIO | {"quantity": "score/recall", "scale": "difference"}
    found = judge(claim_of(**test, less_than=0.0), PARAMS)
    assert found.verdict == "confirmed"
    assert found.findings[0].effect is not None
    assert found.findings[0].effect.value == pytest.approx(-0.5)
    assert verdict_of(claim_of(**test, more_than=0.0)) == "refuted"


def test_seconds_a_step_and_final_levels_are_compared_too() -> None:
    for seed in range(3):
        leave("wgan", seed, curves={"a/b": [8.0, 4.0 + seed]}, seconds=5.0 + seed / 10)
        leave("dcgan", seed, curves={"a/b": [4.0, 1.0 + seed / 4]}, seconds=10.0 + seed / 10)
    assert verdict_of(claim_of(**RATIO | {"quantity": "seconds/step"}, less_than=0.8)) == "confirmed"
    assert verdict_of(claim_of(**RATIO | {"quantity": "final/a/b"}, more_than=1.5)) == "confirmed"
    evidence = Evidence([Cell("mnist_tiny", "wgan", "quick", 0)])
    assert evidence.quantities("wgan", "final_share/a/b") == [0.5]
    assert evidence.quantities("wgan", "seconds/step") == [0.25]


def test_an_interaction_is_a_ratio_of_ratios() -> None:
    fids = {"wgan_k4_bn": 400, "wgan_k4": 100, "dcgan_k4_bn": 50, "dcgan_k1": 50}
    for variant, fid in fids.items():
        for seed in range(3):
            leave(variant, seed, {"fid": fid * (1 + seed / 100)})
    found = judge(find_claim("K4", CLAIMS), PARAMS)
    assert found.verdict == "confirmed"
    assert found.findings[0].effect is not None
    assert found.findings[0].effect.value == pytest.approx(4)


@pytest.mark.parametrize(
    ("claimed", "fids", "expected"),
    [
        ("equal", [40, 41, 42], "confirmed"),
        ("equal", [80, 82, 84], "refuted"),
        ("equal", [20, 40, 80], "inconclusive"),
        ("different", [80, 82, 84], "confirmed"),
        ("different", [40, 41, 42], "refuted"),
    ],
)
def test_equivalence_reaches_each_verdict(claimed: str, fids: list[float], expected: str) -> None:
    for seed, fid in enumerate(fids):
        leave("wgan", seed, {"fid": fid})
        leave("dcgan", seed, {"fid": 40.0 + seed})
    test = RATIO | {"kind": "equivalence", "margin": 1.25, "claimed": claimed}
    assert verdict_of(claim_of(**test)) == expected


def test_equivalence_goes_by_the_interval_of_90_percent_and_a_comparison_by_that_of_95() -> None:
    ours, others = [40.0, 44.0, 49.0], [38.0, 45.0, 47.0]
    for seed in range(3):
        leave("wgan", seed, {"fid": ours[seed]})
        leave("dcgan", seed, {"fid": others[seed]})
    of_two = {name: RATIO[name] for name in ("quantity", "of", "against", "scale")}
    welch = ttest_ind(np.log(ours), np.log(others), equal_var=False)
    narrow, wide = (np.exp(welch.confidence_interval(level)) for level in (0.9, 0.95))
    margin = float(max(narrow[1], 1 / narrow[0]) + max(wide[1], 1 / wide[0])) / 2
    equal = judge(claim_of(kind="equivalence", **of_two, margin=margin, claimed="equal"), PARAMS)
    assert equal.verdict == "confirmed"
    compared = judge(claim_of(kind="comparison", **of_two, more_than=1.0), PARAMS)
    for found, expected in ((equal, narrow), (compared, wide)):
        effect = found.findings[0].effect
        assert effect is not None
        assert (effect.low, effect.high) == pytest.approx(tuple(expected))


DURATION = {"kind": "duration", "of": "wgan", "against": "dcgan", "axis": "step", "series": "score/fid"}


@pytest.mark.parametrize(
    ("slow", "threshold", "expected"),
    [
        # DCGAN is at 10 % of noise's 1,000 at step 10. WGAN is so at step 40, or never in its 40 steps.
        ([400.0, 300.0, 200.0, 100.0], 3.0, "confirmed"),
        ([400.0, 300.0, 200.0, 100.0], 5.0, "refuted"),
        ([400.0, 300.0, 200.0, 150.0], 3.0, "confirmed"),
        ([400.0, 300.0, 200.0, 150.0], 5.0, "inconclusive"),
    ],
)
def test_time_to_a_level_reaches_each_verdict(slow: list[float], threshold: float, expected: str) -> None:
    for seed in range(3):
        leave("wgan", seed, along=slow)
        leave("dcgan", seed, along=[100.0, 50.0, 40.0, 40.0])
    found = judge(claim_of(**DURATION, level=0.1, level_of="ceiling", more_than=threshold), PARAMS)
    assert found.verdict == expected
    assert found.findings[0].effect is not None
    assert found.findings[0].effect.value == pytest.approx(4)
    assert ("3 of 3 runs never got there" in found.findings[0].note) == (slow[-1] > 100)


def test_a_level_that_the_other_never_reaches_is_inconclusive_and_says_why() -> None:
    for seed in range(3):
        leave("wgan", seed)
        leave("dcgan", seed)
    found = judge(claim_of(**DURATION, level=1.0, level_of="value", more_than=1.0), PARAMS)
    assert found.verdict == "inconclusive"
    assert "mnist_tiny-dcgan-quick-0 never came to 1" in found.findings[0].note


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([50.0 - n for n in range(50)], "confirmed"),
        ([1.0 + n for n in range(50)], "refuted"),
    ],
)
def test_a_correlation_along_the_run_reaches_its_verdicts(curve: list[float], expected: str) -> None:
    for seed in range(3):
        leave("wgan", seed, curves={"critic/wasserstein": curve}, along=[90.0 - n for n in range(50)])
    test = {"kind": "correlation", "variants": ["wgan"], "series": "critic/wasserstein", "score": "fid"}
    assert verdict_of(claim_of(**test, more_than=0.7)) == expected
    assert verdict_of(claim_of(**test, less_than_absolute=0.3)) == "refuted"


def test_the_entry_that_is_furthest_off_decides_a_correlation() -> None:
    for seed in range(3):
        falling = [50.0 - n for n in range(50)]
        leave("wgan", seed, curves={"a": falling}, along=falling)
        leave("wgan_gp", seed, curves={"a": falling[::-1]}, along=falling)
    test = {"kind": "correlation", "variants": ["wgan", "wgan_gp"], "series": "a", "score": "fid"}
    found = judge(claim_of(**test, more_than=0.7), PARAMS)
    assert found.verdict == "refuted" and found.findings[0].note == "wgan_gp"


@pytest.mark.parametrize(
    ("last", "least", "expected"),
    [
        ({}, 3, "confirmed"),
        ({}, 5, "inconclusive"),
        ({"recall": 0.2}, 3, "refuted"),  # below a quarter of 0.9, the best along the run
        ({"recall": 0.23}, 3, "confirmed"),
        ({"duplicates": 0.6}, 3, "refuted"),
    ],
)
def test_collapse_reaches_each_verdict(last: dict[str, float], least: int, expected: str) -> None:
    for seed in range(3):
        leave("wgan", seed, last if seed == 2 else {})
    assert verdict_of(claim_of(kind="collapse", variants=["wgan"], least_runs=least)) == expected


SHAPES = [
    ({"kind": "rises_then_falls", "by": 200}, [*range(15), *range(15, -25, -1)], [*range(50)]),
    ({"kind": "falls", "low": 0.4, "high": 0.65}, [2.0 - n / 20 for n in range(21)], [1.0] * 20),
    ({"kind": "dips", "below": 0.05, "above": 0.3}, [0.0] * 20 + [1.0] * 30, [1.0] * 20),
    ({"kind": "grows", "factor": 10.0}, [1.2**n for n in range(20)], [1.0 + n / 20 for n in range(20)]),
]


@pytest.mark.parametrize(("shape", "such", "other"), SHAPES, ids=lambda value: "")
def test_a_shape_is_told_from_another(shape: dict[str, Any], such: list[float], other: list[float]) -> None:
    claim = claim_of(kind="course", variant="wgan", series="a", shape=shape)
    for curves, expected in (
        ([such, such, such], "confirmed"),
        ([other, other, other], "refuted"),
        ([such, other, such], "inconclusive"),
    ):
        for seed, curve in enumerate(curves):
            leave("wgan", seed, curves={"a": [float(value) for value in curve]})
        assert verdict_of(claim) == expected
        shutil.rmtree("models")


@pytest.mark.parametrize(
    "shape",
    [
        RisesThenFalls(kind="rises_then_falls"),
        Falls(kind="falls", low=1e-9, high=1e9),
        Grows(kind="grows", factor=1e-9),
    ],
    ids=lambda shape: shape.kind,
)
def test_white_noise_seldom_has_a_shape(shape: RisesThenFalls | Falls | Grows) -> None:
    # Of the smoothed curve the trend was significant in 59.5 %, and it rose and then fell in 52 %.
    generator = np.random.default_rng(0)
    steps = np.arange(1.0, 201.0)
    noise = generator.normal(100, 1, (400, 200))
    assert sum(shape.holds(steps, curve, smooth(curve, WINDOW)) for curve in noise) / 400 < 0.06


def test_a_maximum_by_a_step_that_the_run_never_reaches_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    course = COURSE.replace("kind: falls, low: 0.4, high: 0.6", "kind: rises_then_falls, by: 400")
    cells = "{dataset: mnist_tiny, budget: quick, seeds: [0]}"
    text = f"- {{id: K9, hypothesis: h, origin: o, confounder: c, cells: {cells}, tests: [{{{course}}}]}}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="K9: by 400 can't fail, since wgan_k4 runs 400 steps"):
        read_claims(PARAMS, path)
    path.write_text(text.replace("by: 400", "by: 399"), encoding="utf-8")
    assert len(read_claims(PARAMS, path)) == 1


def test_a_run_without_a_finite_value_is_inconclusive_and_named() -> None:
    for seed in range(3):
        leave("wgan", seed, curves={"a": [float("nan")] * 3})
    found = judge(
        claim_of(kind="course", variant="wgan", series="a", shape={"kind": "grows", "factor": 2.0}), PARAMS
    )
    assert found.verdict == "inconclusive" and "no finite value of a" in found.findings[0].note


@pytest.mark.parametrize(
    ("effect", "thresholds", "expected"),
    [
        (Effect(3, 2, 4), {"more_than": 1.0}, "confirmed"),
        (Effect(3, 2, 4), {"more_than": 5.0}, "refuted"),
        (Effect(3, 2, 4), {"more_than": 3.0}, "inconclusive"),
        (Effect(3, 2, None), {"more_than": 5.0}, "inconclusive"),
        (Effect(3, None, None), {"more_than": 1.0}, "inconclusive"),
        (Effect(3, 2, 4), {"less_than": 5.0}, "confirmed"),
        (Effect(3, 2, 4), {"less_than": 1.0}, "refuted"),
        # The value alone decides nothing, on either side of the threshold.
        (Effect(3, 2, 4), {"more_than": 2.5}, "inconclusive"),
        (Effect(3, 2, 4), {"more_than": 3.5}, "inconclusive"),
        (Effect(3, 2, 4), {"less_than": 3.5}, "inconclusive"),
        (Effect(3, 2, 4), {"less_than": 2.5}, "inconclusive"),
        (Effect(3, None, 4), {"less_than": 5.0}, "confirmed"),
        (Effect(3, 2, None), {"less_than": 5.0}, "inconclusive"),
    ],
)
def test_the_whole_interval_decides(effect: Effect, thresholds: dict[str, float], expected: str) -> None:
    assert decide(effect, **thresholds) == expected


def test_one_refuted_test_refutes_a_claim_and_all_confirmed_ones_confirm_it() -> None:
    assert combined(["confirmed", "refuted", "inconclusive"]) == "refuted"
    assert combined(["confirmed", "inconclusive"]) == "inconclusive"
    assert combined(["confirmed", "confirmed"]) == "confirmed"


def test_a_score_is_found_by_its_short_name_alone() -> None:
    names = {"fid_mnistnet_1k_test": 1, "fid_infinity_mnistnet_1k_test": 2, "fid_mnistnet_1k_test_raw": 3}
    assert find_score(names, "fid", "x.json") == 1
    assert find_score(names, "fid", "x.json", "raw") == 3
    assert find_score({"recall_mnistnet_150_validation": 0.5}, "recall", "x.json") == 0.5


def test_a_score_that_several_metrics_match_is_an_error_that_names_them() -> None:
    names = {"fid_mnistnet_1k_test": 1, "fid_inception_1k_test": 2}
    with pytest.raises(
        MetricNameError, match=r"2 scores match fid: fid_inception_1k_test, fid_mnistnet_1k_test"
    ):
        find_score(names, "fid", "x.json")
    for seed in range(3):
        leave("wgan", seed)
        leave("dcgan", seed)
    claim = claim_of(**RATIO, more_than=1.5)
    path = claim.runs[0].metrics
    write_json(path, read_json(path) | {"fid_inception_1k_test": 2.0})
    with pytest.raises(MetricNameError, match="2 scores match fid"):
        judge(claim, PARAMS)


COURSE = (
    "kind: course, variant: wgan_k4, series: critic/wasserstein, shape: {kind: falls, low: 0.4, high: 0.6}"
)
FID = "kind: comparison, quantity: score/fid, of: wgan, against: dcgan, scale: ratio, more_than: 1"
PACE = "kind: duration, of: wgan, against: dcgan, axis: step, series: score/fid, " + (
    "level: 1, level_of: value, more_than: 1"
)


@pytest.mark.parametrize(
    ("test", "right", "wrong", "fault"),
    [
        (COURSE, "critic/wass", "critic/was", "wgan_k4 has no curve 'critic/waserstein'; there are loss/"),
        (COURSE, "critic/wasserstein", "began/k", "wgan_k4 has no curve 'began/k'; there are loss/critic"),
        (COURSE, "wgan_k4", "wgan_k44", "no variant 'wgan_k44' for mnist_tiny; there are gan, gan_seed"),
        (COURSE, "kind: falls", "kind: fals", "0.tests.0.shape.kind: unknown value 'fals'; .* 'falls'"),
        (COURSE, "low:", "lo:", "0.tests.0.shape.lo: unknown key 'lo'; did you mean 'low'"),
        (FID, "score/fid", "score/fidd", "wgan has no score 'fidd'; there are fid, fid_infinity, kid"),
        (FID, "score/fid", "score/modes", "wgan has no score 'modes'; there are fid, fid_infinity, kid"),
        (FID, "score/fid", "final/critic/real_", "wgan has no curve 'critic/real_'; there are loss/critic"),
        (FID, "more_than", "mor_than", "0.tests.0.mor_than: unknown key 'mor_than'; did you mean 'more_"),
        (FID, "kind: comparison", "kind: compare", "0.tests.0.kind: unknown value 'compare'; .*comparison"),
        (FID, "mnist_tiny", "mnist_tny", "no data set 'mnist_tny'; there are mnist_tiny"),
        (FID, "budget: quick", "budget: quik", "0.cells.budget: unknown value 'quik'; did you mean 'quick'"),
        (FID, "seeds:", "seed:", "0.cells.seed: unknown key 'seed'; did you mean 'seeds'"),
        (PACE, "score/fid", "score/kid", "wgan has no score along the run 'kid'; there are fid, precision"),
        (PACE, "score/fid", "curve/critic/real_", "wgan has no curve 'critic/real_'; there are loss/critic"),
    ],
)  # fmt: skip
def test_a_misspelt_name_is_refused_when_claims_are_read(
    tmp_path: Path, test: str, right: str, wrong: str, fault: str
) -> None:
    cells = "{dataset: mnist_tiny, budget: quick, seeds: [0]}"
    head = f"- {{id: K9, hypothesis: h, origin: o, confounder: c, cells: {cells}"
    text = f"{head}, tests: [{{{test}}}]}}"
    path = tmp_path / "claims.yaml"
    assert text.count(right) == 1
    path.write_text(text, encoding="utf-8")
    read_claims(PARAMS, path)
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"claims\.yaml:(1:| K9:) ({fault})") as caught:
        read_claims(PARAMS, path)
    assert len(str(caught.value).splitlines()) == 1 and caught.value.exit_code == 78


def test_minutes_are_those_of_like_runs_where_there_are_any(params_like: Params) -> None:
    cell = Cell("mnist_tiny", "dcgan_k1", "quick", 0)
    # 1,000 steps of two updates with 32 images at 0.3 ms, and 30 s of the other stages.
    assert minutes_of([cell], params_like) == pytest.approx((19.2 + 30) / 60)
    write_json(Cell("mnist_tiny", "dcgan_k1", "quick", 1).training, {"seconds": 60.0, "steps": 1000})
    assert minutes_of([cell], params_like) == pytest.approx((60 + 30) / 60)
    # The authors' warm-up: 25 + 1 times 100 critic steps beside 5 * 500, and 500 of the generator.
    slow = Cell("mnist_tiny", "wgan_k1", "quick", 0)
    assert minutes_of([slow], params_like) == pytest.approx((5600 * 32 * 3e-4 + 30) / 60)
    quick = Cell("mnist_tiny", "gan", "quick", 0)  # 18,000 steps of two updates of perceptrons with 64 images
    assert minutes_of([quick], params_like) == pytest.approx((36_000 * 64 * 4e-5 + 30) / 60)


@pytest.fixture
def params_like() -> Params:
    return PARAMS


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1", "claims.yaml:1: expected a list of entries"),
        (
            "- {id: K1, hypothesis: h, origin: o, needs: n}",
            "claims.yaml:1: 0.confounder: this key is missing",
        ),
        ("- {id: K1, hypothesis: h, origin: o, confounder: c}", "give either cells and tests, or needs"),
        ("- &a {id: K1, hypothesis: h, origin: o, confounder: c, needs: n}\n- *a", "K1 stands twice"),
        (
            "- {id: K1, hypothesis: h, origin: o, confounder: c, needs: n, more: 1}",
            "claims.yaml:1: 0.more: unknown key 'more'; .*confounder, hypothesis, id",
        ),
        ("- [", "claims.yaml:1: expected the node content"),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=fault) as caught:
        read_claims(PARAMS, path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "test",
    [
        RATIO,
        RATIO | {"more_than": 1.0, "less_than": 2.0},
        RATIO | {"kind": "equivalence", "margin": 0.5, "claimed": "equal"},
        RATIO | {"quantity": "fid", "more_than": 1.0},
        {"kind": "correlation", "variants": ["wgan"], "series": "a", "score": "fid"},
        DURATION | {"series": "curve/a", "level": 0.1, "level_of": "ceiling", "more_than": 1.0},
    ],
)
def test_a_test_without_one_clear_threshold_is_refused(test: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give one of|above 1|pattern|no ceiling"):
        TypeAdapter(Test).validate_python(test)


def test_an_unknown_claim_is_named_beside_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no claim 'Z9'; there are K1, K2"):
        find_claim("Z9", CLAIMS)


def test_quantities_read_like_words() -> None:
    assert spoken("score/fid") == "FID"
    assert spoken("final_share/critic/wasserstein") == "final W over its maximum"
    assert spoken("seconds/step") == "seconds a step"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.chdir(ROOT)
    return read_study


def test_the_study_selects_what_the_claims_on_digits_need(study: Callable[[str], Any]) -> None:
    selected = study("claims_mnist")
    needed = {cell.variant for claim in CLAIMS for cell in claim.runs}
    assert set(selected.variants) <= needed and selected.claims == ["claims"]
    for name in "K1 K2 K3 K4 K5 K6 K7 O1 O4 O5 W4 S1 S2 S3 S4 A1".split():
        claim = find_claim(name, CLAIMS)
        assert {cell.variant for cell in claim.runs} <= set(selected.variants), name
        assert claim.cells is not None and claim.cells.seeds == selected.seeds
