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
from memtrain.graph.ops.arithmetic import BroadcastTo, multiply, scale
from memtrain.graph.ops.base import Array, Cotangents, Workspace, blocks, rows_per_block
from memtrain.graph.ops.norm_base import GammaGrad, InputGrad, Normalise, NormOp
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
        self, work: Sequence[Array], *arrays: Array
    ) -> Iterator[tuple[list[Array], list[Array], list[Array]]]:
        """The blocks of ``arrays`` (rows, or a number for each row), with the workspace for each."""
        ones, *rest = work
        ones.fill(1)
        width = ones.size
        matrices = [a.reshape(-1, width) if a.shape[-1] == width else a.reshape(-1) for a in arrays]
        count = max(len(m) for m in matrices)
        scratch = [w.reshape(-1, width) for w in rest[: self.blocks_wanted]]
        numbers = rest[self.blocks_wanted :]
        per_block = len(scratch[0]) if scratch else rows_per_block(width)
        for part, rows in blocks(count, per_block):
            yield [m[part] for m in matrices], [w[:rows] for w in scratch], [w[:rows] for w in numbers]


def _spread(target: Array, numbers: Array) -> Array:
    """``numbers``, one for each row, repeated over the columns of ``target``."""
    np.copyto(target, numbers[:, None])
    return target


def _normal(target: Array, spread: Array, x: Array, mean: Sequence[Array], r: Array) -> None:
    """x̂ of a block, written into ``target``."""
    if mean:
        np.subtract(x, _spread(spread, mean[0]), out=target)
        x = target
    np.multiply(x, _spread(spread, r), out=target)


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

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        ones = work[0]
        for (x, *mean, r), (square, spread), _ in self.each_block(work, *inputs, out):
            if mean:
                np.subtract(x, _spread(spread, mean[0]), out=square)
                x = square
            np.multiply(x, x, out=square)
            np.dot(square, ones, out=r)
            np.multiply(r, 1 / ones.size, out=r)
            np.add(r, self.epsilon, out=r)
            np.sqrt(r, out=r)
            np.reciprocal(r, out=r)

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
    numbers_wanted = 1

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        *given, gamma = inputs
        ones, gammas = work[0], work[1].reshape(-1, work[0].size)
        np.copyto(gammas, gamma)
        share = 1 / ones.size
        for (g, x, *mean, r, target), scratch, (number,) in self.each_block(work, *given, out):
            gammas, normal, spread, scaled = scratch
            _normal(normal, spread, x, mean, r)
            np.multiply(g, gammas, out=scaled)
            np.multiply(scaled, normal, out=spread)
            np.dot(spread, ones, out=number)
            np.multiply(number, share, out=number)
            np.multiply(normal, _spread(spread, number), out=normal)
            if mean:
                np.dot(scaled, ones, out=number)
                np.multiply(number, share, out=number)
                np.add(normal, _spread(spread, number), out=normal)
            np.subtract(scaled, normal, out=scaled)
            np.multiply(scaled, _spread(spread, r), out=target)


@dataclass(frozen=True)
class RowGammaGrad(GammaGrad, _Rows):
    """Σ g ⊙ x̂ over all rows."""

    name = "row_norm_gamma_grad"
    glyph = "Σ"
    gradient = RowInputGrad
    blocks_wanted = 2

    def workspace(self, *inputs: Node) -> Workspace:
        x = inputs[1]
        found = super().workspace(*inputs)
        rows = least(rows_per_block(int(x.shape[-1])), x.shape[:-1])
        return (*found, (rows, x.dtype), (product(x.shape[-1:]), x.dtype))

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        out.fill(0)
        *work, ones, part = work
        ones.fill(1)
        for (g, x, *mean, r), (normal, spread), _ in self.each_block(work, *inputs):
            _normal(normal, spread, x, mean, r)
            np.multiply(normal, g, out=normal)
            np.dot(ones[: len(g)], normal, out=part)
            np.add(out, part, out=out)


@dataclass(frozen=True)
class RowNormalise(Normalise, _Rows):
    """γ x̂ + β for means over the last axis."""

    name = "row_norm"
    glyph = "norm"
    reuses = (0,)
    gradient = RowInputGrad
    gamma_gradient = RowGammaGrad
    blocks_wanted = 3

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, *mean, r, gamma = inputs[: self.after + 1]
        width = work[0].size
        gammas, betas = (w.reshape(-1, width) for w in work[1:3])
        np.copyto(gammas, gamma)
        if self.centred:
            np.copyto(betas, inputs[-1])
        for arrays, (of_gamma, of_beta, spread), _ in self.each_block(work, x, *mean, r, out):
            rows, *means, deviation, target = arrays
            _normal(target, spread, rows, means, deviation)
            np.multiply(target, of_gamma, out=target)
            if means:
                np.add(target, of_beta, out=target)
