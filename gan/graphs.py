"""Owns recording an update once and replaying it: on a GPU, as a CUDA graph.

At 28 pixels a GPU computes a kernel in less time than Python needs to launch it; a replay launches a
whole update at once. What is recorded is kernels and addresses, not Python. Therefore a number that
changes between updates must be a tensor, filled beforehand; random numbers come from torch's global
generator, which is seeded before each replay; inputs are copied to where the recorded ones lay; and
outputs are overwritten by the next replay. An update that isn't recorded runs the same functions, so that
its tests are the tests of both.

CudaRecorder has never run on a GPU. tests/tape.py records on a CPU what it would record, and replays it.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gan.contract import Scalars
from gan.networks.layers import keep_derived

WARM_UPS = 3  # real updates before the recording, in which optimisers and libraries allocate what they keep

Update = Callable[..., Scalars]


class Recorder(Protocol):
    """Runs updates, and records them."""

    def warm_up(self, update: Callable[[], Scalars]) -> Scalars:
        """Run an update that isn't recorded yet."""

    def record(self, update: Callable[[], Scalars]) -> tuple[Scalars, Callable[[], None]]:
        """Record an update. Returns its outputs, and what fills them: a replay."""


class RecordedUpdate:
    """An update that is recorded after three calls and replayed from then on.

    Its inputs must keep their shapes. Its outputs are valid until the next call.
    """

    def __init__(self, update: Update, recorder: Recorder) -> None:
        self._update, self._recorder = update, recorder
        self._calls = 0
        self._inputs: list[Tensor] = []
        self._outputs: Scalars = {}
        self._replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> Scalars:
        """Run the update on these inputs."""
        if self._calls == 0:
            self._inputs = [torch.empty_like(given) for given in inputs]
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        self._calls += 1
        if self._calls <= WARM_UPS:
            return self._recorder.warm_up(self._run)
        if self._replay is None:
            self._outputs, self._replay = self._recorder.record(self._run)
        self._replay()
        return self._outputs

    def _run(self) -> Scalars:
        with keep_derived():  # of its own: what another update derived isn't derived again in a replay
            return self._update(*self._inputs)


class CudaRecorder:
    """Records CUDA graphs. All updates, recorded or not, run on one stream beside the default one."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def warm_up(self, update: Callable[[], Scalars]) -> Scalars:
        """Run it on the stream that the recording takes, since torch keeps state for each stream."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = update()
        torch.cuda.current_stream().wait_stream(self._stream)
        return outputs

    def record(self, update: Callable[[], Scalars]) -> tuple[Scalars, Callable[[], None]]:
        """Record it in a memory pool of its own, so that one update's outputs outlast the other's replay."""
        graph = torch.cuda.CUDAGraph()
        # The other modes forbid allocations in other threads, and one of these reads and pins batches ahead.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            outputs = update()
        return outputs, graph.replay
