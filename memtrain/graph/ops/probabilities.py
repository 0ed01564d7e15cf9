"""Softmax over the last axis, with and without a causal mask, and its gradient.

The mask is applied inside the kernel, so there is no array for it (Vaswani et al. 2017, §3.2.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import BroadcastTo, add, multiply, scale, sum_to
from memtrain.graph.ops.base import BLOCK, Array, Cotangents, Op, Speed, Workspace, blocks
from memtrain.graph.ops.blockwise import RowWise
from memtrain.graph.size import least, product, text

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer

CAUSAL_ROWS = 16
"""Rows of a causal block. The block skips the columns to the right of its last row."""

_LATER = ~np.tri(CAUSAL_ROWS, dtype=np.bool_)
"""Where a key comes after its query, in a square of scores on the diagonal."""

_SMALL = 50.0
"""If a block has a maximum of at most ±50, it is not shifted: exp(50) is 5e21, and float32 reaches 3e38."""

_SHORT_ROW = 32

_LEAST_SUM = 1e-30
"""The smallest sum of exponentials that keeps all digits. For a smaller sum, a row is shifted by its own
maximum instead of that of its block."""


@dataclass(frozen=True)
class SoftmaxGrad(RowWise):
    """p ⊙ (g − Σ g ⊙ p), for the output p of a softmax. A zero of a causal mask stays zero."""

    name = "softmax_grad"
    reuses = (0, 1)
    scratch = 1
    glyph = "σ′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        g, p = map(w.term, inputs)
        return f"{p} ⊙ ({g} − Σ_{text(node.shape[-1])} {g} ⊙ {p})"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if read is inputs[0]:
            return super().purpose(w, read, node, *inputs)
        return f"needs the probabilities {read.name}"

    def rows(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (g, p), (total, spread) = inputs, work
        np.vecdot(g, p, out=total)
        np.copyto(spread, total[:, None])
        np.subtract(g, spread, out=spread)
        np.multiply(spread, p, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, p = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(SoftmaxGrad(), cotangent, p)
            else:  # c ⊙ (g − Σ g ⊙ p) − g Σ c ⊙ p
                first = multiply(b, cotangent, add(b, g, scale(b, _row_sums(b, g, p), -1.0)))
                second = multiply(b, g, _row_sums(b, cotangent, p))
                yield 1, add(b, first, scale(b, second, -1.0))


def _row_sums(b: Builder, x: Node, y: Node) -> Node:
    """Σ x ⊙ y over the last axis, repeated along this axis."""
    total = sum_to(b, multiply(b, x, y), (*x.shape[:-1], 1))
    return b.apply(BroadcastTo(x.shape), total)


@dataclass(frozen=True)
class Softmax(Op):
    """exp x / Σ exp x over the last axis.

    With ``causal``, the last two axes are queries and keys, of equal sizes, and query i has probabilities for
    the keys 0 to i only. So half of the exponentials are not computed.
    """

    causal: bool = False

    name = "softmax"
    reuses = (0,)
    reads_output = True
    speed = Speed.OWN
    glyph = "σ"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{'causal ' if self.causal else ''}softmax({w.term(inputs[0])})"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        if not x.shape:
            raise GraphError(f"{self.name} needs a last axis, not {x}")
        if self.causal and (len(x.shape) < 2 or x.shape[-1] != x.shape[-2]):
            raise GraphError(f"causal {self.name} needs as many queries as keys, not {x}")
        return x.shape, x.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        """A number per row, a row of ones, and a block; with ``causal``, two blocks."""
        (x,) = inputs
        row, lead = x.shape[-1], x.shape[:-1]
        per_block = max(min(CAUSAL_ROWS, int(row)) if self.causal else 1, BLOCK // int(row))
        block = (product((least(per_block, lead), row)), x.dtype)
        if self.causal:
            return (least(4 * per_block, lead), x.dtype), (row, x.dtype), block, block
        return (least(per_block, lead), x.dtype), (row, x.dtype), block

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        row = out.shape[-1]
        work[1].fill(1)
        if self.causal:
            _causal_softmax(out.reshape(-1, row, row), x.reshape(-1, row, row), *work)
            return
        total, ones, space = work
        given, result = x.reshape(-1, row), out.reshape(-1, row)
        for part, rows in blocks(len(result), total.size):
            values = space[: rows * row].reshape(rows, row)
            exponentials(given[part], None, values, total[:rows], ones)
            np.copyto(result[part], total[:rows, None])
            np.multiply(values, result[part], out=result[part])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(SoftmaxGrad(), cotangent, node)


def _causal_softmax(out: Array, x: Array, total: Array, ones: Array, space: Array, other: Array) -> None:
    """The causal softmax of a stack of matrices, computed in blocks of some rows of some matrices."""
    for matrices, rows in _causal_blocks(x.shape[0], x.shape[1], space.size, total.size):
        columns = rows.stop
        shape = (matrices.stop - matrices.start, rows.stop - rows.start, columns)
        count = shape[0] * shape[1]
        values, spread = (w[: count * columns].reshape(count, columns) for w in (space, other))
        exponentials(x[matrices, rows, :columns], rows.start, values, total[:count], ones[:columns])
        np.copyto(spread, total[:count, None])
        np.multiply(values, spread, out=values)
        np.copyto(out[matrices, rows, :columns], values.reshape(shape))
        out[matrices, rows, columns:] = 0


def _causal_blocks(matrix_count: int, size: int, space: int, most_rows: int) -> Iterator[tuple[slice, slice]]:
    """Slices of matrices and of their rows: blocks of at most ``space`` elements and ``most_rows`` rows."""
    for rows, count in blocks(size, CAUSAL_ROWS):
        matrices = max(1, min(space // (count * rows.stop), most_rows // count))
        for some, _ in blocks(matrix_count, matrices):
            yield some, rows


def exponentials(
    x: Array, first: int | None, values: Array, scale: Array, ones: Array, shift: Array | None = None
) -> None:
    """Compute exp(x − shift) into ``values``, and 1/Σ of each row into ``scale``.

    ``first`` is the column of the diagonal in row 0 of each matrix of ``x``; ``None`` hides no column. All
    rows are shifted by one maximum, which is faster. If then the sum of a row is close to 0, each row is
    shifted by its own maximum. The shift of each row is written into ``shift``, if it is given. Otherwise
    small values are not shifted.
    """
    given = x.reshape(values.shape) if x.flags.c_contiguous else values
    if given is values:
        np.copyto(values.reshape(x.shape), x)
    highest = np.maximum.reduce(given, axis=None).item()
    if shift is not None:
        shift.fill(highest)
    if shift is not None or not -_SMALL <= highest <= _SMALL:
        given = np.subtract(given, highest, out=values)
    np.exp(given, out=values)
    hide_later(values.reshape(x.shape), first, 0.0)
    np.dot(values, ones, out=scale)
    if not np.minimum.reduce(scale).item() > _LEAST_SUM:
        np.copyto(values.reshape(x.shape), x)
        hide_later(values.reshape(x.shape), first, -np.inf)
        reduce_rows(np.maximum, values, scale)
        if shift is not None:
            np.copyto(shift, scale)
        for row, own in zip(values, scale.tolist(), strict=True):
            np.subtract(row, own, out=row)
        np.exp(values, out=values)
        np.dot(values, ones, out=scale)
    np.reciprocal(scale, out=scale)


def reduce_rows(ufunc: np.ufunc, x: Array, out: Array) -> None:
    """The sum or maximum of each row. Short rows are combined by columns: a row costs numpy about 80 ns."""
    if x.shape[1] > _SHORT_ROW:
        ufunc.reduce(x, axis=1, out=out)
        return
    np.copyto(out, x[:, 0])
    for column in x.T[1:]:
        ufunc(out, column, out=out)


def hide_later(values: Array, first: int | None, number: float) -> None:
    """Write ``number`` to the right of the diagonal of each matrix."""
    if first is None:
        return
    for rows, _ in blocks(values.shape[1], CAUSAL_ROWS):
        corner = values[:, rows, first + rows.start : first + rows.stop]
        np.copyto(corner, number, where=_LATER[: corner.shape[1], : corner.shape[2]])
        values[:, rows, first + rows.stop :] = number


@dataclass(frozen=True)
class Lower(Op):
    """The square matrices of the input, with zeros to the right of their diagonals."""

    name = "lower"
    reuses = (0,)
    glyph = "◺"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"lower({w.term(inputs[0])})"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
            raise GraphError(f"{self.name} needs square matrices, not {x}")
        return x.shape, x.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.copyto(out, inputs[0])
        hide_later(out.reshape(-1, *out.shape[-2:]), 0, 0.0)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(Lower(), cotangent)
