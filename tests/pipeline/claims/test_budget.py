"""Running what claims lack: which cells fit a budget, and that params.yaml is as before."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gan.config import Params, load_params
from gan.errors import ConfigError, DataError
from gan.files import read_json, write_json
from pipeline import cli
from pipeline.claims.budget import cells_within, run_lacking, selected
from pipeline.claims.claim import Claim, find_claim, read_claims
from pipeline.claims.evidence import scores_along
from pipeline.schedule import repro
from pipeline.schedule.slots import Slots
from pipeline.scores.history import write_history
from pipeline.stage import Cell, selected_cells

# 400 steps of 5 + 1 updates with 32 images at 0.3 ms are 23 s, other stages 30 s; three seeds: 2.65 minutes.
K4_CELLS = [Cell("mnist_tiny", "wgan_k4", "quick", seed) for seed in range(3)]
K4_BN_CELLS = [Cell("mnist_tiny", "wgan_k4_bn", "quick", seed) for seed in range(3)]

CLAIMS = read_claims(load_params(Path(__file__).resolve().parents[3] / "params.yaml"))


def claims_of(*names: str) -> list[Claim]:
    return [find_claim(name, CLAIMS) for name in names]


def leave(cells: Sequence[Cell]) -> None:
    """Write what the stages leave; W rises to its 20th row and falls from there on, over 500 steps."""
    rows = [
        {"step": 10 * n, "images_seen": 640 * n, "critic/wasserstein": 5 - abs(n - 20) / 10}
        for n in range(1, 51)
    ]
    for cell in cells:
        write_history(cell, rows)
        write_json(cell.training, {"seconds": 5.0, "steps": 500})
        write_json(cell.metrics, {"fid_mnistnet_1k_test": 40.0})
        write_json(scores_along(cell), {"points": []})


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Cell], list[Cell]]]:
    """Let DVC's part write results at once; return each call's cells beside those that were selected then."""
    calls: list[tuple[list[Cell], list[Cell]]] = []

    def run(cells: list[Cell], study: str, slots: Slots, console: Any) -> bool:
        calls.append((cells, selected_cells(load_params(Path("params.yaml")))))
        leave(cells)
        return True

    monkeypatch.setattr(repro, "run_stale", run)
    return calls


@pytest.mark.parametrize(
    ("budget", "expected"), [(2.7, K4_CELLS), (5.2, K4_CELLS), (5.4, [*K4_CELLS, *K4_BN_CELLS])]
)
def test_whole_claims_are_taken_cheapest_first_and_a_shared_cell_costs_once(
    params: Params, budget: float, expected: list[Cell]
) -> None:
    assert cells_within(claims_of("K5", "K7"), params, budget) == expected


def test_only_what_is_lacking_is_run(params: Params) -> None:
    leave([K4_CELLS[0], K4_CELLS[2]])
    assert cells_within(claims_of("K7"), params, 5) == [K4_CELLS[1]]
    leave(K4_CELLS)
    assert cells_within(claims_of("K7"), params, 5) == []


def test_a_budget_that_is_too_small_is_refused_with_what_it_takes(params: Params) -> None:
    with pytest.raises(
        ConfigError, match=r"K7 lacks 3 cells, about 2\.7 minutes .* more than the budget of 2"
    ):
        cells_within(claims_of("K5", "K7"), params, 2)


def test_a_claim_that_needs_another_data_set_lacks_no_cell(params: Params) -> None:
    assert cells_within(claims_of("B2"), params, 1e-3) == []


def test_params_yaml_selects_the_cells_meanwhile_and_is_restored_byte_for_byte(
    checkout: Path, ran: list[Any], params: Params
) -> None:
    before = (checkout / "params.yaml").read_bytes()
    assert run_lacking(claims_of("K7"), params, 5) == K4_CELLS
    assert ran == [(K4_CELLS, K4_CELLS)]
    assert (checkout / "params.yaml").read_bytes() == before


def test_params_yaml_is_restored_after_a_failure(
    checkout: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repro, "run_stale", lambda *_: False)
    before = (checkout / "params.yaml").read_bytes()
    with pytest.raises(DataError, match="not all cells could be run"):
        run_lacking(claims_of("K7"), params, 5)
    assert (checkout / "params.yaml").read_bytes() == before


def test_an_edit_of_params_yaml_in_the_meantime_stays(checkout: Path, params: Params) -> None:
    path = checkout / "params.yaml"
    with selected(K4_CELLS):
        path.write_text(
            path.read_text(encoding="utf-8").replace("previews: 10", "previews: 7"), encoding="utf-8"
        )
    found = load_params(path)
    assert found.train.previews == 7
    assert found.select == params.select


@pytest.fixture
def gantry() -> Callable[..., Any]:
    return lambda *arguments: CliRunner().invoke(cli.main, list(arguments))


def test_gantry_claims_runs_what_is_lacking_and_gives_the_verdict(
    checkout: Path, ran: list[Any], gantry: Callable[..., Any]
) -> None:
    assert "verdict: not run here" in gantry("claims", "K7").stdout
    result = gantry("claims", "k7", "--budget", "5")
    assert result.exit_code == 0, result.output
    assert "3 cells run" in result.stderr and "verdict: confirmed" in result.stdout
    assert "no cell is lacking" in gantry("claims", "K7", "--budget", "5").stderr
    assert len(ran) == 1


def test_gantry_claims_lists_all_with_their_counts(checkout: Path, gantry: Callable[..., Any]) -> None:
    leave(K4_CELLS)
    result = gantry("claims")
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert set(lines) == {"claim", *(claim.id for claim in CLAIMS)}
    assert "confirmed" in lines["K7"] and "not run here" in lines["K4"]
    counts = f"{len(CLAIMS)} claims: 1 confirmed, 0 refuted, 0 inconclusive, {len(CLAIMS) - 1} not run here."
    assert counts in result.stderr


def test_gantry_claims_prints_json(checkout: Path, gantry: Callable[..., Any]) -> None:
    (checkout / "one.json").write_text(gantry("claims", "K4", "--json").stdout, encoding="utf-8")
    (checkout / "all.json").write_text(gantry("claims", "--json").stdout, encoding="utf-8")
    one, all_ = read_json(checkout / "one.json"), read_json(checkout / "all.json")
    assert one["id"] == "K4" and one["verdict"] == "not run here" and one["minutes"] > 1
    assert one in all_ and len(all_) >= 46


def test_gantry_claims_refuses_an_unknown_id_and_a_budget_that_is_too_small(
    checkout: Path, gantry: Callable[..., Any]
) -> None:
    assert gantry("claims", "Z9").exit_code == 78
    result = gantry("claims", "K7", "--budget", "1")
    assert result.exit_code == 78 and "about 2.7 minutes" in result.stderr
