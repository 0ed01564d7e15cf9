"""The base class of all ops: shape rule, kernel, workspace, vjp rule, cost, formula and symbol.

Each op is one frozen class. Its fields are the attributes of the op, so that a node is data.

Most ops are elementwise and derive from `memtrain.graph.ops.blockwise.Elementwise`. An activation derives
from `ReadsInput` or `ReadsOutput` in `memtrain.graph.ops.activation`, and its derivative from `Slope`. A new
module in this folder is imported without further registration. Only the help text needs a name of a new
activation: `memtrain.cells.columns` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import cache, partial
from itertools import pairwise
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
"""Arrays that a kernel needs besides its output: for each, the element count (with its meaning) and type."""

Cotangents = Iterator[tuple[int, Node]]
"""Positions of inputs, each with the cotangent that a vjp rule built for the input."""

Call = Callable[[], object]
"""A kernel with its arrays bound. It can be called any number of times."""

BLOCK = 16384
"""Elements that an elementwise kernel computes at a time. The workspace then stays in the L2 cache, and
the Python call (about 1 µs) is short compared with the computation (about 5 µs)."""

SHARED = 1 << 19
"""The fewest elements of a result that threads share. One thread writes as many in about 0.2 ms."""

INDEX = np.dtype(np.intp)


class Speed(StrEnum):
    """The measured rate of a machine from which the time of an op is predicted."""

    PRODUCT = "product"
    """FLOPs per second of matrix products."""
    MEMORY = "memory"
    """Bytes per second that plain elementwise steps read and write."""
    OWN = "own"
    """A rate measured for this op, whose computation takes longer than its reads and writes."""


OPS: dict[str, type[Op]] = {}
"""Every op by its name."""


class Op:
    """One rule of the computational graph."""

    name: ClassVar[str]
    reuses: ClassVar[tuple[int, ...]] = ()
    """Inputs whose buffer may also be the output buffer of the kernel."""
    is_view: ClassVar[bool] = False
    """The result is a view of the storage of input 0: it has no kernel and no bytes."""
    writes: ClassVar[int | None] = None
    """The input that the kernel overwrites (an effect). The result is the new value of its storage."""
    tracks: ClassVar[bool] = False
    """The effect belongs to forward: it tracks the statistic at input 1. In inference, the value of input 0
    stands for this statistic."""
    reads_statistics: ClassVar[bool] = False
    """Some inputs are functions of another input, and the cotangent of that input includes their part."""
    kinks: ClassVar[tuple[float, ...]] = ()
    """Values of the result at which the derivative jumps."""
    strided: ClassVar[bool] = False
    """The kernel also accepts inputs whose bytes are not in row order."""
    reads_output: ClassVar[bool] = False
    """The vjp rule reads the result and no input, so the inputs can be freed at once."""
    summands: ClassVar[tuple[int, ...]] = ()
    """Inputs that are terms of a sum. A value that is read only as such a term needs no name in a formula."""
    is_activation: ClassVar[bool] = False
    """Whether a layer can apply the op between its products, given its name and no attributes."""
    halves_variance: ClassVar[bool] = False
    """The result has about half of the variance of the input. So the initial weights before the op follow
    He et al. 2015 instead of Glorot & Bengio 2010."""
    speed: ClassVar[Speed] = Speed.MEMORY
    input_count: ClassVar[int] = 1
    """The number of inputs with which the rate of the op is measured. All have one shape."""
    glyph: ClassVar[str] = ""
    """The symbol of the op in a drawing; if it is empty, the name is drawn."""
    lasts_as: Role | None = None
    """The role of a computed value that is made in the first iteration and lasts to the end of the run."""
    adds_vjp: ClassVar[tuple[int, ...]] = ()
    """Inputs whose cotangents ``add_vjp`` can add to a sum in place."""

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            if cls.name in OPS:
                raise GraphError(f"two ops have the name {cls.name!r}; give the second another name")
            OPS[cls.name] = cls

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        """Shape and type of the result. Raises ``GraphError`` when the op cannot take these inputs."""
        raise GraphError(f"{self.name} has no shape rule")

    def workspace(self, *inputs: Node) -> Workspace:
        """The arrays that the kernel needs besides its output, as a function of shapes and types."""
        return ()

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        """Compute the result into ``out``. ``work``, the flat arrays of `workspace`, is all other memory."""
        raise GraphError(f"{self.name} has no kernel")

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        """The kernel bound to these arrays. All lookups are done here, so that a call is fast."""
        return partial(self.kernel, out, *inputs, work=work)

    def shares(self, count: int, out: Array, *inputs: Array, work: Sequence[Array]) -> list[Call]:
        """The bound kernel as at most ``count`` calls, which may run at the same time.

        They write different parts of ``out``. The bits of the result do not depend on ``count``.
        """
        return [self.bind(out, *inputs, work=work)]

    def view(self, base: Array) -> Array:
        """The view of ``base`` (views only)."""
        raise GraphError(f"{self.name} is not a view")

    @property
    def leaf_role(self) -> Role | None:
        """The role of a leaf, whose value a run is given; ``None`` for a computed value."""
        return None

    @property
    def drawn(self) -> str:
        """The text in the circle of a drawing."""
        return self.glyph or self.name

    def keeps_order(self, *inputs: Node) -> bool:
        """Whether the bytes of the result lie in row order."""
        return True

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        """Build the cotangents of inputs from the cotangent of ``node``. The book calls this prod.

        Yields (position, cotangent) for each position in ``wanted``, in the order of ``wanted``. Each
        cotangent is built only when the iterator reaches it, so that the caller can add it to a sum before
        the next one exists. Nodes that several cotangents need are built once. An input whose derivative is
        zero everywhere is left out.
        """
        raise GraphError(f"{node} is not differentiable with respect to input {wanted[0]}")

    def add_vjp(self, b: Builder, node: Node, position: int, cotangent: Node, into: Node) -> Node:
        """Build ``into`` + the cotangent of an input of ``adds_vjp``, without an array for the cotangent."""
        raise GraphError(f"{self.name} cannot add the cotangent of input {position} to {into}")

    def inference(self, b: Builder, *inputs: Node) -> Node | None:
        """The value that stands for the result in inference; ``None`` if it is computed as in training."""
        return None

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: one per element of the largest among result and inputs; 0 for a view."""
        return 0 if self.is_view else max([node.size, *[given.size for given in inputs]])

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        """The right side of the equation that defines ``node``, in the notation of the book."""
        return f"{self.name}({', '.join(map(w.term, inputs))})"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        """Why ``node`` needs its input ``read``, as a clause without subject: "needs the factor hᵀ"."""
        return f"needs the operand {read.name}"

    def constant(self, w: Writer, *inputs: Node) -> float | None:
        """The result if it is the same number in every run; ``None`` if it depends on the leaves."""
        return None


@cache
def number(value: float, dtype: DType) -> Array:
    """``value`` as an array without axes. A ufunc takes it a microsecond faster than a Python number."""
    found = np.array(value, dtype)
    found.flags.writeable = False
    return found


def input_of(b: Builder, node: Node, position: int) -> Node:
    """The node that is the input of ``node`` at ``position``."""
    return b[node.inputs[position]]


def blocks(size: int, block: int = BLOCK) -> Iterator[tuple[slice, int]]:
    """Slices of at most ``block`` that together cover ``size`` elements (or rows), each with its length."""
    for start in range(0, size, block):
        stop = min(start + block, size)
        yield slice(start, stop), stop - start


def cut(count: int, out: Array, *inputs: Array) -> Iterator[list[Array]]:
    """``count`` parts of flat arrays of one size, about equally long. Numbers belong to every part.

    Each part begins at a multiple of 64 elements, so that two threads never write into one cache line.
    """
    ends = [*(out.size * k // count // 64 * 64 for k in range(count)), out.size]
    for start, stop in pairwise(ends):
        yield [x[start:stop] if x.ndim else x for x in (out, *inputs)]


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
