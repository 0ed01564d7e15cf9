"""Norms over the last axis: layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019).

A kernel works on blocks of rows that stay in the cache. The sum of each row is a product with ones, because
BLAS adds short rows several times as fast as ``numpy.add.reduce``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import BroadcastTo, multiply, scale, sum_to
from memtrain.graph.ops.base import (
    BLOCK,
    Array,
    Cotangents,
    Workspace,
    blocks,
    number,
    rows_per_block,
    same_type,
)
from memtrain.graph.ops.blockwise import row_blocks
from memtrain.graph.ops.norm_base import InputGrad, Normalise, NormOp, subtract_square
from memtrain.graph.size import least, product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


class _Rows(NormOp):
    """The base of the kernels. Their workspace is a row of ones, blocks of rows, and numbers per row."""

    blocks_wanted: int = 1
    numbers_wanted: int = 0

    def workspace(self, *inputs: Node) -> Workspace:
        x = inputs[self.first]
        rows = least(rows_per_block(int(x.shape[-1])), x.shape[:-1])
        block, row = product((rows, x.shape[-1])), product(x.shape[-1:])
        sizes = [row, *[block] * self.blocks_wanted, *[rows] * self.numbers_wanted]
        return tuple((size, x.dtype) for size in sizes)

    def each_block(
        self, work: Sequence[Array], rows: Sequence[Array], of_row: Sequence[Array]
    ) -> Iterator[tuple[Array, ...]]:
        """The workspace of each block but the first array, then its rows, and the numbers of each row."""
        width, split = work[0].size, 1 + self.blocks_wanted
        matrices = [*[a.reshape(-1, width) for a in rows], *[a.reshape(-1) for a in of_row]]
        scratch = [*[w.reshape(-1, width) for w in work[1:split]], *work[split:]]
        return row_blocks(len(scratch[0]), scratch, matrices)


def _spread(target: Array, numbers: Array) -> Array:
    """``numbers``, one for each row, repeated over the columns of ``target``."""
    np.copyto(target, numbers[:, None])
    return target


@dataclass(frozen=True)
class RowMean(_Rows):
    """The mean of each row."""

    name = "row_mean"
    reads_statistics = False
    first = 0
    glyph = "μ"
    blocks_wanted = 0

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"mean({w.term(inputs[0])})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return inputs[0].size

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.statistic_shape(inputs[0]), inputs[0].dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        ones = work[0]
        ones.fill(1 / ones.size)
        np.dot(x.reshape(-1, ones.size), ones, out=out.reshape(-1))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x = b[node.inputs[0]]
        yield 0, scale(b, b.apply(BroadcastTo(x.shape), cotangent), 1 / self.count(x))


@dataclass(frozen=True)
class RowRstd(_Rows):
    """r = 1/√(σ² + ε) of each row. The inputs are x and (if centred) its mean."""

    epsilon: float = 1e-5

    name = "row_rstd"
    first = 0
    glyph = "1/σ"
    blocks_wanted = 2

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        centred = f"({w.term(inputs[0])} − {w.term(inputs[1])})" if self.centred else w.term(inputs[0])
        return f"1/√(mean {centred}² + {self.epsilon:g})"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.statistic_shape(inputs[0]), inputs[0].dtype

    def flops(self, node: Node, *inputs: Node) -> int:
        return 3 * inputs[0].size

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        return f"needs the operand {read.name}"

    def workspace(self, *inputs: Node) -> Workspace:
        """Two blocks of rows, and a number for each of up to 16384 rows; without centring, nothing."""
        x = inputs[0]
        return (*super().workspace(x), (least(BLOCK, x.shape[:-1]), x.dtype)) if self.centred else ()

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, *mean = (a.reshape(-1, a.shape[-1]) for a in inputs)
        r = out.reshape(-1)
        np.vecdot(x, x, out=r)
        np.multiply(r, number(1 / x.shape[1], r.dtype), out=r)
        if mean:
            *blocks_work, square = work
            for part, rows in blocks(len(r), square.size):
                if not subtract_square(r[part], mean[0][part, 0], square[:rows]):
                    self._variance(blocks_work, x[part], mean[0][part], r[part])
        np.add(r, number(self.epsilon, r.dtype), out=r)
        np.sqrt(r, out=r)
        np.reciprocal(r, out=r)

    def _variance(self, work: Sequence[Array], x: Array, *of_row: Array) -> None:
        """The mean of (x − μ)² of each row."""
        for centred, spread, some, mean, r in self.each_block(work, [x], of_row):
            np.subtract(some, _spread(spread, mean), out=centred)
            np.vecdot(centred, centred, out=r)
            np.multiply(r, number(1 / x.shape[1], r.dtype), out=r)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, *mean = (b[i] for i in node.inputs)
        if 0 in wanted:
            slope = multiply(b, multiply(b, node, node), cotangent)
            yield 0, scale(b, multiply(b, self.normal(b, x, (*mean, node)), slope), -1 / self.count(x))


@dataclass(frozen=True)
class RowInputGrad(InputGrad, _Rows):
    """P(γ g) for means over the last axis."""

    name = "row_norm_input_grad"
    glyph = "norm′"
    reuses = (0,)
    blocks_wanted = 4
    numbers_wanted = 2

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, x, *statistics, gamma = inputs
        ones = work[0]
        ones.fill(1)
        np.copyto(work[1].reshape(-1, ones.size), gamma)
        share = number(1 / ones.size, ones.dtype)
        found = self.each_block(work, [g, x, out], statistics)
        for gammas, centred, spread, scaled, total, dot, g, x, target, *mean, r in found:
            np.multiply(g, gammas, out=scaled)
            if mean:
                x = np.subtract(x, _spread(spread, mean[0]), out=centred)
            np.vecdot(scaled, x, out=dot)
            np.multiply(dot, share, out=dot)
            np.multiply(dot, r, out=dot)
            np.multiply(dot, r, out=dot)
            np.multiply(x, _spread(spread, dot), out=centred)  # x̂ m(γ g x̂)
            if mean:
                np.dot(scaled, ones, out=total)
                np.multiply(total, share, out=total)
                np.subtract(scaled, _spread(spread, total), out=scaled)
            np.subtract(scaled, centred, out=scaled)
            np.multiply(scaled, _spread(spread, r), out=target)


@dataclass(frozen=True)
class RowGammaGrad(_Rows):
    """∂L/∂γ = Σ g ⊙ x̂ over all rows. The inputs are g, x and its statistics."""

    name = "row_norm_gamma_grad"
    glyph = "Σ"
    first = 1
    blocks_wanted = 2

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"Σ {w.term(inputs[0])} ⊙ {self.normalised(w, *inputs)}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        self.check(inputs, [inputs[0]])
        return inputs[1].shape[-1:], same_type(self, *inputs)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        out.fill(0)
        part = work[0]
        for product_of, spread, g, x, *mean, r in self.each_block(work, inputs[:2], inputs[2:]):
            if mean:
                x = np.subtract(x, _spread(spread, mean[0]), out=product_of)
            np.multiply(x, g, out=product_of)
            np.dot(r, product_of, out=part)
            np.add(out, part, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, x, *statistics = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, multiply(b, self.normal(b, x, statistics), cotangent)
            elif position == 1:
                yield 1, b.apply(RowInputGrad(self.axes, self.centred), g, x, *statistics, cotangent)


@dataclass(frozen=True)
class RowNormalise(Normalise, _Rows):
    """γ x̂ + β for means over the last axis."""

    name = "row_norm"
    glyph = "norm"
    reuses = (0,)
    blocks_wanted = 3

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, *statistics, gamma = inputs[: self.after + 1]
        gammas, betas = (w.reshape(-1, work[0].size) for w in work[1:3])
        np.copyto(gammas, gamma)
        if self.centred:
            np.copyto(betas, inputs[-1])
        blocks_of = self.each_block(work, [x, out], statistics)
        for gammas, betas, spread, x, target, *mean, r in blocks_of:
            if mean:
                x = np.subtract(x, _spread(spread, mean[0]), out=target)
            np.multiply(x, _spread(spread, r), out=target)
            np.multiply(target, gammas, out=target)
            if mean:
                np.add(target, betas, out=target)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        *known, gamma = (b[i] for i in node.inputs[: self.after + 1])
        for position in wanted:
            if position == 0:
                yield 0, b.apply(RowInputGrad(self.axes, self.centred), cotangent, *known, gamma)
            elif position == self.after:
                yield position, b.apply(RowGammaGrad(self.axes, self.centred), cotangent, *known)
            elif position > self.after:
                yield position, sum_to(b, cotangent, b[node.inputs[position]].shape)
