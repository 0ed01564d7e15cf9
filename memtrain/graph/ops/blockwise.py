"""Ops that are computed block by block, so that their workspace stays small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import ClassVar

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import (
    BLOCK,
    SHARED,
    Array,
    Call,
    Op,
    Workspace,
    cut,
    rows_per_block,
    same_shape,
)
from memtrain.graph.size import least, product


class Elementwise(Op):
    """The base of ops whose inputs are single numbers or have the shape of the result.

    The kernel computes flat arrays block by block. ``scratch`` is the number of its workspace arrays, each
    as long as a block.
    """

    scratch: ClassVar[int] = 0

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return same_shape(self, *inputs)

    def workspace(self, *inputs: Node) -> Workspace:
        return ((least(BLOCK, inputs[0].shape), inputs[0].dtype),) * self.scratch if self.scratch else ()

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        self.bind(out, *inputs, work=work)()

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        if not self.scratch or work[0].size == out.size:
            return partial(self.block, *_flat(out.size, out, *inputs), work=work)
        length = work[0].size
        whole = out.size - out.size % length
        flat = _flat(out.size, out, *inputs)
        blocks = [x[:whole].reshape(-1, length) if x.ndim else repeat(x) for x in flat]
        rest = [x[whole:] if x.ndim else x for x in flat]
        return partial(self._each_block, blocks, rest, work, [w[: out.size - whole] for w in work])

    def shares(self, count: int, out: Array, *inputs: Array, work: Sequence[Array]) -> list[Call]:
        if self.scratch or out.size < SHARED:
            return [self.bind(out, *inputs, work=work)]
        return [self.bind(*arrays, work=work) for arrays in cut(count, *_flat(out.size, out, *inputs))]

    def _each_block(
        self,
        blocks: Sequence[Iterable[Array]],
        rest: Sequence[Array],
        work: Sequence[Array],
        rest_work: Sequence[Array],
    ) -> None:
        for arrays in zip(*blocks, strict=False):
            self.block(*arrays, work=work)
        if rest[0].size:
            self.block(*rest, work=rest_work)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        """The kernel of one block. An op without scratch computes the whole array as one block."""
        raise GraphError(f"{self.name} has no kernel")


def _flat(size: int, *arrays: Array) -> list[Array]:
    """The arrays of ``size`` elements as flat views; numbers stay as they are."""
    return [array.reshape(-1) if array.size == size else array for array in arrays]


def row_blocks(rows: int, scratch: Sequence[Array], arrays: Sequence[Array]) -> Iterator[tuple[Array, ...]]:
    """Blocks of at most ``rows`` rows of each array, after as many rows of each of ``scratch``."""
    count = len(arrays[0])
    whole = count - count % rows
    cut = [x[:whole].reshape(-1, rows, *x.shape[1:]) for x in arrays]
    yield from zip(*map(repeat, scratch), *cut, strict=False)
    if whole < count:
        yield *[x[: count - whole] for x in scratch], *[x[whole:] for x in arrays]


class RowWise(Op):
    """The base of ops over the last axis, computed in blocks of whole rows.

    ``scratch`` is the number of workspace arrays as large as a block. One more workspace array, the first,
    holds a number per row of the block.
    """

    scratch: int

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        if not inputs[0].shape:
            raise GraphError(f"{self.name} needs a last axis, not {inputs[0]}")
        return same_shape(self, *inputs)

    def workspace(self, *inputs: Node) -> Workspace:
        x = inputs[0]
        rows = least(rows_per_block(x.shape[-1]), x.shape[:-1])
        sizes = (rows, *[product((rows, x.shape[-1]))] * self.scratch)
        return tuple([(size, x.dtype) for size in sizes])

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        row = out.shape[-1]
        spaces = [work[0], *[w.reshape(-1, row) for w in work[1:]]]
        matrices = [x.reshape(-1, row) for x in (out, *inputs)]
        for found in row_blocks(work[0].size, spaces, matrices):
            self.rows(*found[len(spaces) :], work=found[: len(spaces)])

    def rows(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        """The kernel of one block of rows."""
        raise GraphError(f"{self.name} has no kernel")
