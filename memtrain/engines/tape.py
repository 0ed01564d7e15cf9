"""PyTorch's memory without PyTorch: tensors that have shapes and storages, but no values.

A network is written once, as functions of tensors. With PyTorch's functions it trains. With those of
`memtrain.engines.functions` it only reports when a storage is allocated and when it dies. As in PyTorch, a
storage dies with the last reference to it, so the same code frees the same storages at the same time. The
record is a schedule. So liveness, peaks and reports are those of every other schedule.

Sources: PyTorch 2.13, ``torch/csrc/autograd/engine.cpp`` (order and release) and
``tools/autograd/derivatives.yaml`` (what is saved).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from memtrain.engines.eager import Eager
from memtrain.engines.history import Function, Gradients, Rule, Saved
from memtrain.engines.strides import row_order
from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Phase, Role, Shape
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
        self._function: Function | None = None
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
        flops: int = 0,
        lasts_as: Role | None = None,
    ) -> Tensor:
        """A tensor in a new storage, allocated by the function ``name``, which reads ``reads``.

        ``flops`` are those of a product; other functions are counted by their elements.
        """
        op = Eager(name, shape, dtype, None, temporaries, *self._reading(reads), flops, lasts_as)
        return self.kind(self, Storage(self, self._step(op, reads)), shape, dtype, strides=strides)

    def write(self, name: str, written: Tensor, *reads: Tensor, temporaries: Workspace = ()) -> None:
        """Overwrite a tensor in place."""
        held = written.storage.node
        op = Eager(name, held.shape, held.dtype, 0, temporaries, *self._reading((written, *reads)))
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

    def schedule(self, asked: Sequence[Tensor], held: Sequence[int] = ()) -> Schedule:
        """The record as a schedule. What still lives lives until its end, among it ``asked`` and ``held``."""
        self._over = True
        steps = [Step(index, phase, None, tuple(frees)) for index, phase, frees in self._steps]
        ids = tuple(x.storage.born.id for x in asked)
        graph = self.builder.graph()
        computed = tuple(i for i in held if not graph[i].role)
        return Schedule(graph, tuple(steps), ids, tuple(self._persistent), computed)

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
