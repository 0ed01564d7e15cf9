"""Rows of a table by number, and their gradient: rows added into a table in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import (
    INDEX,
    Array,
    Cotangents,
    Op,
    Workspace,
    blocks,
    rows_per_block,
    same_type,
)
from memtrain.graph.ops.source import Fill
from memtrain.graph.size import least, product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class AddRows(Op):
    """The table with the row g[i] added to its row tokens[i], for all i in order.

    The table (vocabulary, d) is usually a gradient, to which the rows are added in place. A token may occur
    more than once.
    """

    name = "add_rows"
    reuses = (0,)
    summands = (0,)
    glyph = "+rows"

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: one for each added element, and for each element that is copied."""
        return max(node.size, inputs[1].size)

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        table, g, tokens = map(w.term, inputs)
        return f"{table} + Σ {g} at rows {tokens}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        table, g, tokens = inputs
        if len(table.shape) != 2 or tokens.dtype != INDEX or g.shape != (*tokens.shape, table.shape[1]):
            raise GraphError(
                f"{self.name} needs (vocabulary, d), rows (…, d) and int64 tokens (…), "
                f"not {table}, {g}, {tokens}"
            )
        return table.shape, same_type(self, table, g)

    def workspace(self, *inputs: Node) -> Workspace:
        """Flat indices of the rows of a block, the columns of a row, repeated, and a number per row."""
        table, _, tokens = inputs
        rows = least(rows_per_block(table.shape[1]), tokens.shape)
        return tuple([(count, INDEX) for count in (*[product((rows, table.shape[1]))] * 2, rows)])

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        table, g, tokens = inputs
        d = table.shape[1]
        index, columns, first = work[0].reshape(-1, d), work[1].reshape(-1, d), work[2]
        if out is not table:
            np.copyto(out, table)
        columns[0].fill(1)
        np.add.accumulate(columns[0], out=columns[0])
        np.subtract(columns[0], 1, out=columns[0])
        np.copyto(columns[1:], columns[:1])
        flat, rows, numbers = out.reshape(-1), g.reshape(-1, d), tokens.reshape(-1)
        for part, count in blocks(len(rows), first.size):
            np.multiply(numbers[part], d, out=first[:count])
            np.copyto(index[:count], first[:count, None])
            np.add(index[:count], columns[:count], out=index[:count])
            np.add.at(flat, index[:count].reshape(-1), rows[part].reshape(-1))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        for position in wanted:
            yield position, (b.apply(Embedding(), cotangent, b[node.inputs[2]]) if position else cotangent)


@dataclass(frozen=True)
class Embedding(Op):
    """table[tokens]: a table (vocabulary, d) and int64 tokens (…) give rows (…, d)."""

    name = "embedding"
    adds_vjp = (0,)
    glyph = "rows"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])}[{w.term(inputs[1])}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        table, tokens = inputs
        if len(table.shape) != 2 or tokens.dtype != INDEX:
            raise GraphError(f"{self.name} needs (vocabulary, d) and int64 tokens, not {table}, {tokens}")
        return (*tokens.shape, table.shape[1]), table.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        table, tokens = inputs
        np.take(table, tokens.reshape(-1), axis=0, out=out.reshape(-1, table.shape[1]), mode="clip")

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        table = b[node.inputs[0]]
        if 0 in wanted:
            zeros = b.apply(Fill(0.0, table.shape, table.dtype))
            yield 0, self.add_vjp(b, node, 0, cotangent, zeros)

    def add_vjp(self, b: Builder, node: Node, position: int, cotangent: Node, into: Node) -> Node:
        return b.apply(AddRows(), into, cotangent, b[node.inputs[1]])


def embedding(b: Builder, table: Node, tokens: Node, name: str | None = None) -> Node:
    """The rows of ``table`` (vocabulary, d) for integer ``tokens`` (…): (…, d).

    If the table is also the weight of the output layer, the gradient is added into that of the weight.
    """
    return b.apply(Embedding(), table, tokens, name=name)
