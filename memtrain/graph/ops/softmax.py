"""Log-softmax over the last axis, with its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import BroadcastTo, Exp, add, multiply, scale, sum_to
from memtrain.graph.ops.base import Array, Cotangents, Speed
from memtrain.graph.ops.blockwise import RowWise
from memtrain.graph.ops.probabilities import reduce_rows
from memtrain.graph.size import text

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class LogSoftmaxGrad(RowWise):
    """g − softmax · Σg, with softmax = exp(log-softmax). So the vjp rule reads the output."""

    name = "log_softmax_grad"
    reuses = (0, 1)
    scratch = 2
    glyph = "σ′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        incoming = w.term(inputs[0])
        return f"{incoming} − exp({w.term(inputs[1])}) ⊙ Σ_{text(node.shape[-1])} {incoming}"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if read is inputs[0]:
            return super().purpose(w, read, node, *inputs)
        return f"needs the probabilities exp({read.name})"

    def rows(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, logp = inputs
        total, spread, softmax = work
        reduce_rows(np.add, g, total)
        np.copyto(spread, total[:, None])
        np.exp(logp, out=softmax)
        np.multiply(softmax, spread, out=softmax)
        np.subtract(g, softmax, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, logp = (b[i] for i in node.inputs)
        row = (*g.shape[:-1], 1)
        weighted = multiply(b, cotangent, b.apply(Exp(), logp))
        for position in wanted:
            if position == 0:
                total = b.apply(BroadcastTo(g.shape), sum_to(b, weighted, row))
                yield 0, add(b, cotangent, scale(b, total, -1.0))
            else:
                total = b.apply(BroadcastTo(g.shape), sum_to(b, g, row))
                yield 1, scale(b, multiply(b, weighted, total), -1.0)


@dataclass(frozen=True)
class LogSoftmax(RowWise):
    """x − log Σ exp x over the last axis. The maximum is subtracted first, so that exp cannot overflow."""

    name = "log_softmax"
    reuses = (0,)
    scratch = 1
    reads_output = True
    speed = Speed.OWN
    glyph = "log σ"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"log softmax({w.term(inputs[0])})"

    def rows(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        number, block = work
        reduce_rows(np.maximum, x, number)
        np.copyto(block, number[:, None])
        np.subtract(x, block, out=out)
        np.exp(out, out=block)
        reduce_rows(np.add, block, number)
        np.log(number, out=number)
        np.copyto(block, number[:, None])
        np.subtract(out, block, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(LogSoftmaxGrad(), cotangent, node)
