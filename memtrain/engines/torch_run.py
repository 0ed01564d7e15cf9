"""A run of PyTorch: the network, the optimiser and the loop as its users write them. It needs PyTorch.

`TorchRun` has the methods of our own runs, so the meters watch it in the same way. Its ledger counts the
storages that PyTorch really makes, and does not use the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import torch
import torch._dynamo  # every optimiser imports it in its first step; here it is imported before the fork
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from memtrain.engines.groups import decays
from memtrain.engines.networks import loss, output
from memtrain.engines.strides import is_dense
from memtrain.graph.node import DType, Role, Shape
from memtrain.graph.ops.base import Array
from memtrain.models.network import Network
from memtrain.run.ledger import Ledger

_MOMENTUM = 0.9
_OF_TENSOR, _OF_STORAGE = 4, 2
"""How often a gradient and its storage are held in `_as_unwatched`, if only the engine has it besides."""


class TorchRun:
    """A network in PyTorch with one batch size. It trains with ``optimizer``; with ``None`` it predicts."""

    def __init__(
        self,
        network: Network,
        batch: int,
        optimizer: str | None,
        rate: float = 0.0,
        *,
        foreach: bool = False,
        threads: int = 1,
        ledger: Ledger | None = None,
        steps: Sequence[int] = (),
    ) -> None:
        """``steps`` are those of the schedule that allocate. They only tell the ledger which step runs."""
        torch.set_num_threads(threads)
        self._network, self._optimizer_name, self._rate, self._foreach = network, optimizer, rate, foreach
        model = network.build(batch)
        self._parameters = model.parameters
        self._learned = {node.name for node in model.trainable} if optimizer else set()
        self._feeds = model.feeds[: 2 if optimizer else 1]
        self._count = _Count(ledger, steps) if ledger is not None else None
        self._f = SimpleNamespace(
            **{**vars(torch), **vars(functional)},
            block=lambda *_: nullcontext(),
            training=optimizer is not None,
        )
        self._t: dict[str, torch.Tensor] = {}
        self._given: dict[str, torch.Tensor] = {}
        self._optimizer: torch.optim.Optimizer | None = None

    def load(self, values: Mapping[str, Array]) -> None:
        """Make the parameters with these values, the buffers of the batch, and the optimiser."""
        self._optimizer = None
        self._t, self._given = {}, {}
        for node in self._parameters:
            tensor = torch.zeros(_torch_shape(node.shape), dtype=_torch_type(node.dtype))
            if node.name in values:
                tensor.numpy()[...] = _as_torch(values[node.name])
            self._t[node.name] = torch.nn.Parameter(tensor) if node.name in self._learned else tensor
            self._born(tensor, Role.PARAMETER)
            if self._count is not None and node.name in self._learned:
                self._t[node.name].register_post_accumulate_grad_hook(self._count.gradient)
        for node in self._feeds:
            self._given[node.name] = torch.zeros(_torch_shape(node.shape), dtype=_torch_type(node.dtype))
            self._born(self._given[node.name], Role.INPUT)
        if self._optimizer_name:
            self._optimizer = self._make_optimizer(self._optimizer_name)

    def feed(self, values: Mapping[str, Array]) -> None:
        """Copy a batch (values by name) into its buffers."""
        for name, tensor in self._given.items():
            tensor.numpy()[...] = _as_torch(values[name])

    def prepare(self) -> None:
        """Do nothing. The method exists because other runs have one."""

    def iterate(self) -> list[Array]:
        """Run one iteration; returns the objective, or the outputs in inference."""
        with self._count or nullcontext():
            found = self._train() if self._optimizer else self._predict()
        # Outside of the count, which would take the array for a new storage.
        return [found.numpy() if isinstance(found, torch.Tensor) else np.asarray(found)]

    def _predict(self) -> torch.Tensor:
        with torch.no_grad():
            return self._output()

    def _train(self) -> float:
        optimizer = self._optimizer
        assert optimizer is not None
        optimizer.zero_grad()
        found = self.loss()
        found.backward()
        regulariser = 0.0 if self._count is None else self._regulariser()
        optimizer.step()
        if self._count is not None:
            state = (value for held in optimizer.state.values() for value in held.values())
            self._count.relabel(state, Role.OPTIMIZER)
        return float(found.item()) + regulariser

    def loss(self) -> torch.Tensor:
        """The loss of the batch in the buffers, with its history."""
        found: torch.Tensor = loss(self._network, self._f, self._output(), self._given["y"])
        return found

    def value(self, name: str) -> Array:
        """The values of a parameter, with its axes in memtrain's order."""
        found: Array = self._t[name].detach().numpy()
        return np.moveaxis(found, 1, 3) if found.ndim == 4 else found

    def _output(self) -> torch.Tensor:
        found: torch.Tensor = output(self._network, self._f, self._t, self._given["x"])
        return found

    def _born(self, tensor: torch.Tensor, role: Role) -> None:
        if self._count is not None:
            self._count.born(tensor, role)

    def _make_optimizer(self, name: str) -> torch.optim.Optimizer:
        groups = [
            {"params": [self._t[each] for each in names], "weight_decay": decay}
            for names, decay in decays(self._network, [each for each in self._t if each in self._learned])
        ]
        if name == "adam":
            return torch.optim.Adam(groups, lr=self._rate, foreach=self._foreach)
        momentum = _MOMENTUM if name == "momentum" else 0.0
        return torch.optim.SGD(groups, lr=self._rate, momentum=momentum, foreach=self._foreach)

    def _regulariser(self) -> float:
        """λ/2 Σ‖W‖², which the optimiser's weight decay stands for. No array is made for it."""
        groups = decays(self._network, list(self._learned))
        total = 0.0
        for names, factor in groups:
            for weight in (self._t[name].detach().numpy().reshape(-1) for name in names):
                total += factor / 2 * float(np.dot(weight, weight))
        return total


class _Count(TorchDispatchMode):  # type: ignore[misc]
    """Counts the storages that PyTorch makes, in a ledger. A weak reference reports the end of each."""

    def __init__(self, ledger: Ledger, steps: Sequence[int]) -> None:
        super().__init__()
        self._ledger, self._steps = ledger, steps
        self._made = 0
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
        found = _as_unwatched(function, args)
        if found is None:
            found = function(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, torch.Tensor) and not self._ledger.counts(value.untyped_storage()):
                if self._steps:
                    self._ledger.step = self._steps[min(self._made, len(self._steps) - 1)]
                self._made += 1
                self.born(value, Role.TRANSIENT)
        return found

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
            if isinstance(tensor, torch.Tensor):
                self._ledger.relabel(tensor.untyped_storage(), role)

    def _saved(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note that autograd saves ``tensor``."""
        storage = tensor.untyped_storage()
        if self._ledger.role_of(storage) is Role.TRANSIENT:
            self._ledger.relabel(storage, Role.RETAINED)
        return tensor


def _as_unwatched(function: Callable[..., Any], args: Sequence[Any]) -> torch.Tensor | None:
    """The sum of two gradients in the storage of the first, if PyTorch puts it there while not watched.

    Autograd's engine adds in place if nothing else holds the first gradient, but never while a dispatch mode
    is active (``input_buffer.cpp``). Here the engine and this call hold it, and this call its storage.
    """
    if function is not torch.ops.aten.add.Tensor or torch._C._current_graph_task_id() < 0:
        return None
    first, second = args
    if first.shape != second.shape or not is_dense(first.shape, first.stride()):
        return None
    storage = first.untyped_storage()
    uses = first._use_count(), torch._C._storage_Use_Count(storage._cdata)
    if uses == (_OF_TENSOR, _OF_STORAGE):
        return first.add_(second)
    return None


def _torch_shape(shape: Shape) -> tuple[int, ...]:
    """A shape of memtrain with its axes in PyTorch's order: channels of images and kernels come second."""
    sizes = tuple(map(int, shape))
    return (sizes[0], sizes[3], *sizes[1:3]) if len(sizes) == 4 else sizes


def _torch_type(dtype: DType) -> torch.dtype:
    found: torch.dtype = getattr(torch, dtype.name)
    return found


def _as_torch(value: Array) -> Array:
    """A view of an array of memtrain with its axes in PyTorch's order."""
    return np.moveaxis(value, 3, 1) if value.ndim == 4 else value
