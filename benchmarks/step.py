"""A contender that trains: `python -m benchmarks.step LOOP`, with LOOP fp32, bf16, manual_seed or plain.

fp32 and bf16 are Gantry's loop in that precision, manual_seed is fp32 with torch.manual_seed before every
draw, plain is the textbook's. It answers requests of `benchmarks.turns`; those of one case go on with the
same networks.
"""

import itertools
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks import plain
from benchmarks.turns import Answer, serve
from gan.config import Params, load_params
from gan.contract import ImageShape, Scalars
from gan.device import pick_device, prepare_torch
from gan.randomness import derive_seed
from gan.training import TrainState, new_train_state, training_steps

PARAMS = Path("params.yaml")
LOOPS = ("fp32", "bf16", "manual_seed", "plain")


@cache
def read_params() -> Params:
    """Read params.yaml, which takes longer than a step, once."""
    return load_params(PARAMS)


@dataclass(frozen=True)
class Case:
    """What is trained. The recipe is a data set's; images are of the given side, in its channels."""

    dataset: str
    variant: str
    side: int
    batch: int
    threads: int = 1
    cuda: bool = False

    @property
    def name(self) -> str:
        """Variant and size of the images."""
        return f"{self.variant} {self.image.height}x{self.image.width}x{self.image.channels}"

    @property
    def image(self) -> ImageShape:
        """Shape of one image; points of the plane keep theirs."""
        shape = read_params().datasets[self.dataset].shape
        if shape.height != shape.width:
            return shape
        return ImageShape(shape.channels, self.side, self.side)


class FlopCounter(TorchDispatchMode):
    """Counts the operations of convolutions and matrix products, two for a multiplication with its sum.

    Those that are done: a convolution by tiles (`gan.networks.winograd`) has its fewer ones.

    torch's own FlopCounterMode also follows modules, by hooks that `autograd.grad` refuses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if func.name().startswith("mkldnn::_linear_pointwise"):  # `gan.networks.products`
            self.total += 2 * args[0].numel() * found.shape[-1]
        elif count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=found)
        return found


class Training:
    """A run of one case past any warm-up of the critic, its first step done and its operations counted."""

    def __init__(self, case: Case, loop: str) -> None:
        self.case = case
        self.state = new_state(case, loop)
        kept = [torch.rand(case.batch, *case.image) * 2 - 1 for _ in range(4)]
        if case.cuda:
            kept = [batch.pin_memory() for batch in kept]  # as those of training are
        run = plain.training_steps if loop == "plain" else training_steps
        self._steps: Iterator[Scalars | dict[str, float]] = run(self.state, itertools.cycle(kept))
        with FlopCounter() as counter:
            next(self._steps)
        self.flops = counter.total
        next(self._steps)

    def run(self, seconds: float) -> Answer:
        """Train for this long, at least one step."""
        seen, begin = self.state.step, self._now()
        while (taken := self._now() - begin) < seconds or self.state.step == seen:
            next(self._steps)
        taken = self._now() - begin
        steps = self.state.step - seen
        critic_steps = self.state.gan.objective.critic_steps(self.state.step)
        return {
            "images": steps * critic_steps * self.case.batch,  # that the critic sees
            "seconds": taken,
            "gflop": self.flops * steps / 1e9,
            "peak_mb": self._peak(),
        }

    def _peak(self) -> int:
        """Most memory that was in use, of the device, in MiB."""
        if self.case.cuda:
            return torch.cuda.max_memory_allocated() // 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    def _now(self) -> float:
        if self.case.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def new_state(case: Case, loop: str) -> TrainState:
    """Build the run of a case in a torch prepared as for training.

    The textbook's stays in the layout and among the settings that torch begins with.
    """
    params = read_params()
    method = params.recipes[case.dataset][case.variant].method.model_copy(update={"batch_size": case.batch})
    textbook, precision = loop == "plain", "bf16" if loop == "bf16" else "fp32"
    update = {"precision": precision, "channels_last": not textbook, "num_threads": case.threads}
    train = params.train.model_copy(update=update)
    if textbook:
        torch.set_num_threads(case.threads)
    else:
        prepare_torch(train)
    device = pick_device() if case.cuda else torch.device("cpu")
    state = new_train_state(method, case.image, train, steps=10**6, seed=0, device=device)
    state.step = 100
    if loop == "manual_seed":
        state.seed_draws = partial(_seed_all, state)  # type: ignore[method-assign]
    return state


def _seed_all(state: TrainState, purpose: str, inner: int = 0) -> None:
    """Seed every generator that torch has, with the seed of `TrainState.seed_draws`."""
    torch.manual_seed(derive_seed(state.seed, purpose, state.step, inner))


def main() -> None:
    """Answer {"case": {...}, "seconds": ...} until the end of stdin."""
    loop = sys.argv[1]
    current: list[Training] = []

    def answer(request: dict[str, Any]) -> Answer:
        case = Case(**request["case"])
        if not current or current[0].case != case:
            current.clear()
            current.append(Training(case, loop))
        return current[0].run(request["seconds"])

    serve(answer)


if __name__ == "__main__":
    main()
