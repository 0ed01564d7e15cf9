"""Matrix products of any rank, with transpose flags instead of transposed copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import sum_to
from memtrain.graph.ops.base import Array, Call, Cotangents, Op, Speed, same_type
from memtrain.graph.ops.broadcast import broadcast_shape
from memtrain.graph.ops.view import reshape
from memtrain.graph.size import carries_batch, product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class MatMul(Op):
    """The product of two values over their last two axes, each transposed if its flag says so.

    Inputs have rank ≥ 2 (`matmul` reshapes vectors), and leading axes are broadcast. BLAS reads the flags, so
    nothing is copied. Each product of matrices is one gemm. It is never split by rows, because a split
    changes the bits of the result.
    """

    transpose_a: bool = False
    transpose_b: bool = False

    name = "matmul"
    speed = Speed.PRODUCT
    glyph = "×"

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: 2 · rows · columns · inner size for each product."""
        return 2 * node.size * int(inputs[0].shape[-2 if self.transpose_a else -1])

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return " ".join(w.term(*factor) for factor in self._factors(node, *inputs))

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        transposed = next(flag for value, flag in self._factors(node, *inputs) if value is read)
        return f"needs the factor {read.name}{'ᵀ' if transposed else ''}"

    def _factors(self, node: Node, *inputs: Node) -> list[tuple[Node, bool]]:
        """The operands in the order and orientation of the book (an example is a column).

        Each comes with a flag that says whether the formula transposes it.
        """
        pairs = list(zip(inputs, (self.transpose_a, self.transpose_b), strict=True))
        if carries_batch(node.shape):
            pairs = [(value, not flag) for value, flag in reversed(pairs)]
        return [(value, flag != carries_batch(value.shape)) for value, flag in pairs]

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        a, b = inputs
        if len(a.shape) < 2 or len(b.shape) < 2:
            raise GraphError(f"{self.name} needs matrices, not {a} and {b}")
        rows, inner_a = _swapped(a.shape[-2:], self.transpose_a)
        inner_b, columns = _swapped(b.shape[-2:], self.transpose_b)
        lead: Shape | None = ()
        if len(a.shape) > 2 or len(b.shape) > 2:
            try:
                lead = broadcast_shape(a.shape[:-2], b.shape[:-2])
            except ValueError:
                lead = None
        if inner_a != inner_b or lead is None:
            flags = f"transpose_a={self.transpose_a}, transpose_b={self.transpose_b}"
            raise GraphError(f"{self.name} ({flags}) does not fit {a} and {b}")
        return (*lead, rows, columns), same_type(self, a, b)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        self.bind(out, *inputs, work=work)()

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        a, b = inputs
        return partial(
            np.matmul,
            a.swapaxes(-1, -2) if self.transpose_a else a,
            b.swapaxes(-1, -2) if self.transpose_b else b,
            out=out,
        )

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, y = (b[i] for i in node.inputs)
        ta, tb = self.transpose_a, self.transpose_b
        for position in wanted:
            if position == 0:
                op, left, right = (
                    (MatMul(tb, True), y, cotangent) if ta else (MatMul(False, not tb), cotangent, y)
                )
            else:
                op, left, right = (
                    (MatMul(True, ta), cotangent, x) if tb else (MatMul(not ta, False), x, cotangent)
                )
            yield position, sum_to(b, b.apply(op, left, right), (x, y)[position].shape)


def matmul(
    b: Builder,
    x: Node,
    y: Node,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    name: str | None = None,
) -> Node:
    """The product of values of any rank ≥ 1, as in ``numpy.matmul`` after the transpositions.

    A vector on the left is a row, a vector on the right is a column. A stack of matrices times one matrix
    is reshaped to a single product. Otherwise the gradient of the one matrix would first be a stack.
    """
    _check_inner(x, y, transpose_a, transpose_b)
    wanted = list(x.shape[:-1]) if len(x.shape) > 1 else []
    if len(x.shape) == 1:
        x, transpose_a = reshape(b, x, (1, x.shape[0])), False
    elif transpose_a:
        wanted[-1] = x.shape[-1]
    if len(y.shape) == 1:
        y, transpose_b = reshape(b, y, (y.shape[0], 1)), False
    else:
        wanted.append(y.shape[-2] if transpose_b else y.shape[-1])
    if len(x.shape) > 2 and len(y.shape) == 2 and not transpose_a:
        x = reshape(b, x, (product(x.shape[:-1]), x.shape[-1]))
    elif len(y.shape) > 2:
        wanted = [*_broadcast_lead(x, y), *wanted[len(x.shape) - 2 :]]
    result = b.apply(MatMul(transpose_a, transpose_b), x, y)
    if result.shape != tuple(wanted):
        result = reshape(b, result, tuple(wanted))
    return b.rename(result, name) if name else result


def _check_inner(x: Node, y: Node, transpose_a: bool, transpose_b: bool) -> None:
    """Raise ``GraphError``, naming the inputs, unless their inner sizes agree."""
    if not x.shape or not y.shape:
        raise GraphError(f"matmul needs values with at least one axis, not {x} and {y}")
    left = x.shape[-2 if transpose_a and len(x.shape) > 1 else -1]
    right = y.shape[-1 if transpose_b or len(y.shape) == 1 else -2]
    if left != right:
        flags = f"transpose_a={transpose_a}, transpose_b={transpose_b}"
        raise GraphError(f"matmul ({flags}) does not fit {x} and {y}: {left} against {right}")


def _broadcast_lead(x: Node, y: Node) -> Shape:
    try:
        return broadcast_shape(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise GraphError(f"matmul cannot broadcast the leading axes of {x} and {y}") from None


def _swapped(shape: Shape, swap: bool) -> Shape:
    return shape[::-1] if swap else shape
