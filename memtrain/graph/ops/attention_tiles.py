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

_SMALL = 50.0
"""exp(±50) is 5e21 or 2e-22. Float32 reaches from 1e-38 to 3e38."""


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


class Causal:
    """Bounds of the scores of queries and their own keys: −∞ for the keys after a query, +∞ for the others.

    One pass with the bounds takes a tenth of the time of a loop over rows. They are kept in ``space`` until a
    block of another size comes.
    """

    def __init__(self, space: Array) -> None:
        self._space, self._bounds = space, space[:0]

    def hide(self, scores: Array) -> None:
        """Set the scores of keys after their query to −∞."""
        rows = len(scores)
        if len(self._bounds) != rows:
            self._bounds = self._space[: rows * rows].reshape(rows, rows)
            self._bounds.fill(-np.inf)
            for row in range(rows):
                self._bounds[row, : row + 1] = np.inf
        np.fmin(scores, self._bounds, out=scores)


def block_of(space: Array, rows: int, keys: slice) -> Array:
    """A block of scores in the workspace ``space``."""
    return space[: rows * (keys.stop - keys.start)].reshape(rows, -1)


def are_small(scores: Array) -> bool:
    """Whether the exponentials of all scores, their sum and its inverse keep all digits, without a shift."""
    highest: float = np.maximum.reduce(scores, axis=None).item()
    lowest: float = np.minimum.reduce(scores, axis=None).item()
    return lowest >= -_SMALL and highest <= _SMALL


def exp_of_difference(scores: Array, number: Array, spread: Array) -> None:
    """Compute exp(score − the number of its row) in place."""
    np.copyto(spread, number[:, None])
    np.subtract(scores, spread, out=scores)
    np.exp(scores, out=scores)
