"""Sums and products of any rank with broadcasting, and the primitives that gradient rules build from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import Dim, DType, Node, Shape
from memtrain.graph.ops.base import (
    Array,
    Call,
    Cotangents,
    Elementwise,
    Op,
    Workspace,
    input_of,
    rows_per_block,
    same_type,
)
from memtrain.graph.ops.source import Fill

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


SPREAD_PARTS = 8
"""A broadcast has as many parts at least: its workspace is a small part of its output."""


class Broadcast(Op):
    """A commutative binary op whose operands are broadcast against each other.

    numpy's own broadcasting loop takes 33 KB of buffers, so the smaller operand is spread over some rows
    in the workspace and combined with equal shapes: over an eighth of the rows at most, so that a bias
    costs a prediction hardly any memory.
    """

    reuses = (0, 1)
    ufunc: np.ufunc

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        a, b = inputs
        try:
            shape = _broadcast_shape(a.shape, b.shape)
        except ValueError:
            raise GraphError(f"{self.name} cannot broadcast {a} with {b}") from None
        return shape, same_type(self, a, b)

    def workspace(self, *inputs: Node) -> Workspace:
        a, b = inputs
        shape = _broadcast_shape(a.shape, b.shape)
        if all(_is_full_or_scalar(x.shape, shape) for x in inputs):
            return ()
        return ((spread_rows(shape) * prod(shape[1:]), a.dtype),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        self.bind(out, *inputs, work=work)()

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        full, other = inputs if inputs[0].shape == out.shape else inputs[::-1]
        if not work:
            return partial(self._at_once, out, full, other)
        base = full if full.shape == out.shape else out  # if both are broadcast, one is laid into out first
        spread = work[0].reshape(-1, *out.shape[1:])
        rows, whole = len(spread), len(out) - len(out) % len(spread)
        cut = [base, out] if other.ndim < out.ndim or other.shape[0] == 1 else [base, out, other]
        parts = [x[:whole].reshape(-1, rows, *x.shape[1:]) for x in cut]
        rest = [x[whole:] for x in cut]
        return partial(self._by_parts, out, full, other, spread, parts, rest)

    def _at_once(self, out: Array, full: Array, other: Array) -> None:
        self.ufunc(full, other if other.ndim else other.item(), out=out)

    def _by_parts(
        self,
        out: Array,
        full: Array,
        other: Array,
        spread: Array,
        parts: Sequence[Array],
        rest: Sequence[Array],
    ) -> None:
        if full.shape != out.shape:
            np.copyto(out, full)
        if len(parts) == 2:  # every part takes the same rows
            np.copyto(spread, other)
        for base_part, out_part, *other_part in zip(*parts, strict=True):
            self._part(base_part, out_part, spread, other_part)
        if len(rest[0]):
            base_part, out_part, *other_part = rest
            self._part(base_part, out_part, spread[: len(out_part)], other_part)

    def _part(self, base: Array, out: Array, spread: Array, other: Sequence[Array]) -> None:
        if other:
            np.copyto(spread, other[0])
        self.ufunc(base, spread, out=out)


@dataclass(frozen=True)
class Add(Broadcast):
    """a + b."""

    name = "add"
    ufunc = np.add

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        for position in wanted:
            yield position, sum_to(b, cotangent, input_of(b, node, position).shape)


@dataclass(frozen=True)
class Multiply(Broadcast):
    """a · b, element by element."""

    name = "multiply"
    ufunc = np.multiply

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        product = None
        for position in wanted:
            if product is None or node.inputs[0] != node.inputs[1]:
                product = _times(b, cotangent, input_of(b, node, 1 - position))
            yield position, sum_to(b, product, input_of(b, node, position).shape)


@dataclass(frozen=True)
class Scale(Elementwise):
    """c · x for a constant c."""

    factor: float

    name = "scale"
    reuses = (0,)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(inputs[0], self.factor, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(self, cotangent)


@dataclass(frozen=True)
class Shift(Elementwise):
    """x + c for a constant c."""

    amount: float

    name = "shift"
    reuses = (0,)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.add(inputs[0], self.amount, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, cotangent


@dataclass(frozen=True)
class Exp(Elementwise):
    """e to the x; its rule reads its output."""

    name = "exp"
    reuses = (0,)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.exp(inputs[0], out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, multiply(b, cotangent, node)


@dataclass(frozen=True)
class AddScaled(Elementwise):
    """a + factor · c · w, with c a 0-d value: how λW joins a gradient without an array of its own."""

    factor: float

    name = "add_scaled"
    reuses = (0,)
    scratch = 1

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        a, c, w = inputs
        if a.shape != w.shape or c.shape != ():
            raise GraphError(
                f"{self.name} needs a and w of one shape and c without dimensions, not {a}, {c}, {w}"
            )
        return a.shape, same_type(self, a, c, w)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        a, c, w = inputs
        add_product(out, a, w, self.factor * c.item(), work[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        _, c, w = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, cotangent
                continue
            product = multiply(b, cotangent, (w, c)[position - 1])
            yield position, scale(b, sum_to(b, product, (c, w)[position - 1].shape), self.factor)


@dataclass(frozen=True)
class SumTo(Op):
    """Sum over the axes along which ``shape`` was broadcast: the inverse of broadcasting."""

    shape: Shape

    name = "sum_to"
    adds_vjp = (0,)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        _check_broadcasts(self, self.shape, x.shape, x)
        return self.shape, x.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
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
    """Repeat along new or 1-sized axes, as an array with bytes of its own."""

    shape: Shape

    name = "broadcast_to"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        _check_broadcasts(self, x.shape, self.shape, x)
        return self.shape, x.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.copyto(out, inputs[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, sum_to(b, cotangent, input_of(b, node, 0).shape)


@dataclass(frozen=True)
class Copy(Op):
    """The same values with bytes in row order; made where a kernel cannot read a view."""

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
    """``multiply`` of the two, without an array for a cotangent that is the same number everywhere."""
    if isinstance(cotangent.op, BroadcastTo) and cotangent.shape == factor.shape:
        spread = input_of(b, cotangent, 0)
        cotangent = cotangent if spread.shape else spread
    if isinstance(cotangent.op, Fill) and cotangent.op.value == 1 and not cotangent.shape:
        return factor
    return multiply(b, cotangent, factor)


def scale(b: Builder, x: Node, factor: float, name: str | None = None) -> Node:
    """factor · x."""
    return b.apply(Scale(factor), x, name=name)


def sum_to(b: Builder, x: Node, shape: Shape) -> Node:
    """``x`` summed down to ``shape``; ``x`` itself when it has that shape."""
    return x if x.shape == shape else b.apply(SumTo(shape), x)


def add_product(out: Array, a: Array, w: Array, factor: float, scratch: Array) -> None:
    """out = a + factor · w, the product rounded first."""
    np.multiply(w, factor, out=scratch)
    np.add(a, scratch, out=out)


def spread_rows(shape: Shape) -> int:
    """The rows of a result of that shape over which `Broadcast` spreads the smaller operand."""
    return min(rows_per_block(prod(shape[1:])), -(-shape[0] // SPREAD_PARTS))


def _broadcast_shape(a: Shape, b: Shape) -> Shape:
    """The shape of a broadcast pair, keeping the symbols of the sizes that are not 1."""
    if a == b:
        return a
    longest = max(len(a), len(b))
    a, b = (1,) * (longest - len(a)) + a, (1,) * (longest - len(b)) + b
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
        raise ValueError
    return tuple(_joined(x, y) for x, y in zip(a, b, strict=True))


def _joined(x: int, y: int) -> int:
    """The size of a pair that fits; of equal ones that with a symbol (a batch of 1 is still n)."""
    if x == y:
        return x if isinstance(x, Dim) else y
    return y if x == 1 else x


def _is_full_or_scalar(shape: Shape, full: Shape) -> bool:
    return shape in (full, ())


def _check_broadcasts(op: Op, small: Shape, large: Shape, given: Node) -> None:
    try:
        fits = _broadcast_shape(small, large) == large
    except ValueError:
        fits = False
    if not fits:
        raise GraphError(
            f"{op.name}: {list(map(int, small))} does not broadcast to {list(map(int, large))} ({given})"
        )
