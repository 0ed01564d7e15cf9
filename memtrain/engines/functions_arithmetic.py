"""PyTorch's arithmetic on tensors of the tape, where operands may be of different shapes, or numbers.

The names of autograd functions and saved variables are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.engines.history import Gradients
from memtrain.engines.strides import elementwise_strides
from memtrain.engines.tape import Tensor
from memtrain.graph.node import Shape


def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y."""
    return _added(elementwise("add", x, y), x, y)


def add_in_place(x: Tensor, y: Tensor) -> Tensor:
    """``x`` after y has been added to it."""
    x.tape.write("add_", x, y)
    return _added(x, x, y)


def _added(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    shapes = x.shape, y.shape

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield summed_to(g, shapes[0]) if needs[0] else None
        yield summed_to(g, shapes[1]) if needs[1] else None

    return x.tape.record(out, "AddBackward0", (x, y), {}, rule)


def multiply(x: Tensor, y: Tensor) -> Tensor:
    """x ⊙ y. Each operand is saved if the other needs a gradient."""
    shapes = x.shape, y.shape

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        for_y = elementwise("mul", g, saved["self"]) if needs[1] else None
        for_x = elementwise("mul", g, saved["other"]) if needs[0] else None
        for_x = summed_to(for_x, shapes[0]) if for_x is not None else None
        for_y = summed_to(for_y, shapes[1]) if for_y is not None else None
        yield for_x
        yield for_y

    saved = {"other": y} if x.requires_grad else {}
    if y.requires_grad:
        saved["self"] = x
    return x.tape.record(elementwise("mul", x, y), "MulBackward0", (x, y), saved, rule)


def scale(x: Tensor) -> Tensor:
    """x times a number."""

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield elementwise("mul", g)

    return x.tape.record(elementwise("mul", x), "MulBackward0", (x,), {}, rule)


def divide(x: Tensor) -> Tensor:
    """x divided by a number."""

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield elementwise("div", g)

    return x.tape.record(elementwise("div", x), "DivBackward0", (x,), {}, rule)


def subtract_from_number(x: Tensor) -> Tensor:
    """A number − x."""

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield elementwise("neg", g)

    return x.tape.record(elementwise("rsub", x), "RsubBackward1", (x,), {}, rule)


def mean(x: Tensor, dim: Sequence[int]) -> Tensor:
    """The mean over some axes. Its gradient is spread over them: divided, with the shape of the input."""
    shape = x.shape

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield g.tape.new("div", shape, g.dtype, g)

    kept = tuple(size for axis, size in enumerate(shape) if axis not in dim)
    return x.tape.record(x.tape.new("mean", kept, x.dtype, x), "MeanBackward1", (x,), {}, rule)


def elementwise(name: str, *operands: Tensor) -> Tensor:
    """The result of an elementwise function, in the order in storage that PyTorch gives it."""
    first = operands[0]
    shape = _broadcast_shape([x.shape for x in operands])
    strides = elementwise_strides(shape, [(x.shape, x.strides) for x in operands])
    return first.tape.new(name, shape, first.dtype, *operands, strides=strides)


def summed_to(g: Tensor, shape: Shape) -> Tensor:
    """The gradient of an operand of ``shape``, from that of a result in which it was repeated."""
    if tuple(g.shape) == tuple(shape):
        return g
    found = g.tape.new("sum", shape, g.dtype, g)
    return found if len(shape) == len(g.shape) else found.view_of(shape)


def _broadcast_shape(shapes: Sequence[Shape]) -> Shape:
    longest = max(shapes, key=len)
    return tuple(
        max((shape[axis - len(longest)] for shape in shapes if len(shape) >= len(longest) - axis), key=int)
        for axis in range(len(longest))
    )
