"""Random masks that can be computed again: Philox counters (Salmon et al. 2011) keyed by seed and iteration.

The key is a leaf with two numbers of type uint64: the seed and the iteration. Each op has a number of its
own, which selects a stream of the generator. So the same key and number always give the same mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import BLOCK, Array, Op, Workspace, blocks
from memtrain.graph.size import least, product, rounded_part

if TYPE_CHECKING:
    from memtrain.graph.ops.notation import Writer

BOOL, BYTE, KEY = np.dtype(np.bool_), np.dtype(np.uint8), np.dtype(np.uint64)
UNIFORM = np.dtype(np.float32)
"""The type of the random numbers, whatever the type of the network."""

_GATHER = np.uint64(0x0102040810204080)
"""A factor that moves the lowest bits of the eight bytes of an integer into its highest byte (the first byte
of an integer is the lowest one)."""


def check_key(op: Op, key: Node) -> None:
    """Raise ``GraphError`` unless ``key`` holds a seed and an iteration."""
    if key.shape != (2,) or key.dtype != KEY:
        raise GraphError(f"{op.name} needs a seed and an iteration as [2] uint64, not {key}")


def check_rate(op: Op, rate: float) -> None:
    """Raise ``GraphError`` unless ``rate`` is at least 0 and less than 1."""
    if not 0 <= rate < 1:
        raise GraphError(f"{op.name} needs a rate of at least 0 and less than 1, not {rate}")


def draws(key: Array, number: int, size: int, uniform: Array) -> Iterator[tuple[slice, Array]]:
    """Blocks of ``size`` random numbers from 0 to 1, written into ``uniform``, each with its slice."""
    generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))
    for part, length in blocks(size, BLOCK):
        drawn = uniform[:length]
        generator.random(out=drawn, dtype=np.float32)
        yield part, drawn


@dataclass(frozen=True)
class RandomMask(Op):
    """True with the probability 1 − rate, for each element of ``shape``: one byte per element."""

    number: int
    rate: float
    shape: Shape

    name = "random_mask"
    glyph = "mask"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"random({w.term(inputs[0])}, {self.number}) ≥ {self.rate:g}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        check_key(self, inputs[0])
        check_rate(self, self.rate)
        return self.shape, BOOL

    def workspace(self, *inputs: Node) -> Workspace:
        return ((least(BLOCK, self.shape), UNIFORM),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        flat = out.reshape(-1)
        for part, drawn in draws(inputs[0], self.number, flat.size, work[0]):
            np.greater_equal(drawn, self.rate, out=flat[part])


@dataclass(frozen=True)
class PackedMask(Op):
    """The bits of a `RandomMask` for ``shape``: eight in a byte, the first in the lowest bit."""

    number: int
    rate: float
    shape: Shape

    name = "packed_mask"
    glyph = "bits"

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: one per element of the mask."""
        return prod(map(int, self.shape))

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"bits of random({w.term(inputs[0])}, {self.number}) ≥ {self.rate:g}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        check_key(self, inputs[0])
        check_rate(self, self.rate)
        return (packed_count(self.shape),), BYTE

    def workspace(self, *inputs: Node) -> Workspace:
        count = least(BLOCK, self.shape)
        return (count, UNIFORM), (rounded_part(count, 8), KEY)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        uniform, eights = work
        flags = eights.view(BOOL)
        for part, drawn in draws(inputs[0], self.number, prod(map(int, self.shape)), uniform):
            length = drawn.size
            bytes_ = -(-length // 8)
            flags[length : 8 * bytes_] = False
            np.greater_equal(drawn, self.rate, out=flags[:length])
            codes = eights[:bytes_]
            np.multiply(codes, _GATHER, out=codes)
            np.right_shift(codes, np.uint64(56), out=codes)
            np.copyto(out[part.start // 8 : part.start // 8 + bytes_], codes, casting="unsafe")


def packed_count(shape: Shape) -> int:
    """The bytes of the bits of a mask of ``shape``."""
    return rounded_part(product(shape), 8)


_BITS = np.arange(256)[:, None] >> np.arange(8) & 1
FLAGS = {dtype: _BITS.astype(dtype) for dtype in map(np.dtype, (np.float32, np.float64))}
"""For each float type: the eight flags of each byte of a packed mask, as numbers 0 and 1."""
