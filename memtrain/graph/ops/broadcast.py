"""Operands of different shapes: their common shape, and the kernel that spreads the smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import SHARED, Array, Call, Op, Workspace, cut, rows_per_block, same_type
from memtrain.graph.size import Dim, least, product, rounded_part

SPREAD_PARTS = 8
"""A broadcast is cut into at least about this many parts. So its workspace is small beside its output."""

ONES = 4096
"""Rows that are summed at a time, by a product with a vector of ones."""

_FEWEST_ROWS, _MOST_COLUMNS = 1024, 64
"""With so many rows of so few columns, the product takes a fourteenth to a quarter of the time of a sum in
numpy, and it rounds less."""


class Broadcast(Op):
    """A commutative binary op whose operands are broadcast against each other.

    numpy's own broadcasting loop allocates 33 KB of buffers. So the kernel repeats the smaller operand over
    some rows in the workspace, and combines these with as many rows of the larger operand. The workspace has
    at most an eighth of the rows (rounded up), so a bias adds little to the peak of inference.
    """

    reuses = (0, 1)
    ufunc: np.ufunc

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        a, b = inputs
        try:
            shape = broadcast_shape(a.shape, b.shape)
        except ValueError:
            raise GraphError(f"{self.name} cannot broadcast {a} with {b}") from None
        return shape, same_type(self, a, b)

    def workspace(self, *inputs: Node) -> Workspace:
        a, b = inputs
        shape = broadcast_shape(a.shape, b.shape)
        if all(_is_full_or_scalar(x.shape, shape) for x in inputs):
            return ()
        return ((product((_spread_rows(shape), *shape[1:])), a.dtype),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        self.bind(out, *inputs, work=work)()

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        full, other = inputs if inputs[0].shape == out.shape else inputs[::-1]
        if not work:
            return partial(self._at_once, out, full, other)
        base = full if full.shape == out.shape else out  # if both are broadcast, one is copied into out first
        spread = work[0].reshape(-1, *out.shape[1:])
        rows, whole = len(spread), len(out) - len(out) % len(spread)
        cut = [base, out] if other.ndim < out.ndim or other.shape[0] == 1 else [base, out, other]
        parts = [x[:whole].reshape(-1, rows, *x.shape[1:]) for x in cut]
        rest = [x[whole:] for x in cut]
        return partial(self._by_parts, out, full, other, spread, parts, rest)

    def shares(self, count: int, out: Array, *inputs: Array, work: Sequence[Array]) -> list[Call]:
        if work or out.size < SHARED:
            return [self.bind(out, *inputs, work=work)]
        flat = [x.reshape(-1) if x.ndim else x for x in (out, *inputs)]
        return [self.bind(*arrays, work=()) for arrays in cut(count, *flat)]

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


def _spread_rows(shape: Shape) -> int:
    """The number of rows over which the smaller operand is repeated at a time, for a result of ``shape``."""
    return least(rows_per_block(prod(shape[1:])), (rounded_part(shape[0], SPREAD_PARTS),))


def broadcast_shape(a: Shape, b: Shape) -> Shape:
    """The common shape of two broadcast operands, with the symbols of its sizes. Raises ``ValueError``."""
    if a == b:
        return a
    longest = max(len(a), len(b))
    a, b = (1,) * (longest - len(a)) + a, (1,) * (longest - len(b)) + b
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
        raise ValueError
    return tuple(_joined(x, y) for x, y in zip(a, b, strict=True))


def _joined(x: int, y: int) -> int:
    """The common size of two axes. Of two equal sizes, the one with a meaning: a batch of 1 is still n."""
    if x == y:
        return x if isinstance(x, Dim) else y
    return y if x == 1 else x


def summed_rows(shape: Shape, to: Shape) -> tuple[Shape, Shape]:
    """The rows and columns of ``shape`` as a matrix whose rows are summed to ``to`` by a product.

    Both are empty if another kind of sum is needed, or if numpy's own sum is as fast.
    """
    kept = (1,) * (len(shape) - len(to)) + to
    axis = next((i for i, size in enumerate(kept) if size != 1), len(shape))
    rows, columns = shape[:axis], shape[axis:]
    few = 1 < prod(columns) <= _MOST_COLUMNS
    return (rows, columns) if few and columns == kept[axis:] and prod(rows) >= _FEWEST_ROWS else ((), ())


def sum_rows(out: Array, x: Array, work: Sequence[Array]) -> None:
    """Sum the rows of the matrix ``x``. ``work`` has room for the ones, and for the sum of some rows."""
    ones, part = work
    ones.fill(1)
    np.dot(ones, x[: len(ones)], out=out)
    for start in range(len(ones), len(x), len(ones)):
        rows = x[start : start + len(ones)]
        np.dot(ones[: len(rows)], rows, out=part)
        np.add(out, part, out=out)


def _is_full_or_scalar(shape: Shape, full: Shape) -> bool:
    return shape in (full, ())


def check_broadcasts(op: Op, small: Shape, large: Shape, given: Node) -> None:
    """Raise ``GraphError`` unless ``small`` can be repeated along axes into ``large``."""
    try:
        fits = broadcast_shape(small, large) == large
    except ValueError:
        fits = False
    if not fits:
        raise GraphError(
            f"{op.name}: {list(map(int, small))} does not broadcast to {list(map(int, large))} ({given})"
        )
