"""PyTorch's memory without PyTorch: tensors that have shapes and storages, but no values.

A network is written once, as functions of tensors. With PyTorch's functions it trains. With those of
`memtrain.engines.functions` it only reports when a storage is allocated and when it dies. As in PyTorch, a
storage dies with the last reference to it, so the same code frees the same storages at the same time. The
record is a schedule. So liveness, peaks and reports are those of every other schedule.

Sources: PyTorch 2.13, ``torch/csrc/autograd/engine.cpp`` (order and release) and
``tools/autograd/derivatives.yaml`` (what is saved).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import prod
from typing import NamedTuple

from memtrain.engines.eager import Eager
from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Phase, Role, Scope, Shape
from memtrain.graph.ops.base import Workspace
from memtrain.graph.ops.source import Leaf
from memtrain.graph.size import product
from memtrain.planning.schedule import Schedule, Step


class Storage:
    """The bytes of one or more tensors. It reports its end to the tape."""

    def __init__(self, tape: Tape, node: Node) -> None:
        self._tape, self.born = tape, node
        self.tensor_count = 0
        """The tensors over these bytes."""
        self.node = node
        """The node of the present value: the last that was written."""

    def __del__(self) -> None:
        self._tape.freed(self.born)


class Tensor:
    """A shape over a storage. ``function`` is the autograd function that made it; ``None`` for a leaf."""

    def __init__(
        self,
        tape: Tape,
        storage: Storage,
        shape: Shape,
        dtype: DType,
        function: Function | None = None,
        requires_grad: bool = False,
    ) -> None:
        self.tape, self.storage, self.shape, self.dtype = tape, storage, shape, dtype
        self.function, self.requires_grad = function, requires_grad
        self.grad: Tensor | None = None
        storage.tensor_count += 1

    def __del__(self) -> None:
        self.storage.tensor_count -= 1

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def viewed(self, shape: Shape) -> Tensor:
        """A tensor of another shape over the same storage, without history."""
        return Tensor(self.tape, self.storage, shape, self.dtype)

    def __add__(self, other: Tensor) -> Tensor:
        """The sum of two tensors of one shape. Both inputs get the same gradient."""

        def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
            for needed in needs:
                yield g.viewed(g.shape) if needed else None

        out = self.tape.new("add", self.shape, self.dtype, self, other)
        return self.tape.record(out, "AddBackward0", (self, other), {}, rule)

    def flatten(self, start_dim: int) -> Tensor:
        """A view with all axes from ``start_dim`` on as one."""
        shape = self.shape

        def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
            yield g.viewed(shape)

        out = self.viewed((*shape[:start_dim], product(shape[start_dim:])))
        return self.tape.record(out, "ViewBackward0", (self,), {}, rule)

    def mean(self, dim: tuple[int, ...]) -> Tensor:
        """The mean over some axes. Its gradient is spread over them: divided, with the shape of the input."""
        shape = self.shape

        def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
            yield g.tape.new("div", shape, g.dtype, g)

        kept = tuple(size for axis, size in enumerate(shape) if axis not in dim)
        out = self.tape.new("mean", kept, self.dtype, self)
        return self.tape.record(out, "MeanBackward1", (self,), {}, rule)


class Saved(NamedTuple):
    """A tensor that an autograd function saves: as PyTorch names both, ``ReluBackward0`` and ``result``."""

    function: str
    variable: str
    node: int
    scope: Scope


Gradients = Iterator[Tensor | None]
Rule = Callable[..., Gradients]
"""A backward rule. From the gradient of the output, whether each input needs a gradient, and the saved
tensors by name, it yields a gradient for each input in order; ``None`` for an input that needs none. It must
refer to no tensor besides, since a reference would keep a storage alive."""


class Function:
    """A node of autograd's graph: what it saved, the inputs whose gradients it gives, and its rule."""

    def __init__(
        self,
        name: str,
        number: int,
        scope: Scope,
        inputs: Sequence[Tensor],
        saved: dict[str, Tensor],
        rule: Rule,
    ) -> None:
        self.name, self.number, self.scope, self.rule = name, number, scope, rule
        self.targets = [_target(x) for x in inputs]
        self.saved = saved

    @property
    def needs(self) -> list[bool]:
        """Whether the gradient of each input is wanted."""
        return [target is not None for target in self.targets]


class Accumulation:
    """The end of a path of backward: adds a gradient to that of a leaf."""

    def __init__(self, leaf: Tensor) -> None:
        self.leaf = leaf


Target = Function | Accumulation | None


def _target(x: Tensor) -> Target:
    if not x.requires_grad:
        return None
    return x.function or Accumulation(x)


class Tape:
    """The record of one iteration: a node and a step for each storage that is allocated or overwritten."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.saved: list[Saved] = []
        self.recording = True
        """Whether functions save tensors for backward. It is off in inference (``torch.no_grad``)."""
        self._persistent: list[int] = []
        self._steps: list[tuple[int, Phase, list[int]]] = []
        self._functions = 0
        self._function: Function | None = None
        self._phase = Phase.FORWARD
        self._over = False

    def leaf(self, role: Role, name: str, shape: Shape, dtype: DType, *, trained: bool = False) -> Tensor:
        """A tensor that exists before the iteration and after it."""
        node = self.builder.apply(Leaf(role, shape, dtype), name=name)
        self._persistent.append(node.id)
        return Tensor(self, Storage(self, node), shape, dtype, requires_grad=trained)

    def new(
        self,
        name: str,
        shape: Shape,
        dtype: DType,
        *reads: Tensor,
        temporaries: Workspace = (),
        flops: int = 0,
    ) -> Tensor:
        """A tensor in a new storage, allocated by the function ``name``, which reads ``reads``.

        ``flops`` are those of a product; other functions are counted by their elements.
        """
        op = Eager(name, shape, dtype, None, temporaries, *self._reading(reads), flops)
        return Tensor(self, Storage(self, self._step(op, reads)), shape, dtype)

    def write(self, name: str, written: Tensor, *reads: Tensor, temporaries: Workspace = ()) -> None:
        """Overwrite a tensor in place."""
        held = written.storage.node
        op = Eager(name, held.shape, held.dtype, 0, temporaries, *self._reading((written, *reads)))
        written.storage.node = self._step(op, (written, *reads))

    def record(
        self, out: Tensor, name: str, inputs: Sequence[Tensor], saved: dict[str, Tensor], rule: Rule
    ) -> Tensor:
        """``out`` with its place in autograd's graph, if one of the inputs requires a gradient."""
        if not self.recording or not any(x.requires_grad for x in inputs):
            return out
        kept = {variable: x.viewed(x.shape) for variable, x in saved.items()}
        self._functions += 1
        out.function = Function(name, self._functions, self.builder.scope, inputs, kept, rule)
        out.requires_grad = True
        for variable, x in kept.items():
            self.saved.append(Saved(name, variable, x.storage.node.id, self.builder.scope))
        return out

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """A context: the steps inside it belong to this part of the iteration."""
        outside, self._phase = self._phase, phase
        with self.builder.phase(phase):
            yield
        self._phase = outside

    @contextmanager
    def within(self, function: Function) -> Iterator[None]:
        """A context: the backward of ``function`` runs inside it, in the blocks in which it was called."""
        outside, self.builder.scope = self.builder.scope, function.scope
        self._function = function
        yield
        self.builder.scope, self._function = outside, None

    def block(self, kind: str, number: int | None = None) -> AbstractContextManager[None]:
        """A context: the tensors that are allocated inside it belong to this block."""
        return self.builder.block(kind, number)

    def freed(self, node: Node) -> None:
        """A storage has died. The step before frees it."""
        if self._steps and not self._over:
            self._steps[-1][2].append(node.id)

    def schedule(self, asked: Sequence[Tensor]) -> Schedule:
        """The record as a schedule. What still lives lives until its end, among it ``asked``."""
        self._over = True
        steps = [Step(index, phase, None, tuple(frees)) for index, phase, frees in self._steps]
        ids = tuple(x.storage.born.id for x in asked)
        return Schedule(self.builder.graph(), tuple(steps), ids, tuple(self._persistent))

    def _reading(self, reads: Sequence[Tensor]) -> tuple[str, tuple[tuple[int, str], ...]]:
        """The function whose backward runs, and those of ``reads`` that it saved."""
        if self._function is None:
            return "", ()
        variables = {id(x): variable for variable, x in self._function.saved.items()}
        found = [(at, variables[id(x)]) for at, x in enumerate(reads) if id(x) in variables]
        return self._function.name, tuple(found)

    def _step(self, op: Eager, reads: Sequence[Tensor]) -> Node:
        name = ".".join([*map(str, self.builder.scope), op.name])
        node = self.builder.apply(op, *[x.storage.node for x in reads], name=name, label=op.name)
        self._steps.append((node.id, self._phase, []))
        return node
