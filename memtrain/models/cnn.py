"""A plain convolutional network in the manner of VGG (Simonyan & Zisserman 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from memtrain.errors import SpecError, check_integer, unknown_choice
from memtrain.graph.node import Node
from memtrain.graph.ops.pool_average import global_avg_pool2d
from memtrain.graph.ops.pool_max import max_pool2d
from memtrain.graph.size import Dim, product
from memtrain.models.declared import BATCH_NORM, GROUP_NORM, NO_NORM, Layers
from memtrain.models.images import OfImages

NORMS = (NO_NORM, BATCH_NORM, GROUP_NORM)


@dataclass(frozen=True)
class CNN(OfImages):
    """``depth`` blocks of convolution, norm and activation; then a mean over pixels and a linear layer.

    After every ``pool`` blocks a max-pool halves the side of the images, and the next block doubles the
    channels, which are ``width`` at first.
    """

    depth: int = 4
    width: int = 32
    kernel: int = 3
    pool: int = 2
    norm: str = NO_NORM

    family: ClassVar[str] = "cnn"
    noun: ClassVar[str] = "convolutional network"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "kernel", "pool"):
            check_integer(name, getattr(self, name), 1)
        if self.norm not in NORMS:
            raise unknown_choice("norm", self.norm, NORMS)
        if self.kernel % 2 == 0:
            raise SpecError(
                f"kernel {self.kernel} is even", "give an odd number, so that images keep their side"
            )
        most = self.most_depth
        if self.depth > most:
            raise SpecError(
                f"an image of {self.image} pixels can be halved for {most} blocks, not for {self.depth}",
                "use fewer blocks, a larger --image, or a larger --pool",
            )

    @property
    def most_depth(self) -> int:
        """The number of blocks after which a pool would find an image of one pixel."""
        return self.pool * self.image.bit_length() - 1

    @property
    def updates_statistics(self) -> bool:
        return self.norm == BATCH_NORM

    def output(self, layers: Layers, x: Node) -> Node:
        for number in range(1, self.depth + 1):
            channels = product((2 ** ((number - 1) // self.pool), Dim(self.width, "m")))
            with layers.b.block("block", number):
                x = layers.conv(x, channels, self.kernel, "z")
                x = layers.norm(self.norm, x, "u")
                x = layers.activate(self.activation, x, "h")
                if number % self.pool == 0:
                    x = layers.named(max_pool2d(layers.b, x, 2), "p")
        return layers.linear(layers.named(global_avg_pool2d(layers.b, x), "mean"), self.classes, "o")

    def small(self) -> Self:
        return self.changed(depth=self.pool, width=8, image=max(8, self.kernel))
