"""LeNet of Dive into Deep Learning 7.6 (LeCun et al. 1998): convolutions with pools, then linear layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from memtrain.errors import SpecError
from memtrain.graph.node import Node
from memtrain.graph.ops.pool_average import avg_pool2d
from memtrain.graph.ops.view import reshape
from memtrain.graph.size import product
from memtrain.models.declared import Layers
from memtrain.models.images import OfImages

_CHANNELS = (6, 16)
"""The channels of the first two convolutions. Each further convolution has 16."""


@dataclass(frozen=True)
class LeNet(OfImages):
    """``depth`` convolutions of 5×5, each with an average pool; then 120, 84 and the classes.

    The first convolution pads the image by 2, as in the book; with depth 2 and 28 × 28 pixels the network has
    61,706 parameters.
    """

    depth: int = 2
    activation: str = "sigmoid"
    bias: bool = True
    image: int = 28

    family: ClassVar[str] = "lenet"
    noun: ClassVar[str] = "LeNet"
    block_word: ClassVar[str] = "convolution"
    usual_axes: ClassVar[Mapping[str, Sequence[int]]] = {"depth": (1, 2), "batch": (64, 256, 1024)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth > self.most_depth:
            raise SpecError(
                f"an image of {self.image} pixels is too small for {self.depth} convolutions with pools",
                f"use --depth {self.most_depth or 1}, or a larger --image",
            )

    @property
    def most_depth(self) -> int:
        """The number of convolutions after which the image has at least one pixel."""
        side, depth = self.image // 2, 0
        while side >= 1:
            side, depth = (side - 4) // 2, depth + 1
        return depth

    def output(self, layers: Layers, x: Node) -> Node:
        for number in range(1, self.depth + 1):
            with layers.b.block("layer", number):
                channels = _CHANNELS[min(number, len(_CHANNELS)) - 1]
                x = layers.conv(x, channels, 5, "z", padding=2 if number == 1 else 0)
                x = layers.activate(self.activation, x, "h")
                x = layers.named(avg_pool2d(layers.b, x, 2), "p")
        x = reshape(layers.b, x, (x.shape[0], product(x.shape[1:])), "flat")
        for number, units in enumerate((120, 84), start=self.depth + 1):
            with layers.b.block("linear", number):
                x = layers.activate(self.activation, layers.linear(x, units, "z"), "h")
        return layers.linear(x, self.classes, "o")

    def small(self) -> Self:
        return self.changed(depth=1, image=8)
