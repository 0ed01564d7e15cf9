"""Dropout (Srivastava et al. 2014): x ⊙ mask/(1 − rate), with three ways to have the mask in backward.

The mask is kept as bytes or as bits, or it is drawn again from the key and nothing is kept. All three give
the same values. In inference dropout is its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import BLOCK, INDEX, Array, Cotangents, Op, Workspace, blocks
from memtrain.graph.ops.random_mask import (
    BOOL,
    BYTE,
    FLAGS,
    UNIFORM,
    PackedMask,
    RandomMask,
    check_key,
    check_rate,
    draws,
    packed_count,
)
from memtrain.graph.size import least, product, rounded_part

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer

KINDS = ("mask", "packed", "recomputed")


class _Dropout(Op):
    """The base of all three: input 0 is x, input 1 says which elements are kept."""

    reuses = (0,)
    glyph = "drop"
    rate: float

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])} ⊙ {w.term(inputs[1])}/{1 - self.rate:g}"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if read is inputs[0]:
            return super().purpose(w, read, node, *inputs)
        return f"needs to know which elements were dropped, from {read.name}"

    def inference(self, b: Builder, *inputs: Node) -> Node | None:
        """What the node becomes in inference: its input, since nothing is dropped."""
        return inputs[0]

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(self, cotangent, b[node.inputs[1]])

    def _multiply(self, x: Array, kept: Array, out: Array) -> None:
        """Compute x ⊙ kept/(1 − rate), with ``kept`` as numbers 0 and 1 that are overwritten."""
        np.multiply(kept, 1 / (1 - self.rate), out=kept)
        np.multiply(x, kept, out=out)


@dataclass(frozen=True)
class Dropout(_Dropout):
    """x ⊙ mask/(1 − rate) for a mask of bool."""

    rate: float

    name = "dropout"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, mask = inputs
        check_rate(self, self.rate)
        if mask.shape != x.shape or mask.dtype != BOOL:
            raise GraphError(f"{self.name} needs a bool mask of the shape of {x}, not {mask}")
        return x.shape, x.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return ((least(BLOCK, inputs[0].shape), inputs[0].dtype),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, mask, result = (array.reshape(-1) for array in (*inputs, out))
        for part, length in blocks(x.size):
            kept = work[0][:length]
            np.copyto(kept, mask[part])
            self._multiply(x[part], kept, result[part])


@dataclass(frozen=True)
class PackedDropout(_Dropout):
    """x ⊙ mask/(1 − rate) for the bits of a mask."""

    rate: float

    name = "packed_dropout"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, bits = inputs
        check_rate(self, self.rate)
        if bits.shape != (packed_count(x.shape),) or bits.dtype != BYTE:
            raise GraphError(f"{self.name} needs a bit for each element of {x}, not {bits}")
        return x.shape, x.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        x = inputs[0]
        bytes_ = rounded_part(least(BLOCK, x.shape), 8)
        return (bytes_, INDEX), (product((bytes_, 8)), x.dtype)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, bits, result = (array.reshape(-1) for array in (*inputs, out))
        codes, space = work
        for part, length in blocks(x.size):
            count = -(-length // 8)
            np.copyto(codes[:count], bits[part.start // 8 : part.start // 8 + count])
            flags = space[: 8 * count].reshape(count, 8)
            np.take(FLAGS[x.dtype], codes[:count], axis=0, out=flags, mode="clip")
            self._multiply(x[part], space[:length], result[part])


@dataclass(frozen=True)
class RecomputedDropout(_Dropout):
    """x ⊙ mask/(1 − rate), with the mask drawn from the key in forward and again in backward."""

    rate: float
    number: int

    name = "recomputed_dropout"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        x, key = map(w.term, inputs)
        return f"{x} ⊙ (random({key}, {self.number}) ≥ {self.rate:g})/{1 - self.rate:g}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        check_key(self, inputs[1])
        check_rate(self, self.rate)
        return inputs[0].shape, inputs[0].dtype

    def workspace(self, *inputs: Node) -> Workspace:
        count = least(BLOCK, inputs[0].shape)
        return (count, UNIFORM), (count, BOOL), (count, inputs[0].dtype)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, result = inputs[0].reshape(-1), out.reshape(-1)
        uniform, mask, kept = work
        for part, drawn in draws(inputs[1], self.number, x.size, uniform):
            length = drawn.size
            np.greater_equal(drawn, self.rate, out=mask[:length])
            np.copyto(kept[:length], mask[:length])
            self._multiply(x[part], kept[:length], result[part])


def dropout(
    b: Builder,
    x: Node,
    key: Node,
    rate: float,
    number: int,
    *,
    kind: str = "mask",
    name: str | None = None,
) -> Node:
    """x ⊙ mask/(1 − rate), with a random mask from ``key`` (seed, iteration) and the ``number`` of the op.

    ``kind`` says what backward reads: a ``mask`` of bytes, a ``packed`` mask of bits, or only the key, from
    which the mask is ``recomputed``. Raises ``GraphError`` for another kind, rate or key.
    """
    if kind not in KINDS:
        raise GraphError(f"dropout has no kind {kind!r}; give one of {', '.join(KINDS)}")
    if kind == "recomputed":
        return b.apply(RecomputedDropout(rate, number), x, key, name=name)
    if kind == "packed":
        bits = b.apply(PackedMask(number, rate, x.shape), key, name=f"bits{number}", label="bits")
        return b.apply(PackedDropout(rate), x, bits, name=name)
    mask = b.apply(RandomMask(number, rate, x.shape), key, name=f"mask{number}", label="mask")
    return b.apply(Dropout(rate), x, mask, name=name)
