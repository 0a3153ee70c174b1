"""Several processes: they compute what one would, whatever the variant."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan import distributed
from tests import rank_program

ROOT = Path(__file__).parents[1]
ROSTER = [name for name, recipe in rank_program.RECIPES.items() if recipe.profile == "tuned"]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What two processes have made of the roster, started once, for all tests."""
    out = tmp_path_factory.mktemp("ranks") / "outcomes.pt"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    answer = subprocess.run(
        [sys.executable, *command, "-m", "tests.rank_program", str(out), *ROSTER],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    return torch.load(out, weights_only=True)


def test_two_processes_train_every_variant_of_the_roster_and_stay_equal(two_ranks):
    assert len(ROSTER) == 14
    assert two_ranks["world_size"] == 2  # the program has compared all weights of both


@pytest.mark.parametrize("name", rank_program.WITHOUT_BATCH_NORM)
def test_gradients_of_two_processes_are_those_of_one(two_ranks, name):
    found, wanted = two_ranks["outcomes"][name], rank_program.outcome_of(name)
    assert found["images_seen"] == wanted["images_seen"] == 2 * rank_program.BATCH
    for network in ("critic", "generator"):
        scale = max(gradient.abs().max() for gradient in wanted[network])
        assert scale > 0
        for one, other in zip(found[network], wanted[network], strict=True):
            assert_close(one / scale, other / scale, rtol=0, atol=1e-5)


def test_the_balance_of_began_is_that_of_the_whole_batch(two_ranks):
    found = two_ranks["outcomes"]["began"]["objective"]["k"]
    wanted = rank_program.outcome_of("began")["objective"]["k"]
    assert wanted > 0
    assert found == pytest.approx(wanted, rel=1e-5)


def test_a_state_of_two_processes_is_resumed_by_one(two_ranks):
    method = rank_program.method_of("began", batch_norm=True)
    state = rank_program.train(method, steps=3)
    state.load_state_dict(two_ranks["state"])
    assert (state.step, state.batches_seen, state.images_seen) == (2, 2, 2 * rank_program.BATCH)
    assert state.gan.objective.state_dict()["k"] == two_ranks["state"]["objective"]["k"]
    straight = rank_program.train(method, steps=2)
    assert_close(state.averaged.state_dict(), straight.averaged.state_dict(), rtol=0, atol=2e-3)


class TestOneProcess:
    """Where nothing is shared, nothing changes."""

    def test_every_sum_is_the_identity(self):
        value = torch.tensor([1.0, 2.0])
        assert distributed.mean(value) is value
        assert distributed.gather_rows(value) is value
        assert torch.equal(distributed.own_rows(value), value)
        assert distributed.any_process(True) is True
        assert distributed.any_process(False) is False
        assert (distributed.rank(), distributed.world_size()) == (0, 1)

    def test_gradients_stay_as_they_are(self):
        parameter = nn.Parameter(torch.ones(2))
        parameter.grad = torch.tensor([1.0, -1.0])
        distributed.average_gradients([parameter])
        assert parameter.grad.tolist() == [1.0, -1.0]

    def test_draws_are_those_of_the_stream(self):
        torch.manual_seed(0)
        wanted = torch.rand(3, 1)
        torch.manual_seed(0)
        assert torch.equal(distributed.draw_rows(lambda n: torch.rand(n, 1), 3), wanted)
