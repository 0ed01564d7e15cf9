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
from typing import NamedTuple

from memtrain.engines.eager import Eager
from memtrain.engines.strides import row_order
from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Phase, Role, Scope, Shape
from memtrain.graph.ops.base import Workspace
from memtrain.graph.ops.source import Leaf
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
        strides: Shape | None = None,
    ) -> None:
        self.tape, self.storage, self.shape, self.dtype = tape, storage, shape, dtype
        self.function, self.requires_grad = function, requires_grad
        self.strides = row_order(shape) if strides is None else strides
        """By axis: how many elements lie between two neighbours."""
        self.number = 0
        """Its place among the results of ``function``."""
        self.holders = 0
        """How often the engine of backward holds it as a gradient."""
        self.base: Tensor | None = None
        """The tensor of which it is a view. As in PyTorch, a view keeps it alive."""
        self.grad: Tensor | None = None
        storage.tensor_count += 1

    def __del__(self) -> None:
        self.storage.tensor_count -= 1

    def viewed(self, shape: Shape, strides: Shape | None = None) -> Tensor:
        """A tensor of another shape over the same storage, without history. It is in row order by default."""
        return self.tape.kind(self.tape, self.storage, shape, self.dtype, strides=strides)

    def view_of(self, shape: Shape, strides: Shape | None = None) -> Tensor:
        """The same as a view in the sense of autograd: it refers to the tensor that it views."""
        view = self.viewed(shape, strides)
        view.base = self.base or self
        return view


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
        tape: Tape,
        name: str,
        number: int,
        scope: Scope,
        inputs: Sequence[Tensor],
        saved: dict[str, Tensor],
        rule: Rule,
        result_count: int = 1,
    ) -> None:
        self.tape, self.name, self.number, self.scope, self.rule = tape, name, number, scope, rule
        self.result_count = result_count
        self.targets = [_target(x) for x in inputs]
        self.saved = saved

    @property
    def needs(self) -> list[bool]:
        """Whether the gradient of each input is wanted."""
        return [target is not None for target in self.targets]


class Accumulation:
    """The end of the paths of backward to a leaf: it gets the sum of their gradients."""

    result_count = 1

    def __init__(self, leaf: Tensor) -> None:
        self.leaf = leaf
        self.number = ~leaf.storage.born.id
        """A number that no function has, the same for every path to the leaf."""


class Target(NamedTuple):
    """Where a gradient goes: a function or a leaf, and for which of its results the gradient is."""

    end: Function | Accumulation
    result: int


def _target(x: Tensor) -> Target | None:
    if not x.requires_grad:
        return None
    return Target(x.function or Accumulation(x), x.number)


class Tape:
    """The record of one iteration: a node and a step for each storage that is allocated or overwritten."""

    def __init__(self, kind: type[Tensor] = Tensor) -> None:
        """``kind`` is the class of its tensors."""
        self.kind = kind
        self.builder = Builder()
        self.saved: list[Saved] = []
        self.recording = True
        """Whether functions save tensors for backward. It is off in inference (``torch.no_grad``)."""
        self._persistent: list[int] = []
        self._steps: list[tuple[int, Phase, list[int]]] = []
        self._functions = 0
        self._phase = Phase.FORWARD
        self._over = False

    def leaf(self, role: Role, name: str, shape: Shape, dtype: DType, *, trained: bool = False) -> Tensor:
        """A tensor that exists before the iteration and after it."""
        node = self.builder.apply(Leaf(role, shape, dtype), name=name)
        self._persistent.append(node.id)
        return self.kind(self, Storage(self, node), shape, dtype, requires_grad=trained)

    def new(
        self,
        name: str,
        shape: Shape,
        dtype: DType,
        *reads: Tensor,
        temporaries: Workspace = (),
        strides: Shape | None = None,
    ) -> Tensor:
        """A tensor in a new storage, allocated by the function ``name``, which reads ``reads``."""
        node = self._step(Eager(name, shape, dtype, temporaries=temporaries), reads)
        return self.kind(self, Storage(self, node), shape, dtype, strides=strides)

    def write(self, name: str, written: Tensor, *reads: Tensor, temporaries: Workspace = ()) -> None:
        """Overwrite a tensor in place."""
        held = written.storage.node
        op = Eager(name, held.shape, held.dtype, writes=0, temporaries=temporaries)
        written.storage.node = self._step(op, (written, *reads))

    def record(
        self, out: Tensor, name: str, inputs: Sequence[Tensor], saved: dict[str, Tensor], rule: Rule
    ) -> Tensor:
        """``out`` with its place in autograd's graph, if one of the inputs requires a gradient."""

        def of_one(gradients: Sequence[Tensor], needs: Sequence[bool], **saved: Tensor) -> Gradients:
            return rule(gradients[0], needs, **saved)

        return self.record_all((out,), name, inputs, saved, of_one)[0]

    def record_all(
        self,
        outs: tuple[Tensor, ...],
        name: str,
        inputs: Sequence[Tensor],
        saved: dict[str, Tensor],
        rule: Rule,
    ) -> tuple[Tensor, ...]:
        """The results of one function, with their place in autograd's graph.

        Their rule gets the gradients of all of them in one list.
        """
        if not self.recording or not any(x.requires_grad for x in inputs):
            return outs
        kept = {variable: x.viewed(x.shape, x.strides) for variable, x in saved.items()}
        self._functions += 1
        function = Function(self, name, self._functions, self.builder.scope, inputs, kept, rule, len(outs))
        for number, out in enumerate(outs):
            out.function, out.number, out.requires_grad = function, number, True
        for variable, x in kept.items():
            self.saved.append(Saved(name, variable, x.storage.node.id, self.builder.scope))
        return outs

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """A context: the steps inside it belong to this part of the iteration."""
        outside, self._phase = self._phase, phase
        with self.builder.phase(phase):
            yield
        self._phase = outside

    @contextmanager
    def within(self, scope: Scope) -> Iterator[None]:
        """A context: the tensors that are allocated inside it belong to the blocks of ``scope``."""
        outside, self.builder.scope = self.builder.scope, scope
        yield
        self.builder.scope = outside

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

    def _step(self, op: Eager, reads: Sequence[Tensor]) -> Node:
        node = self.builder.apply(op, *[x.storage.node for x in reads], label=op.name)
        self._steps.append((node.id, self._phase, []))
        return node
