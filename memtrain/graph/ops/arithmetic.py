"""Sums and products of any rank, and the primitives that gradient rules build from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Op, Workspace, input_of, number
from memtrain.graph.ops.blockwise import Elementwise
from memtrain.graph.ops.broadcast import ONES, Broadcast, check_broadcasts, sum_rows, summed_rows
from memtrain.graph.ops.source import Fill
from memtrain.graph.size import carries_batch, least, product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Add(Broadcast):
    """a + b."""

    name = "add"
    ufunc = np.add
    summands = (0, 1)
    glyph = "+"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return " + ".join(map(w.term, inputs))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        for position in wanted:
            yield position, sum_to(b, cotangent, input_of(b, node, position).shape)


@dataclass(frozen=True)
class Multiply(Broadcast):
    """a · b, element by element."""

    name = "multiply"
    ufunc = np.multiply
    glyph = "⊙"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return (" ⊙ " if all(given.shape for given in inputs) else " ").join(map(w.term, inputs))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        product = None
        for position in wanted:
            if product is None or node.inputs[0] != node.inputs[1]:
                product = _times(b, cotangent, input_of(b, node, 1 - position))
            yield position, sum_to(b, product, input_of(b, node, position).shape)


@dataclass(frozen=True)
class Scale(Elementwise):
    """c · x for a constant c; ``symbol`` is the book's symbol for c (λ/2)."""

    factor: float
    symbol: str = ""

    name = "scale"
    reuses = (0,)

    @property
    def drawn(self) -> str:
        return self.symbol or f"{self.factor:g}"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{self.drawn} {w.term(inputs[0])}"

    def constant(self, w: Writer, *inputs: Node) -> float | None:
        given = w.constant(inputs[0])
        return None if given is None else self.factor * given

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(inputs[0], number(self.factor, out.dtype), out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(self, cotangent)


@dataclass(frozen=True)
class Shift(Elementwise):
    """x + c for a constant c."""

    amount: float

    name = "shift"
    reuses = (0,)

    @property
    def drawn(self) -> str:
        return f"+{self.amount:g}"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])} + {self.amount:g}"

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.add(inputs[0], number(self.amount, out.dtype), out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, cotangent


@dataclass(frozen=True)
class Exp(Elementwise):
    """e to the x. The vjp rule reads the output."""

    name = "exp"
    reuses = (0,)
    reads_output = True

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"exp({w.term(inputs[0])})"

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.exp(inputs[0], out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, multiply(b, cotangent, node)


@dataclass(frozen=True)
class SumTo(Op):
    """The sum over the axes along which ``shape`` was broadcast: the vjp of broadcasting."""

    shape: Shape

    name = "sum_to"
    adds_vjp = (0,)
    glyph = "Σ"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        over = "_n" if carries_batch(inputs[0].shape) and not carries_batch(node.shape) else ""
        return f"Σ{over} {w.term(inputs[0])}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        check_broadcasts(self, self.shape, x.shape, x)
        return self.shape, x.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        (x,) = inputs
        rows, columns = summed_rows(x.shape, self.shape)
        return ((least(ONES, rows), x.dtype), (product(columns), x.dtype)) if rows else ()

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        if work:
            sum_rows(out.reshape(-1), x.reshape(-1, out.size), work)
            return
        lead = x.ndim - len(self.shape)
        kept = (1,) * lead + self.shape
        axes = tuple(i for i, size in enumerate(kept) if size == 1 and x.shape[i] != 1)
        np.add.reduce(x, axis=axes, out=out.reshape(kept), keepdims=True)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(BroadcastTo(input_of(b, node, 0).shape), cotangent)

    def add_vjp(self, b: Builder, node: Node, position: int, cotangent: Node, into: Node) -> Node:
        return add(b, into, cotangent)


@dataclass(frozen=True)
class BroadcastTo(Op):
    """The input repeated along new axes and axes of size 1, in an array with its own bytes."""

    shape: Shape

    name = "broadcast_to"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        check_broadcasts(self, x.shape, self.shape, x)
        return self.shape, x.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.copyto(out, inputs[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, sum_to(b, cotangent, input_of(b, node, 0).shape)


@dataclass(frozen=True)
class Copy(Op):
    """The same values with bytes in row order, for a kernel that cannot read a transposed or sliced view."""

    name = "copy"
    strided = True

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return inputs[0].shape, inputs[0].dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.copyto(out, inputs[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, cotangent


def add(b: Builder, x: Node, y: Node, name: str | None = None) -> Node:
    """x + y with broadcasting."""
    return b.apply(Add(), x, y, name=name)


def multiply(b: Builder, x: Node, y: Node, name: str | None = None) -> Node:
    """x · y element by element, with broadcasting."""
    return b.apply(Multiply(), x, y, name=name)


def _times(b: Builder, cotangent: Node, factor: Node) -> Node:
    """cotangent · factor. A cotangent that is one number everywhere is multiplied as a number."""
    if isinstance(cotangent.op, BroadcastTo) and cotangent.shape == factor.shape:
        spread = input_of(b, cotangent, 0)
        cotangent = cotangent if spread.shape else spread
    if isinstance(cotangent.op, Fill) and cotangent.op.value == 1 and not cotangent.shape:
        return factor
    return multiply(b, cotangent, factor)


def scale(b: Builder, x: Node, factor: float, name: str | None = None, symbol: str = "") -> Node:
    """factor · x; ``symbol`` is the book's symbol for the factor."""
    return b.apply(Scale(factor, symbol), x, name=name)


def sum_to(b: Builder, x: Node, shape: Shape) -> Node:
    """``x`` summed down to ``shape``; ``x`` itself if it has this shape."""
    return x if x.shape == shape else b.apply(SumTo(shape), x)
