"""The layout of attention in blocks: its packed values, and the blocks of scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import Node
from memtrain.graph.ops.base import Array, Op, blocks, same_shape
from memtrain.graph.size import least, product, total

SIDE = 128
"""Queries and keys of a block of scores."""


def side_of(q: Node) -> int:
    """The queries and keys of a block, for queries ``q`` (n, t, heads, d)."""
    return least(SIDE, (q.shape[1],))


def check_heads(op: Op, q: Node, k: Node, v: Node) -> None:
    """Raise ``GraphError`` unless all three have one shape (n, t, heads, d) and one type."""
    same_shape(op, q, k, v)
    if len(q.shape) != 4:
        raise GraphError(f"{op.name} needs values (n, t, heads, d), not {q}")


def packed_size(q: Node) -> int:
    """The elements of a context and its lse."""
    return total((product(q.shape), product(q.shape[:3])))


def parts_of(packed: Array, like: Array) -> tuple[Array, Array]:
    """The context (n, t, heads, d) and the lse (n, heads, t) in an array of both."""
    n, t, heads, _ = like.shape
    return packed[: like.size].reshape(like.shape), packed[like.size :].reshape(n, heads, t)


def key_blocks(t: int, queries: slice, causal: bool) -> Iterator[slice]:
    """The blocks of keys that some of the ``queries`` read. With ``causal``, later blocks are skipped."""
    for keys, _ in blocks(t, SIDE):
        if not causal or keys.start < queries.stop:
            yield keys


def hide_keys(scores: Array, queries: slice, keys: slice) -> None:
    """Set the scores of keys after their query to −∞ (causal attention)."""
    for row in range(max(0, keys.start - queries.start), len(scores)):
        first = queries.start + row + 1 - keys.start
        if first >= scores.shape[1]:
            return
        scores[row, first:] = -np.inf


def block_of(space: Array, rows: int, keys: slice) -> Array:
    """A block of scores in the workspace ``space``."""
    return space[: rows * (keys.stop - keys.start)].reshape(rows, -1)


def exp_of_difference(scores: Array, number: Array, spread: Array) -> None:
    """Compute exp(score − the number of its row) in place."""
    np.copyto(spread, number[:, None])
    np.subtract(scores, spread, out=scores)
    np.exp(scores, out=scores)
