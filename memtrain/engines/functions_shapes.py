"""PyTorch's functions that change the shape of a tensor of the tape: views, copies, stacks and constants."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from memtrain.engines.history import Gradients
from memtrain.engines.strides import viewed_strides
from memtrain.engines.tape import Tensor
from memtrain.graph.node import Shape
from memtrain.graph.size import product


def view(x: Tensor, *shape: int) -> Tensor:
    """``x`` in another shape, without a copy. One size may be −1."""
    return _with_shape(x, shape, "ViewBackward0", may_copy=False)


def reshape(x: Tensor, *shape: int) -> Tensor:
    """``x`` in another shape: a view, or a copy if its elements lie in another order."""
    return _with_shape(x, shape, "ViewBackward0", may_copy=True)


def unsafe_view(x: Tensor, *shape: int) -> Tensor:
    """A result that no one else has seen, in another shape."""
    before = x.shape

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield reshaped(g, before)

    return x.tape.record(x.viewed(tuple(shape)), "UnsafeViewBackward0", (x,), {}, rule)


def transpose(x: Tensor, first: int, second: int) -> Tensor:
    """``x`` with two axes exchanged: a view."""

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield _transposed(g, first, second)

    return x.tape.record(_transposed(x, first, second), "TransposeBackward0", (x,), {}, rule)


def unbind(x: Tensor, axis: int) -> tuple[Tensor, ...]:
    """The parts of ``x`` along an axis, which they lack: views. Backward stacks their gradients."""
    shape = x.shape

    def rule(gradients: Sequence[Tensor], needs: Sequence[bool]) -> Gradients:
        yield gradients[0].tape.new("stack", shape, gradients[0].dtype, *gradients)

    return x.tape.record_all(_parts(x, axis), "UnbindBackward0", (x,), {}, rule)


def stack(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors of one shape, side by side along a new axis. The gradients of the parts are views."""
    first = parts[0]
    shape = (*first.shape[:axis], len(parts), *first.shape[axis:])

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield from _parts(g, axis)

    out = first.tape.new("stack", shape, first.dtype, *parts)
    return first.tape.record(out, "StackBackward0", parts, {}, rule)


def reshaped(x: Tensor, shape: Shape) -> Tensor:
    """``x`` in another shape, without history."""
    strides = viewed_strides(x.shape, x.strides, shape)
    if strides is not None:
        return x.view_of(shape, strides)
    return x.tape.new("clone", x.shape, x.dtype, x).viewed(shape)


def _with_shape(x: Tensor, shape: Sequence[int], name: str, *, may_copy: bool) -> Tensor:
    before, wanted = x.shape, _inferred(x.shape, shape)
    strides = viewed_strides(x.shape, x.strides, wanted)
    assert may_copy or strides is not None, f"{x.shape} with strides {x.strides} has no view as {wanted}"

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield reshaped(g, before)

    out = reshaped(x, wanted)
    return x.tape.record(out, name if strides is not None else "UnsafeViewBackward0", (x,), {}, rule)


def _inferred(before: Shape, shape: Sequence[int]) -> Shape:
    """``shape`` with the size for −1. The size keeps its meaning if it is a product of first axes."""
    if -1 not in shape:
        return tuple(shape)
    size = int(prod(before)) // -prod(map(int, shape))
    products = [product(before[:k]) for k in range(1, len(before) + 1)]
    found = next((each for each in products if each == size), size) if shape[0] == -1 else size
    return tuple(found if each == -1 else each for each in shape)


def _transposed(x: Tensor, first: int, second: int) -> Tensor:
    shape, strides = list(x.shape), list(x.strides)
    for values in (shape, strides):
        values[first], values[second] = values[second], values[first]
    return x.view_of(tuple(shape), tuple(strides))


def _parts(x: Tensor, axis: int) -> tuple[Tensor, ...]:
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    strides = (*x.strides[:axis], *x.strides[axis + 1 :])
    return tuple(x.view_of(shape, strides) for _ in range(x.shape[axis]))
