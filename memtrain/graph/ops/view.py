"""Views: nodes that look at the storage of another node and have no bytes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.activation import Activation
from memtrain.graph.ops.base import Array, Cotangents, Op, input_of
from memtrain.graph.size import part

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


class _View(Op):
    is_view = True
    strided = True


@dataclass(frozen=True)
class Transpose(_View):
    """The input with its axes in another order."""

    axes: tuple[int, ...]

    name = "transpose"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        if sorted(self.axes) != list(range(len(x.shape))):
            raise GraphError(f"{self.name} {self.axes} does not name each axis of {x} once")
        return tuple(x.shape[axis] for axis in self.axes), x.dtype

    def view(self, base: Array) -> Array:
        return base.transpose(self.axes)

    def keeps_order(self, *inputs: Node) -> bool:
        long_axes = [axis for axis in self.axes if inputs[0].shape[axis] != 1]
        return inputs[0].contiguous and long_axes == sorted(long_axes)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(Transpose(tuple(int(i) for i in np.argsort(self.axes))), cotangent)


@dataclass(frozen=True)
class Reshape(_View):
    """The same bytes, in row order, under another shape."""

    shape: Shape

    name = "reshape"
    strided = False  # only bytes in row order can be reshaped without a copy

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        if prod(self.shape) != x.size:
            raise GraphError(f"{self.name} to {list(map(int, self.shape))} does not fit {x}")
        return self.shape, x.dtype

    def view(self, base: Array) -> Array:
        return base.reshape(self.shape)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(Reshape(input_of(b, node, 0).shape), cotangent)


@dataclass(frozen=True)
class Identity(Activation, _View):
    """The value itself under another name. As an activation it makes a layer linear."""

    name = "identity"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return inputs[0].shape, inputs[0].dtype

    def view(self, base: Array) -> Array:
        return base.view()

    def keeps_order(self, *inputs: Node) -> bool:
        return inputs[0].contiguous

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, cotangent


@dataclass(frozen=True)
class Slice(_View):
    """The part of the input from ``starts`` to before ``stops`` along each axis."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]

    name = "slice"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        _check_window(self, self.starts, self.stops, x.shape, x)
        if not x.shape:
            raise GraphError(f"{self.name} needs at least one axis, not {x}")
        kept = [
            stop - start if size % (stop - start) else part(size, size // (stop - start))
            for size, start, stop in zip(x.shape, self.starts, self.stops, strict=True)
        ]
        return tuple(kept), x.dtype

    def view(self, base: Array) -> Array:
        view: Array = base[_window(self.starts, self.stops)]
        return view

    def keeps_order(self, *inputs: Node) -> bool:
        (x,) = inputs
        kept = [stop - start for start, stop in zip(self.starts, self.stops, strict=True)]
        cut = [axis for axis, size in enumerate(kept) if size != x.shape[axis]]
        return x.contiguous and (not cut or all(size == 1 for size in kept[: cut[-1]]))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(Pad(self.starts, self.stops, input_of(b, node, 0).shape), cotangent)


@dataclass(frozen=True)
class Pad(Op):
    """Zeros of ``shape`` with the input from ``starts`` to before ``stops``: the vjp of a slice."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    shape: Shape

    name = "pad"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        _check_window(self, self.starts, self.stops, self.shape, x)
        if x.shape != tuple(stop - start for start, stop in zip(self.starts, self.stops, strict=True)):
            raise GraphError(f"{self.name} from {self.starts} to {self.stops} does not fit {x}")
        return self.shape, x.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        out.fill(0)
        np.copyto(out[_window(self.starts, self.stops)], inputs[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(Slice(self.starts, self.stops), cotangent)


def reshape(b: Builder, x: Node, shape: Shape, name: str | None = None) -> Node:
    """``x`` under another shape. This is a view, of a copy if the bytes of ``x`` are not in row order."""
    return b.apply(Reshape(shape), x, name=name)


def transpose(b: Builder, x: Node, axes: tuple[int, ...] | None = None, name: str | None = None) -> Node:
    """A view of ``x`` with its axes in another order (by default reversed)."""
    return b.apply(Transpose(axes or tuple(reversed(range(len(x.shape))))), x, name=name)


def _window(starts: tuple[int, ...], stops: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))


def _check_window(op: Op, starts: tuple[int, ...], stops: tuple[int, ...], shape: Shape, x: Node) -> None:
    fits = len(starts) == len(stops) == len(shape) and all(
        0 <= start < stop <= size for start, stop, size in zip(starts, stops, shape, strict=True)
    )
    if not fits:
        raise GraphError(f"{op.name} from {starts} to {stops} lies outside {list(map(int, shape))} ({x})")
