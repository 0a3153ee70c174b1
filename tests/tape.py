"""A recorder for CPUs that keeps the rules of a CUDA graph, so that what would break one breaks here.

It records the operations of an update with the very tensors that they read and wrote, and a replay runs them
again on these: Python doesn't run, so that every number from it is as it was; addresses stay; and torch's
generator goes on from where its seed has put it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan.contract import Scalars


class Tape(TorchDispatchMode):
    """The operations that ran inside, each with its arguments and results, all kept alive."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten._local_scalar_dense:
            raise AssertionError("a recorded update must not read a value")
        results = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        self.entries.append((func, args, kwargs or {}, results))
        return found

    @torch.no_grad()
    def replay(self) -> None:
        """Run all operations again, and put each result where the recorded one lies."""
        for func, args, kwargs, results in self.entries:
            again = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
            for old, new in zip(results, again, strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """Records updates on tapes. A recording runs the update once, which a CUDA graph's doesn't.

    `record` therefore puts back torch's generator and whatever tensors the update changed in place.
    """

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def warm_up(self, update: Callable[[], Scalars]) -> Scalars:
        """Run it."""
        return update()

    def record(self, update: Callable[[], Scalars]) -> tuple[Scalars, Callable[[], None]]:
        """Record it, undoing its effects."""
        tape = Undoing()
        with tape, torch.random.fork_rng(devices=[]):
            outputs = update()
        tape.undo()
        self.tapes.append(tape)
        return outputs, tape.replay


class Undoing(Tape):
    """A tape that remembers what tensors held before an operation first wrote to them."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for argument, given in zip(func._schema.arguments, args, strict=False):
            # Batch normalisation's schema doesn't say that it writes its statistics.
            writes = argument.alias_info is not None and argument.alias_info.is_write
            if writes or argument.name in ("running_mean", "running_var"):
                for tensor in tree_leaves(given):
                    if isinstance(tensor, Tensor):
                        self._remember(tensor)
        found = super().__torch_dispatch__(func, types, args, kwargs)
        self.made |= _storages(found) - _storages((args, kwargs))  # a view is of what was there
        return found

    def _remember(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        if storage not in self.made and storage not in self.before:
            whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
            self.before[storage] = whole, whole.clone()

    def undo(self) -> None:
        """Put everything back that wasn't made on the tape itself."""
        for whole, content in self.before.values():
            whole.copy_(content)


def _storages(tree: object) -> set[int]:
    return {_storage(leaf) for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
