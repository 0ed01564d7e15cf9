"""The cross-entropy of logits as one op, for many classes.

Of the forward pass it keeps the logits alone, and the gradient is made in their buffer. PyTorch's loss keeps
the log-probabilities, an array of the same size, beside which the logits are live for a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import add, multiply, scale, sum_to
from memtrain.graph.ops.base import INDEX, Array, Cotangents, Op, Workspace, blocks, rows_per_block, same_type
from memtrain.graph.ops.loss import Nll, divisor, label_indices
from memtrain.graph.ops.probabilities import Softmax, SoftmaxGrad, exponentials
from memtrain.graph.size import least, product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


def _check(op: Op, logits: Node, labels: Node) -> None:
    if not logits.shape or logits.shape[:-1] != labels.shape or labels.dtype != INDEX:
        raise GraphError(f"{op.name} needs logits (…, q) and int64 labels (…), not {logits}, {labels}")


def _workspace(logits: Node) -> Workspace:
    """Two numbers and an index per row of a block, a row of ones, and the values of the block."""
    row = logits.shape[-1]
    rows = least(rows_per_block(row), logits.shape[:-1])
    dtype = logits.dtype
    return (rows, dtype), (rows, dtype), (rows, INDEX), (row, dtype), (product((rows, row)), dtype)


@dataclass(frozen=True)
class CrossEntropyGrad(Op):
    """g (softmax(logits) − onehot(labels))/n, for n rows."""

    name = "cross_entropy_grad"
    reuses = (1,)
    glyph = "l′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        g, logits, labels = inputs
        coefficient = w.coefficient(1.0, g)
        return f"{coefficient}(softmax({w.term(logits)}) − onehot({w.term(labels)}))/{divisor(labels)}"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if read is not inputs[1]:
            return super().purpose(w, read, node, *inputs)
        return f"needs the probabilities softmax({read.name})"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, logits, labels = inputs
        _check(self, logits, labels)
        if g.shape:
            raise GraphError(f"{self.name} needs a cotangent without dimensions, not {g}")
        return logits.shape, same_type(self, g, logits)

    def workspace(self, *inputs: Node) -> Workspace:
        return _workspace(inputs[1])

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, logits, labels = inputs
        total, picked, index, ones, space = work
        row, labels = out.shape[-1], labels.reshape(-1)
        factor = g.item() / labels.size
        ones.fill(1)
        given, result = logits.reshape(-1, row), out.reshape(-1, row)
        for part, rows in blocks(labels.size, total.size):
            values = space[: rows * row].reshape(rows, row)
            exponentials(given[part], None, values, total[:rows], ones)
            np.multiply(total[:rows], factor, out=total[:rows])
            target = result[part]
            np.copyto(target, total[:rows, None])
            np.multiply(values, target, out=target)
            indices = label_indices(labels[part], row, slice(0, rows), index)
            flat = target.reshape(-1)
            np.take(flat, indices, out=picked[:rows], mode="clip")
            np.subtract(picked[:rows], factor, out=picked[:rows])
            np.put(flat, indices, picked[:rows])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, logits, labels = (b[i] for i in node.inputs)
        p = b.apply(Softmax(), logits)
        for position in wanted:
            if position == 0:
                mean = scale(b, sum_to(b, multiply(b, cotangent, p), ()), 1 / labels.size)
                yield 0, add(b, mean, b.apply(Nll(), cotangent, labels))
            else:
                spread = b.apply(SoftmaxGrad(), cotangent, p)
                yield position, scale(b, multiply(b, spread, g), 1 / labels.size)


@dataclass(frozen=True)
class CrossEntropy(Op):
    """−mean log softmax(logits)[label]: logits (…, q), integer labels (…)."""

    name = "cross_entropy"
    glyph = "l"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"−mean log softmax({w.term(inputs[0])})[{w.term(inputs[1])}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        _check(self, *inputs)
        return (), inputs[0].dtype

    def workspace(self, *inputs: Node) -> Workspace:
        total, *others = _workspace(inputs[0])
        return (total, total, *others)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        logits, labels = inputs
        shift, total, picked, index, ones, space = work
        row, labels = logits.shape[-1], labels.reshape(-1)
        ones.fill(1)
        given, loss = logits.reshape(-1, row), 0.0
        for part, rows in blocks(labels.size, total.size):
            values = space[: rows * row].reshape(rows, row)
            numbers, chosen = total[:rows], picked[:rows]
            exponentials(given[part], None, values, numbers, ones, shift[:rows])
            np.log(numbers, out=numbers)  # −log Σ of the shifted row
            indices = label_indices(labels[part], row, slice(0, rows), index)
            np.take(given[part].reshape(-1), indices, out=chosen, mode="clip")
            np.subtract(chosen, shift[:rows], out=chosen)
            np.add(numbers, chosen, out=numbers)
            loss -= float(np.add.reduce(numbers))
        out[()] = loss / labels.size

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            yield 0, b.apply(CrossEntropyGrad(), cotangent, *[b[i] for i in node.inputs])
