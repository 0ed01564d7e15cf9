"""A run of PyTorch: the network, the optimiser and the loop as its users write them. It needs PyTorch.

`TorchRun` has the methods of our own runs, so the meters watch it in the same way. Its ledger counts the
storages that PyTorch really makes, and does not use the prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from math import inf
from types import SimpleNamespace

import numpy as np
import torch
import torch._dynamo  # every optimiser imports it in its first step; here it is imported before the fork
from torch.nn import functional

from memtrain.engines.groups import decays
from memtrain.engines.layout import Layout, torch_shape
from memtrain.engines.loop import Loop
from memtrain.engines.networks import loss, output
from memtrain.engines.torch_count import Count
from memtrain.graph.node import DType, Phase, Role, Shape
from memtrain.graph.ops.base import Array
from memtrain.models.network import Network
from memtrain.run.ledger import Ledger
from memtrain.training.keeping import AFTER_UPDATE, KEPT

_MOMENTUM = 0.9

_WARM_SIZE = 512
"""The size of a product for which MKL takes the buffers of a large one."""


class TorchRun:
    """A network in PyTorch with one batch size, which trains or predicts.

    The threads are those of the process, which PyTorch reads from OMP_NUM_THREADS.
    """

    def __init__(
        self,
        network: Network,
        batch: int,
        loop: Loop,
        rate: float | None,
        *,
        with_history: bool = False,
        ledger: Ledger | None = None,
        steps: Sequence[int] = (),
        most_counted: int | None = None,
    ) -> None:
        """It trains at the learning ``rate``; with ``None`` it predicts, ``with_history`` or without.

        ``steps`` are those of the schedule that allocate. They only tell the ledger which step runs.

        Counting takes longer than a small step, so only ``most_counted`` iterations are counted, if given.
        """
        self._left = inf if most_counted is None else most_counted
        _take_buffers()
        self._network, self._loop, self._rate = network, loop, rate
        trains = rate is not None
        self._with_history = with_history
        self._layout = Layout(network)
        model = network.build(batch)
        self._parameters = model.parameters
        self._learned = {node.name for node in model.trainable}
        self._groups = decays(network, [node.name for node in model.parameters if node.name in self._learned])
        self._parts = self._slices(batch)
        self._feeds = model.feeds[: 2 if trains else 1]
        self._count = Count(ledger, steps) if ledger is not None else None
        self._f = SimpleNamespace(
            **{**vars(torch), **vars(functional)},
            block=lambda *_: nullcontext(),
            training=trains,
            inplace=loop.inplace,
        )
        self._t: dict[str, torch.Tensor] = {}
        self._given: dict[str, torch.Tensor] = {}
        self._optimizer: torch.optim.Optimizer | None = None

    def load(self, values: Mapping[str, Array]) -> None:
        """Make the parameters with these values, the buffers of the batch, and the optimiser."""
        self._optimizer = None
        self._t, self._given = {}, {}
        with _memory_errors():
            self._load(values)

    def _load(self, values: Mapping[str, Array]) -> None:
        for node in self._parameters:
            tensor = _empty(node.shape, node.dtype)
            if node.name in values:
                self._layout.copy_in(node.name, values[node.name], tensor.numpy())
            self._t[node.name] = torch.nn.Parameter(tensor) if node.name in self._learned else tensor
            self._born(tensor, Role.PARAMETER)
            if self._count is not None and node.name in self._learned:
                self._t[node.name].register_post_accumulate_grad_hook(self._count.gradient)
        for node in self._feeds:
            self._given[node.name] = _empty(node.shape, node.dtype)
            self._born(self._given[node.name], Role.INPUT)
        if self._rate is not None:
            self._optimizer = self._make_optimizer(self._rate)

    def feed(self, values: Mapping[str, Array]) -> None:
        """Copy a batch (values by name) into its buffers."""
        for name, tensor in self._given.items():
            self._layout.copy_in(name, values[name], tensor.numpy())

    def prepare(self) -> None:
        """Do nothing. The method exists because other runs have one."""

    def iterate(self) -> list[Array]:
        """Run one iteration; returns the objective, or the outputs in inference. Raises ``MemoryError``."""
        counting = self._count if self._count is not None and self._left > 0 else nullcontext()
        self._left -= 1
        with _memory_errors(), counting:
            found = self._train() if self._optimizer else self._predict()
        # Outside of the count, which would take the array for a new storage.
        return [found.numpy() if isinstance(found, torch.Tensor) else np.asarray(found)]

    def _predict(self) -> torch.Tensor:
        with torch.set_grad_enabled(self._with_history):
            return self._output().detach()

    def _train(self) -> float:
        optimizer = self._optimizer
        assert optimizer is not None
        gradients, retain_graph = self._loop.keeping
        if gradients != AFTER_UPDATE:
            optimizer.zero_grad(set_to_none=gradients != KEPT)
        total = 0.0
        for rows in self._parts:
            found = self.loss(rows)
            if len(self._parts) > 1:
                found = found / len(self._parts)
            with self._count.during(Phase.BACKWARD) if self._count else nullcontext():
                found.backward(retain_graph=retain_graph)
            total += float(found.item())
        regulariser = 0.0 if self._count is None else self._regulariser()
        with self._count.during(Phase.UPDATE) if self._count else nullcontext():
            optimizer.step()
        if self._count is not None:
            state = (value for held in optimizer.state.values() for value in held.values())
            self._count.relabel(state, Role.OPTIMIZER)
        if gradients == AFTER_UPDATE:
            optimizer.zero_grad()
        return total + regulariser

    def loss(self, rows: slice = slice(None)) -> torch.Tensor:
        """The loss of the batch in the buffers, or of some of its rows, with its history."""
        found: torch.Tensor = loss(self._network, self._f, self._output(rows), self._given["y"][rows])
        return found

    def value(self, name: str) -> Array:
        """The values of a parameter, with its axes in memtrain's order."""
        return self._layout.taken_out(name, self._t[name].detach().numpy())

    def _output(self, rows: slice = slice(None)) -> torch.Tensor:
        found: torch.Tensor = output(self._network, self._f, self._t, self._given["x"][rows])
        return found

    def _slices(self, batch: int) -> list[slice]:
        """The rows of each micro-batch."""
        size = batch // self._loop.accumulate
        return [slice(start, start + size) for start in range(0, batch, size)]

    def _born(self, tensor: torch.Tensor, role: Role) -> None:
        if self._count is not None:
            self._count.born(tensor, role)

    def _make_optimizer(self, rate: float) -> torch.optim.Optimizer:
        name, kind = self._loop.optimizer, {"foreach": self._loop.foreach, "fused": self._loop.fused}
        groups = [
            {"params": [self._t[each] for each in names], "weight_decay": decay}
            for names, decay in self._groups
        ]
        if name == "adam":
            return torch.optim.Adam(groups, lr=rate, **kind)
        momentum = _MOMENTUM if name == "momentum" else 0.0
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, **kind)

    def _regulariser(self) -> float:
        """λ/2 Σ‖W‖², which the optimiser's weight decay stands for. No array is made for it."""
        total = 0.0
        for names, factor in self._groups:
            for weight in (self._t[name].detach().numpy().reshape(-1) for name in names):
                total += factor / 2 * float(np.dot(weight, weight))
        return total


def _take_buffers() -> None:
    """Multiply two matrices, so that MKL takes its buffers before anything is measured."""
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(_WARM_SIZE, _WARM_SIZE, dtype=dtype)
        torch.mm(x, x)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """A context that raises ``MemoryError`` where PyTorch raises a ``RuntimeError`` for lack of memory."""
    try:
        yield
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def _empty(shape: Shape, dtype: DType) -> torch.Tensor:
    """A tensor of zeros for a value that has this shape in memtrain."""
    return torch.zeros(tuple(map(int, torch_shape(shape))), dtype=_torch_type(dtype))


def _torch_type(dtype: DType) -> torch.dtype:
    found: torch.dtype = getattr(torch, dtype.name)
    return found
