"""The losses and the squared norm, with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import add, multiply, scale, sum_to
from memtrain.graph.ops.base import (
    BLOCK,
    INDEX,
    Array,
    Cotangents,
    Op,
    Workspace,
    blocks,
    same_shape,
    same_type,
)
from memtrain.graph.ops.scaled_sum import AddScaled
from memtrain.graph.size import least, product, text

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


def divisor(value: Node) -> str:
    """The number of elements of a value as the divisor in a formula: ``n``, or ``(n·q)``."""
    size = text(product(value.shape))
    return size if size.isalnum() else f"({size})"


def label_indices(labels: Array, row: int, part: slice, index: Array) -> Array:
    """The flat indices of the labels of rows ``part``, for rows of length ``row``, written into ``index``."""
    indices = index[: part.stop - part.start]
    indices.fill(row)
    np.add.accumulate(indices, out=indices)
    np.add(indices, labels[part], out=indices)
    np.add(indices, (part.start - 1) * row, out=indices)
    return indices


@dataclass(frozen=True)
class Nll(Op):
    """The negative log-likelihood −mean log p[label]: log-probabilities (…, q), integer labels (…)."""

    name = "nll"
    glyph = "l"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"−mean {w.term(inputs[0])}[{w.term(inputs[1])}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        logp, labels = inputs
        if logp.shape[:-1] != labels.shape or labels.dtype != INDEX or not logp.shape:
            raise GraphError(
                f"{self.name} needs log-probabilities (…, q) and int64 labels (…), not {logp}, {labels}"
            )
        return (), logp.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        logp, labels = inputs
        count = least(BLOCK, labels.shape)
        return (count, INDEX), (count, logp.dtype)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        logp, labels = (x.reshape(-1) for x in inputs)
        index, picked = work
        total = 0.0
        for part, length in blocks(labels.size, index.size):
            indices = label_indices(labels, inputs[0].shape[-1], part, index)
            np.take(logp, indices, out=picked[:length], mode="clip")
            total += float(np.add.reduce(picked[:length]))
        out[()] = -total / labels.size

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        logp, labels = (b[i] for i in node.inputs)
        if 0 in wanted:
            yield 0, b.apply(NllGrad(logp.shape), cotangent, labels)


@dataclass(frozen=True)
class NllGrad(Op):
    """−g/n at the labels and zero elsewhere. So the vjp rule of the loss reads no log-probability."""

    shape: Shape

    name = "nll_grad"
    glyph = "l′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        g, labels = inputs
        return f"−{w.coefficient(1.0, g)}onehot({w.term(labels)})/{divisor(labels)}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, labels = inputs
        if g.shape or labels.shape != self.shape[:-1] or labels.dtype != INDEX:
            wanted = f"a number and int64 labels {list(map(int, self.shape[:-1]))}"
            raise GraphError(f"{self.name} needs {wanted}, not {g}, {labels}")
        return self.shape, g.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return ((least(BLOCK, inputs[1].shape), INDEX),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, labels = inputs
        labels, (index,) = labels.reshape(-1), work
        out.fill(0)
        for part, _ in blocks(labels.size, index.size):
            np.put(out, label_indices(labels, out.shape[-1], part, index), -g.item() / labels.size)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            yield 0, b.apply(Nll(), cotangent, b[node.inputs[1]])


@dataclass(frozen=True)
class MseGrad(Op):
    """2 g (o − y)/N, with N the number of elements."""

    name = "mse_grad"
    reuses = (1, 2)
    glyph = "l′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        g, o, y = inputs
        return f"{w.coefficient(2.0, g)}({w.term(o)} − {w.term(y)})/{divisor(o)}"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if read is inputs[0]:
            return super().purpose(w, read, node, *inputs)
        return f"needs the difference {inputs[1].name} − {inputs[2].name}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, o, y = inputs
        if g.shape:
            raise GraphError(f"{self.name} needs a cotangent without dimensions, not {g}")
        same_type(self, g, o)
        return same_shape(self, o, y)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, o, y = inputs
        np.subtract(o, y, out=out)
        np.multiply(out, 2 * g.item() / out.size, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, o, y = (b[i] for i in node.inputs)
        product = None
        for position in wanted:
            if position == 0:
                difference = add(b, o, scale(b, y, -1.0))
                yield 0, scale(b, sum_to(b, multiply(b, cotangent, difference), ()), 2 / o.size)
            else:
                product = product or multiply(b, cotangent, g)
                yield position, scale(b, product, (2 if position == 1 else -2) / o.size)


@dataclass(frozen=True)
class Mse(Op):
    """The mean squared error: mean (o − y)² over all elements."""

    name = "mse"
    glyph = "l"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"mean ({w.term(inputs[0])} − {w.term(inputs[1])})²"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return (), same_shape(self, *inputs)[1]

    def workspace(self, *inputs: Node) -> Workspace:
        return ((least(BLOCK, inputs[0].shape), inputs[0].dtype),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        o, y = (x.reshape(-1) for x in inputs)
        total = 0.0
        for part, length in blocks(o.size):
            difference = work[0][:length]
            np.subtract(o[part], y[part], out=difference)
            total += float(np.dot(difference, difference))
        out[()] = total / o.size

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        o, y = (b[i] for i in node.inputs)
        gradient = b.apply(MseGrad(), cotangent, o, y)
        for position in wanted:
            yield position, gradient if position == 0 else scale(b, gradient, -1.0)


@dataclass(frozen=True)
class SquaredNorm(Op):
    """The squared Frobenius norm ‖W‖²."""

    name = "squared_norm"
    adds_vjp = (0,)
    glyph = "‖·‖²"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"‖{w.term(inputs[0])}‖²"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return (), inputs[0].dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        flat = inputs[0].reshape(-1)
        np.dot(flat, flat, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, scale(b, multiply(b, b[node.inputs[0]], cotangent), 2.0)

    def add_vjp(self, b: Builder, node: Node, position: int, cotangent: Node, into: Node) -> Node:
        return b.apply(AddScaled(2.0), into, cotangent, b[node.inputs[0]])
