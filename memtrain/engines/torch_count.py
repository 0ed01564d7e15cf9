"""The ledger of PyTorch: a count of the storages that it really makes and frees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from memtrain.graph.node import Phase, Role
from memtrain.run.ledger import Ledger


class Count(TorchDispatchMode):  # type: ignore[misc]
    """Counts the storages that PyTorch makes, in a ledger. A weak reference reports the end of each."""

    def __init__(self, ledger: Ledger, steps: Sequence[int]) -> None:
        super().__init__()
        self._ledger, self._steps = ledger, steps
        self._made = 0
        self._phase = Phase.FORWARD
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._saved, lambda tensor: tensor)

    def __enter__(self) -> Self:
        self._made = 0
        self._hooks.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)
        self._hooks.__exit__(*failure)

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self._ledger.step = self._next_step()  # before the call, which may run out of memory
        if self._phase is Phase.BACKWARD and function is torch.ops.aten.add.Tensor and len(args) == 2:
            function, args = _sum_of_gradients(*args)
        found = function(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, torch.Tensor) and self._is_new(value):
                self._ledger.step = self._next_step()
                self._made += 1
                self.born(value, Role.OPTIMIZER if self._is_state(function) else Role.TRANSIENT)
        return found

    def _next_step(self) -> int:
        """The step of the schedule that allocates the next storage."""
        return self._steps[min(self._made, len(self._steps) - 1)] if self._steps else 0

    def _is_state(self, function: Callable[..., Any]) -> bool:
        """Whether the function makes state of the optimiser, which it does in its first step."""
        return self._phase is Phase.UPDATE and function in _MAKE_STATE

    def _is_new(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor has a storage, with bytes, that the ledger does not count yet."""
        storage = tensor.untyped_storage()
        return storage.nbytes() > 0 and not self._ledger.counts(storage)

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """A context: backward, or the step of the optimiser, runs inside it."""
        self._phase = phase
        try:
            yield
        finally:
            self._phase = Phase.FORWARD

    def born(self, tensor: torch.Tensor, role: Role) -> None:
        """Count the storage of ``tensor``."""
        storage = tensor.untyped_storage()
        self._ledger.born_shared(storage, {role: storage.nbytes()})

    def gradient(self, parameter: torch.Tensor) -> None:
        """Note that backward has made the gradient of ``parameter``."""
        self.relabel([parameter.grad], Role.GRADIENT)

    def relabel(self, tensors: Iterable[object], role: Role) -> None:
        """Count the storages of those objects that are tensors under another role."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and self._ledger.counts(tensor.untyped_storage()):
                self._ledger.relabel(tensor.untyped_storage(), role)

    def _saved(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note that autograd saves ``tensor``.

        The tensor itself may be the result of the function that saves it. Then the two would refer to each
        other, and only backward would free them. So autograd is given another tensor over the same storage.
        """
        storage = tensor.untyped_storage()
        if self._ledger.role_of(storage) is Role.TRANSIENT:
            self._ledger.relabel(storage, Role.RETAINED)
        return tensor.detach()


_MAKE_STATE = (
    torch.ops.aten.zeros_like.default,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.clone.default,
)
"""The functions by which an optimiser makes its state."""

_SOLE_USES = (4, 2)
"""What `_uses` gives for a gradient that only the engine of autograd has: its use, and those of the call."""


def _uses(tensor: torch.Tensor) -> tuple[int, int]:
    """The uses of a tensor that is given to ``__torch_dispatch__``, and those of its storage."""
    return tensor._use_count(), torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


def _sum_of_gradients(
    first: torch.Tensor, second: torch.Tensor
) -> tuple[Callable[..., Any], tuple[torch.Tensor, torch.Tensor]]:
    """The op by which the engine of autograd adds two gradients, and its arguments.

    It adds in place if only it has the first, but never while a dispatch mode is on
    (``can_accumulate_inplace`` in PyTorch's input_buffer.cpp). The count is such a mode, so the count adds
    as the engine does without it.
    """
    aten = torch.ops.aten
    alone = _uses(first) == _SOLE_USES and first.shape == second.shape
    if alone and aten.is_non_overlapping_and_dense(first):
        return aten.add_.Tensor, (first, second)
    return aten.add.Tensor, (first, second)
