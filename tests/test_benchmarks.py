import itertools
from pathlib import Path

import pytest
import torch

from benchmarks import plain
from gan.config import load_params
from gan.training import new_train_state, training_steps

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")


@pytest.mark.parametrize("variant", [*plain.KINDS, "dcgan_paper"])
def test_the_textbook_loop_makes_the_losses_of_ours(variant):
    method = PARAMS.recipes["mnist_tiny"][variant].method.model_copy(update={"batch_size": 8})
    images = torch.rand(12, 8, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = []
    for loop in (training_steps, plain.training_steps):
        state = new_train_state(
            method, PARAMS.datasets["mnist_tiny"].shape, PARAMS.train, steps=100, seed=0,
            device=torch.device("cpu"),
        )  # fmt: skip
        rows = itertools.islice(loop(state, iter(images)), 3)
        found.append([[float(row["loss/critic"]), float(row["loss/generator"])] for row in rows])

    torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), rtol=2e-3, atol=2e-3)


def test_the_textbook_loop_refuses_what_it_does_not_know():
    method = PARAMS.recipes["mnist_tiny"]["began"].method
    state = new_train_state(
        method, PARAMS.datasets["mnist_tiny"].shape, PARAMS.train, steps=1, seed=0, device=torch.device("cpu")
    )

    with pytest.raises(ValueError, match="not began"):
        next(plain.training_steps(state, iter([])))
