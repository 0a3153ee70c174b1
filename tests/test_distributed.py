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
from gan.errors import ConfigError
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


@pytest.fixture
def joined(monkeypatch):
    """How a process of two under torchrun, on a machine with two GPUs, joins the group."""
    calls = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.update(device=device))
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, **given: calls.update(given, backend=backend)
    )
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    variables = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return calls


class TestGpus:
    """Which devices a group joins, with stand-ins for those of the machine."""

    def test_each_process_has_its_own_gpu_and_the_cpu_has_gloo(self, joined):
        with distributed.process_group():
            own = torch.device("cuda", 1)
            assert joined == {"device": own, "backend": "cpu:gloo,cuda:nccl", "device_id": own}

    def test_who_asks_for_the_cpu_leaves_the_gpus_alone(self, joined):
        with distributed.process_group(on_cpu=True):
            assert joined == {"backend": "gloo"}

    def test_a_machine_without_gpus_has_gloo(self, joined, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with distributed.process_group():
            assert joined == {"backend": "gloo"}

    def test_two_processes_on_one_gpu_are_refused_in_one_line(self, joined, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(ConfigError, match="started 2 processes, .* and 1 can be seen") as caught:
            distributed.process_group().__enter__()
        assert (caught.value.exit_code, len(str(caught.value).splitlines()), joined) == (78, 1, {})

    def test_a_vote_waits_for_no_gpu(self, monkeypatch):
        voted = []
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        monkeypatch.setattr(torch.distributed, "get_backend", lambda: "nccl")
        monkeypatch.setattr(torch.distributed, "all_reduce", voted.append)
        assert distributed.any_process(True) is True
        assert [vote.device.type for vote in voted] == ["cpu"]
