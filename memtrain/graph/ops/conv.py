"""Convolution of images, and its gradients with respect to the images and to the kernels.

Images are (n, rows, columns, channels), kernels (outputs, rows, columns, channels / groups). As in all
frameworks, the kernel is not flipped. Each of the three ops is the gradient of the two others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Workspace, same_type
from memtrain.graph.ops.conv_base import Convolution, arrays, like
from memtrain.graph.ops.window import Pair, Window, as_pair, check_images

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Conv2d(Convolution):
    """The convolution of images with kernels."""

    name = "conv2d"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[1])} ∗ {w.term(inputs[0])}"

    def flops(self, node: Node, *inputs: Node) -> int:
        return self.work_of(node.shape, inputs[1].shape)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, kernel = inputs
        shape = (x.shape[0], *check_images(self.name, self.window, x), *kernel.shape[:1])
        self.check(shape, x, kernel.shape)
        return shape, same_type(self, x, kernel)

    def workspace(self, *inputs: Node) -> Workspace:
        x, kernel = inputs
        return arrays(self.way(x.shape, kernel.shape).results_work(), x.dtype)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, kernel = inputs
        self.way(x.shape, kernel.shape).results(out, x, kernel, work)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, kernel = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(Conv2dInputGrad(self.window, self.groups, x.shape), cotangent, kernel)
            else:
                yield 1, b.apply(Conv2dWeightGrad(self.window, self.groups, kernel.shape), cotangent, x)


@dataclass(frozen=True)
class Conv2dInputGrad(Convolution):
    """The gradient with respect to the images, of the given ``shape``, from that of the results."""

    shape: Shape

    name = "conv2d_input_grad"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[1])} ∗ᵀ {w.term(inputs[0])}"

    def flops(self, node: Node, *inputs: Node) -> int:
        return self.work_of(inputs[0].shape, inputs[1].shape)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, kernel = inputs
        self.check(g.shape, like(g, self.shape), kernel.shape)
        return self.shape, same_type(self, g, kernel)

    def workspace(self, *inputs: Node) -> Workspace:
        g, kernel = inputs
        return arrays(self.way(self.shape, kernel.shape).images_work(), g.dtype)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, kernel = inputs
        self.way(out.shape, kernel.shape).images_gradient(out, g, kernel, work)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, kernel = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(Conv2d(self.window, self.groups), cotangent, kernel)
            else:
                yield 1, b.apply(Conv2dWeightGrad(self.window, self.groups, kernel.shape), g, cotangent)


@dataclass(frozen=True)
class Conv2dWeightGrad(Convolution):
    """The gradient with respect to the kernels, of the given ``shape``, from that of the results."""

    shape: Shape

    name = "conv2d_weight_grad"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])} ⋆ {w.term(inputs[1])}"

    def flops(self, node: Node, *inputs: Node) -> int:
        return self.work_of(inputs[0].shape, self.shape)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, x = inputs
        self.check(g.shape, x, self.shape)
        return self.shape, same_type(self, g, x)

    def workspace(self, *inputs: Node) -> Workspace:
        x = inputs[1]
        return arrays(self.way(x.shape, self.shape).kernels_work(), x.dtype)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, x = inputs
        self.way(x.shape, out.shape).kernels_gradient(out, g, x, work)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, x = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(Conv2d(self.window, self.groups), x, cotangent)
            else:
                yield 1, b.apply(Conv2dInputGrad(self.window, self.groups, x.shape), g, cotangent)


def conv2d(
    b: Builder,
    x: Node,
    kernel: Node,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    name: str | None = None,
) -> Node:
    """The convolution of images (n, rows, columns, channels) with kernels (outputs, rows, columns, …)."""
    if len(kernel.shape) != 4:
        raise GraphError(f"conv2d needs kernels (outputs, rows, columns, channels), not {kernel}")
    size = (int(kernel.shape[1]), int(kernel.shape[2]))
    window = Window(size, as_pair(stride), as_pair(padding), as_pair(dilation))
    return b.apply(Conv2d(window, groups), x, kernel, name=name)
