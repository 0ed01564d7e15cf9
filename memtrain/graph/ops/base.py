"""What an op is: its shape rule, its kernel, its workspace, its vjp, and what it may reuse.

One class per op. The fields of the (frozen) class are the op's attributes, so that a node is data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder

Array = npt.NDArray[Any]
Workspace = tuple[tuple[int, DType], ...]
"""Arrays that a kernel needs besides its output: element count and type of each."""

Cotangents = Iterator[tuple[int, Node]]
"""Positions of inputs, each with the cotangent that a rule built for it."""

Call = Callable[[], object]
"""A kernel with its arrays bound: ready to be called, again and again."""

BLOCK = 16384
"""Elements that an elementwise kernel handles at a time: its workspace stays in the L2 cache, and
the Python call (about 1 µs) is small beside the work (about 5 µs)."""

INDEX = np.dtype(np.intp)

OPS: dict[str, type[Op]] = {}
"""Every op by its name."""


class Op:
    """One rule of the computational graph."""

    name: ClassVar[str]
    reuses: ClassVar[tuple[int, ...]] = ()
    """Inputs whose buffer the kernel may be given as its output."""
    is_view: ClassVar[bool] = False
    """The result looks at the storage of input 0; no kernel, no bytes."""
    writes: ClassVar[int | None] = None
    """The input that the kernel overwrites (an effect): the result is that storage's new value."""
    kinked: ClassVar[bool] = False
    """The derivative jumps where an element of the result turns positive."""
    strided: ClassVar[bool] = False
    """The kernel also takes inputs whose bytes are not in row order."""
    adds_vjp: ClassVar[tuple[int, ...]] = ()
    """Inputs whose cotangent ``add_vjp`` adds to another one in place."""

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            if cls.name in OPS:
                raise GraphError(f"two ops are named {cls.name!r}; name the second otherwise")
            OPS[cls.name] = cls

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        """Shape and type of the result; raises ``GraphError`` when the inputs do not fit."""
        raise GraphError(f"{self.name} has no shape rule")

    def workspace(self, *inputs: Node) -> Workspace:
        """What the kernel needs besides its output, as a function of shapes and types."""
        return ()

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        """Compute into ``out``, with ``work`` (flat arrays, as declared) as the only other memory."""
        raise GraphError(f"{self.name} has no kernel")

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        """The kernel on these arrays, with all that can be looked up before it is called."""
        return partial(self.kernel, out, *inputs, work=work)

    def view(self, base: Array) -> Array:
        """The view of ``base`` (views only)."""
        raise GraphError(f"{self.name} is not a view")

    def keeps_order(self, *inputs: Node) -> bool:
        """Whether the result's bytes lie in row order."""
        return True

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        """Build the cotangents of inputs from the cotangent of ``node``: the book's prod.

        Yields (position, cotangent) for the positions in ``wanted``, in that order, and builds each only when
        it is asked for: whoever asks adds it to others before the next one exists. What several of them share
        is built once. An input without influence (its derivative is zero everywhere) is left out.
        """
        raise GraphError(f"{node} is not differentiable with respect to input {wanted[0]}")

    def add_vjp(self, b: Builder, node: Node, position: int, cotangent: Node, into: Node) -> Node:
        """Build ``into`` plus what ``vjp`` gives for an input of ``adds_vjp``, without a second array."""
        raise GraphError(f"{self.name} cannot add the cotangent of input {position} to {into}")


def input_of(b: Builder, node: Node, position: int) -> Node:
    """The node that stands at an input of ``node``."""
    return b[node.inputs[position]]


def blocks(size: int, block: int = BLOCK) -> Iterator[tuple[slice, int]]:
    """Cut ``size`` elements (or rows) into slices of at most ``block``, each with its length."""
    for start in range(0, size, block):
        stop = min(start + block, size)
        yield slice(start, stop), stop - start


def rows_per_block(row_size: int) -> int:
    """Rows of ``row_size`` elements that make about a block, at least one."""
    return max(1, BLOCK // max(1, row_size))


def same_type(op: Op, *inputs: Node) -> DType:
    """The one type of all inputs; raises ``GraphError`` when they differ."""
    dtype = inputs[0].dtype
    for node in inputs:
        if node.dtype != dtype:
            raise GraphError(f"{op.name} needs inputs of one type, not {', '.join(map(str, inputs))}")
    return dtype


def same_shape(op: Op, *inputs: Node) -> tuple[Shape, DType]:
    """Shape and type of inputs that must be alike; raises ``GraphError`` when they differ."""
    shape = inputs[0].shape
    for node in inputs:
        if node.shape != shape:
            raise GraphError(f"{op.name} needs inputs of one shape, not {', '.join(map(str, inputs))}")
    return shape, same_type(op, *inputs)


class Elementwise(Op):
    """Ops whose inputs all have the shape of the result, or are numbers, computed over flat arrays.

    ``scratch`` is the number of arrays that ``block`` is given besides, each as long as a block.
    """

    scratch: ClassVar[int] = 0

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return same_shape(self, *inputs)

    def workspace(self, *inputs: Node) -> Workspace:
        return ((min(BLOCK, inputs[0].size), inputs[0].dtype),) * self.scratch

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
        """The kernel of one block (of everything at once when there is no scratch)."""
        raise GraphError(f"{self.name} has no kernel")


def _flat(size: int, *arrays: Array) -> list[Array]:
    """Arrays of ``size`` elements laid flat; numbers beside them as they are."""
    return [array.reshape(-1) if array.size == size else array for array in arrays]
