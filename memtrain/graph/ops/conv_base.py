"""The base of convolutions: the window, the groups of channels, and the check of shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import Node, Shape
from memtrain.graph.ops.base import Array, Op, Speed
from memtrain.graph.ops.window import Blocks, Window, check_images, whole_product

if TYPE_CHECKING:
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Convolution(Op):
    """The base of the three ops: the window, and the groups into which the channels are divided."""

    window: Window
    groups: int

    speed = Speed.PRODUCT
    glyph = "∗"

    @property
    def is_product(self) -> bool:
        """Whether the op is one product of matrices: 1×1 kernels at every pixel, in one group."""
        return self.groups == 1 and whole_product(self.window)

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

    def each_group(self, x: Array, kernel: Array, g: Array) -> Iterator[tuple[Array, Array, Array]]:
        """The channels of the images, the kernels and the channels of the results of each group."""
        inputs, outputs = kernel.shape[3], len(kernel) // self.groups
        for k in range(self.groups):
            out = slice(k * outputs, (k + 1) * outputs)
            yield x[..., k * inputs : (k + 1) * inputs], kernel[out], g[..., out]

    def fold_blocks(self, g: Sequence[int], inputs: int) -> Blocks:
        """The blocks in which the products of results ``g`` with ``inputs`` channels are folded."""
        row_size = int(g[2]) * inputs * self.window.place_count
        return Blocks.of((int(g[1]), int(g[2])), row_size, 2**62)


def in_order(value: Array, work: Array) -> Array:
    """A copy of ``value`` in ``work``, with its bytes in row order."""
    copy = work[: value.size].reshape(value.shape)
    np.copyto(copy, value)
    return copy


def rows_of(x: Array) -> Array:
    """Images as a matrix (pixels, channels)."""
    return x.reshape(-1, x.shape[-1])


def like(g: Node, shape: Shape) -> Node:
    """A node with the type of ``g`` and another shape, for checks."""
    return Node(g.id, g.op, g.inputs, shape, g.dtype, g.name, g.phase, g.storage, True)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as text, in digits."""
    return str(list(map(int, shape)))
