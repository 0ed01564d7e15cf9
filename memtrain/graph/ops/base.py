"""What an op is, and all that is said of it: shape rule, kernel, workspace, vjp, cost, and how it is written.

One class per op. The fields of the (frozen) class are the op's attributes, so that a node is data.

Most ops are elementwise: `memtrain.graph.ops.blockwise.Elementwise` is their base. An activation is a
`ReadsInput` or a `ReadsOutput` of `memtrain.graph.ops.activation`, with a `Slope` for its derivative. Modules
in this folder are found by themselves; `memtrain.cells.columns` lists the names of activations for the help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Role, Shape

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer

Array = npt.NDArray[Any]
Workspace = tuple[tuple[int, DType], ...]
"""Arrays that a kernel needs besides its output: element count (with its meaning) and type of each."""

Cotangents = Iterator[tuple[int, Node]]
"""Positions of inputs, each with the cotangent that a rule built for it."""

Call = Callable[[], object]
"""A kernel with its arrays bound: ready to be called, again and again."""

BLOCK = 16384
"""Elements that an elementwise kernel handles at a time: its workspace stays in the L2 cache, and
the Python call (about 1 µs) is short beside the computation (about 5 µs)."""

INDEX = np.dtype(np.intp)


class Speed(StrEnum):
    """Which measured rate of a machine gives the time of an op."""

    PRODUCT = "product"
    """The FLOPs of matrix products."""
    MEMORY = "memory"
    """The bytes that plain elementwise steps read and write."""
    OWN = "own"
    """A rate measured for this op, since computing takes longer than reading and writing."""


OPS: dict[str, type[Op]] = {}
"""Every op by its name."""


class Op:
    """One rule of the computational graph."""

    name: ClassVar[str]
    reuses: ClassVar[tuple[int, ...]] = ()
    """Inputs whose buffer the kernel may be given as its output."""
    is_view: ClassVar[bool] = False
    """The result is a view of the storage of input 0: it has no kernel and no bytes."""
    writes: ClassVar[int | None] = None
    """The input that the kernel overwrites (an effect): the result is that storage's new value."""
    kinks: ClassVar[tuple[float, ...]] = ()
    """Where the derivative jumps: elements of the result that lie there, or pass it."""
    strided: ClassVar[bool] = False
    """The kernel also accepts inputs whose bytes are not in row order."""
    reads_output: ClassVar[bool] = False
    """The vjp reads the result and no input, so the input can be freed at once."""
    summands: ClassVar[tuple[int, ...]] = ()
    """Inputs that are terms of a sum. A value that is only such a term needs no name in a formula."""
    is_activation: ClassVar[bool] = False
    """Whether a layer can use the op between its products, by name and without attributes."""
    halves_variance: ClassVar[bool] = False
    """It passes about half of its input's variance: weights start as He et al. 2015 have it, not Glorot."""
    speed: ClassVar[Speed] = Speed.MEMORY
    input_count: ClassVar[int] = 1
    """The number of inputs, of one shape, with which the rate of the op is measured."""
    glyph: ClassVar[str] = ""
    """The symbol of the op in a drawing; its name is drawn if there is none."""
    adds_vjp: ClassVar[tuple[int, ...]] = ()
    """Inputs whose cotangent ``add_vjp`` adds to another one in place."""

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            if cls.name in OPS:
                raise GraphError(f"two ops have the name {cls.name!r}; give the second another name")
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
        """A call of the kernel on these arrays; everything that can be looked up is looked up now."""
        return partial(self.kernel, out, *inputs, work=work)

    def view(self, base: Array) -> Array:
        """The view of ``base`` (views only)."""
        raise GraphError(f"{self.name} is not a view")

    @property
    def leaf_role(self) -> Role | None:
        """The role of a value that a run is given; ``None`` for a computed value."""
        return None

    @property
    def drawn(self) -> str:
        """The text in the circle of a drawing."""
        return self.glyph or self.name

    def keeps_order(self, *inputs: Node) -> bool:
        """Whether the result's bytes lie in row order."""
        return True

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        """Build the cotangents of inputs from the cotangent of ``node``: the book's prod.

        Yields (position, cotangent) for the positions in ``wanted``, in that order. Each is built only when
        it is asked for, so that the caller can add it to a sum before the next one exists. Nodes that several
        of them need are built once. An input whose derivative is zero everywhere is left out.
        """
        raise GraphError(f"{node} is not differentiable with respect to input {wanted[0]}")

    def add_vjp(self, b: Builder, node: Node, position: int, cotangent: Node, into: Node) -> Node:
        """Build ``into`` plus what ``vjp`` gives for an input of ``adds_vjp``, without a second array."""
        raise GraphError(f"{self.name} cannot add the cotangent of input {position} to {into}")

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: one per element of the larger of result and inputs."""
        return 0 if self.is_view else max([node.size, *[given.size for given in inputs]])

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        """The right side of the equation that defines ``node``, in the notation of the book."""
        return f"{self.name}({', '.join(map(w.term, inputs))})"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        """What ``node`` needs its input ``read`` for, as a clause without subject: "needs the factor hᵀ"."""
        return f"needs the operand {read.name}"

    def constant(self, w: Writer, *inputs: Node) -> float | None:
        """The result where it is the same number in every run; ``None`` where it depends on the leaves."""
        return None


def input_of(b: Builder, node: Node, position: int) -> Node:
    """The node that is the input of ``node`` at ``position``."""
    return b[node.inputs[position]]


def blocks(size: int, block: int = BLOCK) -> Iterator[tuple[slice, int]]:
    """Cut ``size`` elements (or rows) into slices of at most ``block``, each with its length."""
    for start in range(0, size, block):
        stop = min(start + block, size)
        yield slice(start, stop), stop - start


def rows_per_block(row_size: int) -> int:
    """The number of rows of ``row_size`` elements that fill about one block; at least one."""
    return max(1, BLOCK // max(1, row_size))


def same_type(op: Op, *inputs: Node) -> DType:
    """The common type of the inputs. Raises ``GraphError`` when they differ."""
    dtype = inputs[0].dtype
    for node in inputs:
        if node.dtype != dtype:
            raise GraphError(f"{op.name} needs inputs of one type, not {', '.join(map(str, inputs))}")
    return dtype


def same_shape(op: Op, *inputs: Node) -> tuple[Shape, DType]:
    """The common shape and type of the inputs. Raises ``GraphError`` when they differ."""
    shape = inputs[0].shape
    for node in inputs:
        if node.shape != shape:
            raise GraphError(f"{op.name} needs inputs of one shape, not {', '.join(map(str, inputs))}")
    return shape, same_type(op, *inputs)
