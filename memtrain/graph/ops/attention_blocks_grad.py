"""The gradient of attention in blocks (Dao et al. 2022, algorithm 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import Exp, add, multiply, scale, sum_to
from memtrain.graph.ops.attention_tiles import (
    SIDE,
    Causal,
    block_of,
    check_heads,
    exp_of_difference,
    key_blocks,
    packed_size,
    parts_of,
    side_of,
)
from memtrain.graph.ops.base import Array, Cotangents, Op, Speed, Workspace, blocks
from memtrain.graph.ops.heads import Mix, Scores
from memtrain.graph.ops.probabilities import Lower
from memtrain.graph.ops.view import Pad, Slice, reshape, transpose
from memtrain.graph.size import product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


def _part_nodes(b: Builder, packed: Node, q: Node) -> tuple[Node, Node]:
    """Views of the context and of the lse (n, heads, t, 1) in a node of both."""
    n, t, heads, _ = q.shape
    size = product(q.shape)
    context = b.apply(Slice((0,), (size,)), packed)
    lse = b.apply(Slice((size,), (packed.shape[0],)), packed)
    return reshape(b, context, q.shape), reshape(b, lse, (n, heads, t, 1))


def one_of(b: Builder, three: Node, index: int) -> Node:
    """A view of one of the three values in ``three``."""
    shape = three.shape[1:]
    part = b.apply(Slice((index, *[0] * len(shape)), (index + 1, *shape)), three)
    return reshape(b, part, shape)


@dataclass(frozen=True)
class AttentionBlocksGrad(Op):
    """The gradients of q, k and v, as (3, n, t, heads, d), from a cotangent of the context and the lse.

    The probabilities p of a block are computed again. With δ = Σ g ⊙ context − the cotangent of the lse, the
    gradient of the scores is p ⊙ (g vᵀ − δ).
    """

    scale: float = 1.0
    causal: bool = False

    name = "attention_blocks_grad"
    speed = Speed.PRODUCT
    glyph = "att′"

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: five products with 2 · d for each score, half of them if causal."""
        n, t, heads, d = map(int, inputs[1].shape)
        return 10 * n * heads * t * t * d // (2 if self.causal else 1)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, q, k, v, packed = inputs
        check_heads(self, q, k, v)
        if not g.shape == packed.shape == (packed_size(q),):
            raise GraphError(f"{self.name} needs context and lse of {q}, not {g} and {packed}")
        return (3, *q.shape), q.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        """Three blocks of scores, two arrays and four blocks of a head, three rows, and causal bounds."""
        q, side = inputs[1], side_of(inputs[1])
        t, d = q.shape[1], q.shape[3]
        scores, head, rows = product((side, side)), product((t, d)), product((side, d))
        counts = (*[scores] * 3, *[head] * 2, *[rows] * 4, side, side, d, *[scores] * self.causal)
        return tuple([(count, q.dtype) for count in counts])

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        given, q, k, v, packed = inputs
        (g, g_lse), (context, lse) = parts_of(given, q), parts_of(packed, q)
        values = [x.transpose(0, 2, 1, 3) for x in (g, q, k, v, context, *out)]
        dk, dv = (w.reshape(q.shape[1], q.shape[3]) for w in work[3:5])
        work[11].fill(1)
        causal = Causal(work[-1]) if self.causal else None
        for head in np.ndindex(lse.shape[:2]):
            of_head = [x[head] for x in (*values, lse, g_lse)]
            dk.fill(0)
            dv.fill(0)
            for queries, _ in blocks(q.shape[1], SIDE):
                self._rows(queries, dk, dv, of_head, causal, work)
            np.copyto(of_head[6], dk)
            np.copyto(of_head[7], dv)

    def _rows(
        self,
        queries: slice,
        dk: Array,
        dv: Array,
        of_head: Sequence[Array],
        causal: Causal | None,
        work: Sequence[Array],
    ) -> None:
        """Add the parts of one block of queries to ``dk`` and ``dv``, and write the gradient of q."""
        g, q, k, v, context, out, _, _, lse, g_lse = of_head
        g, q, context, out, lse, g_lse = (x[queries] for x in (g, q, context, out, lse, g_lse))
        rows, d = q.shape
        dq, scaled, part, other = (w[: rows * d].reshape(rows, d) for w in work[5:9])
        delta = work[9][:rows]
        np.copyto(part, g)
        np.copyto(other, context)
        np.multiply(part, other, out=part)
        np.dot(part, work[11], out=delta)
        np.subtract(delta, g_lse, out=delta)
        np.copyto(scaled, q)
        np.multiply(scaled, self.scale, out=scaled)
        dq.fill(0)
        for keys in key_blocks(len(k), queries, self.causal):
            p, ds, spread = (block_of(w, rows, keys) for w in work[:3])
            np.matmul(scaled, k[keys].T, out=p)
            if causal and keys == queries:
                causal.hide(p)
            exp_of_difference(p, lse, spread)
            key_part = work[8][: p.shape[1] * d].reshape(-1, d)
            np.matmul(p.T, g, out=key_part)
            np.add(dv[keys], key_part, out=dv[keys])
            np.matmul(g, v[keys].T, out=ds)
            np.copyto(spread, delta[:, None])
            np.subtract(ds, spread, out=ds)
            np.multiply(ds, p, out=ds)
            np.matmul(ds.T, scaled, out=key_part)
            np.add(dk[keys], key_part, out=dk[keys])
            np.matmul(ds, k[keys], out=part)
            np.add(dq, part, out=dq)
        np.multiply(dq, self.scale, out=dq)
        np.copyto(out, dq)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        """By parts: the gradient of an expression of products, exp and sums, in which no rule is missing."""
        found = self._by_parts(b, node, [one_of(b, cotangent, index) for index in range(3)])
        for position in wanted:
            yield position, found[position]

    def _by_parts(self, b: Builder, node: Node, cotangents: Sequence[Node]) -> list[Node]:
        given, q, k, v, packed = (b[i] for i in node.inputs)
        aq, ak, av = cotangents
        (g, g_lse), (context, lse) = _part_nodes(b, given, q), _part_nodes(b, packed, q)
        times, back = Scores(self.scale), Mix(True, self.scale)
        p = self._probabilities(b, b.apply(times, q, k), lse)
        delta = add(b, _over_d(b, multiply(b, g, context)), scale(b, g_lse, -1.0))
        difference = add(b, b.apply(Scores(), g, v), scale(b, delta, -1.0))
        ds = multiply(b, p, difference)
        of_ds = add(b, b.apply(times, aq, k), b.apply(times, q, ak))
        of_difference = multiply(b, of_ds, p)
        of_p = add(b, multiply(b, of_ds, difference), b.apply(Scores(), g, av))
        of_scores = multiply(b, p, of_p)
        rows = (*lse.shape[:3], 1)
        of_g_lse = sum_to(b, of_difference, rows)  # that of δ, with the other sign
        of_delta = scale(b, _per_row(b, of_g_lse), -1.0)
        of_g = add(b, b.apply(Mix(), of_difference, v), b.apply(Mix(), p, av))
        of_g = add(b, of_g, multiply(b, of_delta, context))
        of_lse = scale(b, sum_to(b, of_scores, rows), -1.0)
        return [
            _packed(b, of_g, of_g_lse, packed),
            add(b, b.apply(Mix(False, self.scale), of_scores, k), b.apply(Mix(False, self.scale), ds, ak)),
            add(b, b.apply(back, of_scores, q), b.apply(back, ds, aq)),
            b.apply(Mix(True), of_difference, g),
            _packed(b, multiply(b, of_delta, g), of_lse, packed),
        ]

    def _probabilities(self, b: Builder, scores: Node, lse: Node) -> Node:
        """exp(score − lse); 0 for a key after the query if the attention is causal."""
        shifted = add(b, scores, scale(b, lse, -1.0))
        if not self.causal:
            return b.apply(Exp(), shifted)
        return b.apply(Lower(), b.apply(Exp(), b.apply(Lower(), shifted)))


def _per_row(b: Builder, x: Node) -> Node:
    """x (n, heads, t, 1) as (n, t, heads, 1), or the other way round."""
    return b.contiguous(transpose(b, x, (0, 2, 1, 3)))


def _over_d(b: Builder, x: Node) -> Node:
    """The sum over d of x (n, t, heads, d), as (n, heads, t, 1)."""
    return _per_row(b, sum_to(b, x, (*x.shape[:3], 1)))


def _packed(b: Builder, context: Node, lse: Node, like: Node) -> Node:
    """A context and an lse in one flat array of the shape of ``like``."""
    size, whole = context.size, like.shape
    first = b.apply(Pad((0,), (size,), whole), reshape(b, context, (size,)))
    second = b.apply(Pad((size,), (whole[0],), whole), reshape(b, lse, (lse.size,)))
    return add(b, first, second)
