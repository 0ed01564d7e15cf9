"""The base of convolutions: the window, the groups of channels, and the check of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Op, Speed, Workspace
from memtrain.graph.ops.conv_depthwise import Depthwise
from memtrain.graph.ops.conv_places import ByPlace
from memtrain.graph.ops.conv_unfolded import Unfolded
from memtrain.graph.ops.conv_way import Layer, OneProduct, Way
from memtrain.graph.ops.window import Window, check_images

if TYPE_CHECKING:
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Convolution(Op):
    """The base of the three ops: the window, and the groups into which the channels are divided."""

    window: Window
    groups: int

    speed = Speed.PRODUCT
    glyph = "∗"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        return f"needs the factor {read.name}"

    def check(self, g: Shape, x: Node, kernel: Shape) -> None:
        """Raise ``GraphError`` unless results ``g``, images ``x`` and the kernel belong together."""
        found = check_images(self.name, self.window, x)
        fits = (
            len(kernel) == 4
            and kernel[1:3] == self.window.size
            and self.groups >= 1
            and kernel[0] % self.groups == 0
            and kernel[3] * self.groups == x.shape[3]
            and g == (x.shape[0], *found, kernel[0])
        )
        if not fits:
            raise GraphError(
                f"{self.name} with {self.groups} groups does not fit {x}: kernel {shape_text(kernel)}, "
                f"results {shape_text(g)}"
            )

    def work_of(self, g: Shape, kernel: Shape) -> int:
        """Floating-point operations: 2 for each result and each place and channel of a kernel."""
        return 2 * int(np.prod(g)) * int(np.prod(kernel[1:]))

    def way(self, x: Sequence[int], kernel: Sequence[int]) -> Way:
        """The fastest way to compute with images and kernels of these shapes."""
        results = (x[0], *self.window.positions(x[1], x[2]), kernel[0])
        layer = Layer(self.window, self.groups, tuple(x), tuple(kernel), results)
        return next(way(layer) for way in (OneProduct, Depthwise, ByPlace, Unfolded) if way.fits(layer))


def arrays(sizes: Sequence[int], dtype: DType) -> Workspace:
    """A workspace of arrays of these sizes and one type."""
    return tuple((size, dtype) for size in sizes)


def like(g: Node, shape: Shape) -> Node:
    """A node with the type of ``g`` and another shape, for checks."""
    return Node(g.id, g.op, g.inputs, shape, g.dtype, g.name, g.phase, g.storage, True)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as text, in digits."""
    return str(list(map(int, shape)))
