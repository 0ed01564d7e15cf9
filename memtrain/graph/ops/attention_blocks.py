"""Attention in blocks, which keeps no scores: FlashAttention (Dao et al. 2022, algorithms 1 and 4).

Forward reads the keys block by block and keeps, for each query, the logarithm of its sum of exponentials
(lse). With it, backward computes the probabilities of a block again as exp(score − lse). A node has one
output, so the context and the lse are views of one array, and so are the gradients of q, k and v.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.attention_blocks_grad import AttentionBlocksGrad, one_of
from memtrain.graph.ops.attention_tiles import (
    SIDE,
    Causal,
    are_small,
    block_of,
    check_heads,
    exp_of_difference,
    key_blocks,
    packed_size,
    parts_of,
    side_of,
)
from memtrain.graph.ops.base import Array, Cotangents, Op, Speed, Workspace, blocks
from memtrain.graph.ops.view import Slice, reshape
from memtrain.graph.size import product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class AttentionBlocks(Op):
    """The context softmax(scale · q kᵀ) v per head and the lse of each query, in one flat array."""

    scale: float = 1.0
    causal: bool = False

    name = "attention_blocks"
    speed = Speed.PRODUCT
    glyph = "att"

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: two products with 2 · d for each score, half of them if causal."""
        n, t, heads, d = map(int, inputs[0].shape)
        return 4 * n * heads * t * t * d // (2 if self.causal else 1)

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        q, k, v = inputs
        scores = f"{self.scale:g} {w.term(q)} {w.term(k, True)}"
        return f"{'causal ' if self.causal else ''}softmax({scores}) {w.term(v)} and lse"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        check_heads(self, *inputs)
        return (packed_size(inputs[0]),), inputs[0].dtype

    def workspace(self, *inputs: Node) -> Workspace:
        """Two blocks of scores, four of rows of a head, five numbers per query of a block, causal bounds."""
        q, side = inputs[0], side_of(inputs[0])
        scores, rows = product((side, side)), product((side, q.shape[3]))
        counts = (*[scores] * 2, *[rows] * 4, *[side] * 5, *[scores] * self.causal)
        return tuple([(count, q.dtype) for count in counts])

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        q, k, v = (x.transpose(0, 2, 1, 3) for x in inputs)
        context, lse = parts_of(out, inputs[0])
        context = context.transpose(0, 2, 1, 3)
        causal = Causal(work[-1]) if self.causal else None
        for head in np.ndindex(q.shape[:2]):
            for queries, _ in blocks(q.shape[2], SIDE):
                given = q[head][queries], k[head], v[head]
                self._rows(context[head][queries], lse[head][queries], *given, queries, causal, work)

    def _rows(
        self,
        out: Array,
        lse: Array,
        q: Array,
        k: Array,
        v: Array,
        queries: slice,
        causal: Causal | None,
        work: Sequence[Array],
    ) -> None:
        """Compute the context of a block of queries: a sum over keys, rescaled when a maximum rises.

        The scores are shifted by the maximum of their row, but by 0 as long as all are small.
        """
        rows, d = q.shape
        scaled, part, mixed, repeated = (w[: rows * d].reshape(rows, d) for w in work[2:6])
        highest, largest, sums, partial = (w[:rows] for w in work[6:10])
        work[10].fill(1)
        np.copyto(scaled, q)
        np.multiply(scaled, self.scale, out=scaled)
        highest.fill(0)
        small = True
        for keys in key_blocks(len(k), queries, self.causal):
            scores, spread = (block_of(w, rows, keys) for w in work[:2])
            np.matmul(scaled, k[keys].T, out=scores)
            small = small and are_small(scores)
            if causal and keys == queries:
                causal.hide(scores)
            if small:
                np.exp(scores, out=scores)
            else:
                np.maximum.reduce(scores, axis=1, out=largest)
                if keys.start:
                    np.maximum(largest, highest, out=largest)
                exp_of_difference(scores, largest, spread)
            np.dot(scores, work[10][: scores.shape[1]], out=partial)
            np.matmul(scores, v[keys], out=part)
            if keys.start and not small:
                np.subtract(highest, largest, out=highest)
                np.exp(highest, out=highest)
                np.multiply(sums, highest, out=sums)
                np.copyto(repeated, highest[:, None])
                np.multiply(mixed, repeated, out=mixed)
            if keys.start:
                np.add(mixed, part, out=mixed)
                np.add(sums, partial, out=sums)
            else:
                np.copyto(mixed, part)
                np.copyto(sums, partial)
            if not small:
                np.copyto(highest, largest)
        np.copyto(repeated, sums[:, None])
        np.divide(mixed, repeated, out=mixed)
        np.copyto(out, mixed)
        np.log(sums, out=sums)
        np.add(sums, highest, out=lse)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        q, k, v = (b[i] for i in node.inputs)
        gradients = b.apply(AttentionBlocksGrad(self.scale, self.causal), cotangent, q, k, v, node)
        for position in wanted:
            yield position, one_of(b, gradients, position)


def attention_in_blocks(
    b: Builder,
    q: Node,
    k: Node,
    v: Node,
    *,
    causal: bool = False,
    scale: float | None = None,
    name: str | None = None,
) -> Node:
    """softmax(scale · q kᵀ) v per head, of which no scores are kept; by default the scale is 1/√d.

    q, k, v and the result have the shape (n, t, heads, d). Raises ``GraphError`` for other shapes.
    """
    factor = 1 / sqrt(q.shape[-1]) if scale is None and q.shape else scale or 1.0
    packed = b.apply(
        AttentionBlocks(factor, causal), q, k, v, name="context and lse", label="context and lse"
    )
    flat = b.apply(Slice((0,), (product(q.shape),)), packed)
    return reshape(b, flat, q.shape, name)
