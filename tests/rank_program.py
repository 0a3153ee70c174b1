"""What each of several processes runs for tests/test_distributed.py, which starts it under `torchrun`.

It trains every variant of the roster for a few steps and writes what rank 0 holds in the end; where the
ranks' weights differ, it ends with an error.
"""

import sys
from pathlib import Path

import torch

from gan import distributed
from gan.config import load_params
from gan.contract import ImageShape, VariantParams
from gan.training import TrainState, new_train_state, training_steps

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
RECIPES = PARAMS.recipes["mnist_tiny"]
IMAGE = ImageShape(1, 28, 28)
BATCH = 8
# A batch of 4 has other statistics than one of 8: without batch normalisation a rank's share is all that
# differs. The rates are so small that rounding isn't amplified by Adam's division.
WITHOUT_BATCH_NORM = ("wgan_gp", "wgan_merged", "dragan", "coulomb", "began")


def method_of(name: str, *, batch_norm: bool) -> VariantParams:
    """Give a roster entry a small batch; without batch_norm, no such norm, tiny rates, one critic step."""
    method = RECIPES[name].method.model_copy(update={"batch_size": BATCH, "on_divergence": "stop"})
    if hasattr(method, "critic_steps"):
        method = method.model_copy(update={"critic_steps": 1})
    if batch_norm:
        return method
    rates = {
        f"{side}_optimizer": getattr(method, f"{side}_optimizer").model_copy(update={"lr": 1e-7})
        for side in ("generator", "critic")
    }
    changes = rates | {"schedule": []}
    if hasattr(method.networks, "generator"):
        plain = method.networks.generator.model_copy(update={"norm": False, "stem_norm": "none"})
        changes |= {"networks": method.networks.model_copy(update={"generator": plain})}
    return method.model_copy(update=changes)


def train(method: VariantParams, steps: int) -> TrainState:
    """Train on this rank's share of batches that are the same for any number of ranks."""
    train_params = PARAMS.train.model_copy(update={"channels_last": False})
    state = new_train_state(method, IMAGE, train_params, steps=steps, seed=3, device=torch.device("cpu"))

    def shares():
        for number in range(1000):
            stream = torch.Generator().manual_seed(number)
            yield distributed.own_rows(torch.rand(BATCH, *IMAGE, generator=stream) * 2 - 1)

    for _ in training_steps(state, shares()):
        pass
    return state


def outcome_of(name: str) -> dict[str, object]:
    """Gradients of both networks after two steps, and what the objective remembers."""
    state = train(method_of(name, batch_norm=False), steps=2)
    return {
        "critic": [parameter.grad for parameter in state.gan.critic.parameters()],
        "generator": [parameter.grad for parameter in state.gan.generator.parameters()],
        "objective": state.gan.objective.state_dict(),
        "images_seen": state.images_seen,
    }


def check_that_ranks_agree(name: str, state: TrainState) -> None:
    """Raise AssertionError where a weight isn't that of rank 0, or isn't finite."""
    for network in (state.gan.generator, state.gan.critic, state.averaged):
        for weight in network.parameters():
            everybodys = distributed.gather_rows(weight.detach().reshape(1, -1))
            assert torch.equal(everybodys[0], everybodys[-1]), f"{name}: ranks have drifted apart"
            assert weight.isfinite().all(), f"{name}: not finite"


def main(out: Path, names: list[str]) -> None:
    """Write outcomes of the variants without batch normalisation, and a state for another world size."""
    with distributed.process_group(on_cpu=True):
        for name in names:
            check_that_ranks_agree(name, train(method_of(name, batch_norm=True), steps=1))
        outcomes = {name: outcome_of(name) for name in WITHOUT_BATCH_NORM}
        saved = train(method_of("began", batch_norm=True), steps=2).state_dict()
        if distributed.rank() == 0:
            torch.save({"world_size": distributed.world_size(), "outcomes": outcomes, "state": saved}, out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
