"""Residual networks for small images (He et al. 2016, §4.2): basic blocks in three stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from memtrain.errors import check_integer, unknown_choice
from memtrain.graph.node import Node
from memtrain.graph.ops.pool_average import global_avg_pool2d
from memtrain.graph.size import Dim, product
from memtrain.models.declared import BATCH_NORM, GROUP_NORM, Layers
from memtrain.models.images import OfImages

NORMS = (BATCH_NORM, GROUP_NORM)
STAGES = 3


@dataclass(frozen=True)
class ResNet(OfImages):
    """A convolution, then ``depth`` basic blocks in three stages, a mean over pixels and a linear layer.

    Each later stage halves the side of the images and doubles the channels, which are ``width`` at first.
    """

    depth: int = 3
    width: int = 16
    norm: str = BATCH_NORM

    family: ClassVar[str] = "resnet"
    noun: ClassVar[str] = "residual network"
    block_word: ClassVar[str] = "residual block"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("width", self.width, 1)
        if self.norm not in NORMS:
            raise unknown_choice("norm", self.norm, NORMS)

    @property
    def updates_statistics(self) -> bool:
        return self.norm == BATCH_NORM

    def output(self, layers: Layers, x: Node) -> Node:
        width = Dim(self.width, "m")
        with layers.b.block("stem"):
            x = layers.conv(x, width, 3, "z", suffix="0")
            x = layers.activate(self.activation, layers.norm(self.norm, x, "u", suffix="0"), "h")
        stage = 0
        for number in range(1, self.depth + 1):
            later = STAGES * (number - 1) // self.depth
            with layers.b.block("block", number):
                stride = 2 ** (later - stage)
                x = basic_block(layers, x, product((2**later, width)), stride, self.norm, self.activation)
            stage = later
        return layers.linear(layers.named(global_avg_pool2d(layers.b, x), "mean"), self.classes, "o")

    def small(self) -> Self:
        return self.changed(depth=2, width=8, image=8)


def basic_block(layers: Layers, x: Node, channels: int, stride: int, norm: str, activation: str) -> Node:
    """φ(x + F(x)), where F has two 3×3 convolutions, each with a norm.

    If the stride or the number of channels changes the shape, x passes a 1×1 convolution with a norm.
    """
    z = layers.conv(x, channels, 3, "z", suffix="1", stride=stride)
    h = layers.activate(activation, layers.norm(norm, z, "u", suffix="1"), "h")
    f = layers.norm(norm, layers.conv(h, channels, 3, "v", suffix="2"), "f", suffix="2")
    if stride != 1 or x.shape[3] != channels:
        shorter = layers.conv(x, channels, 1, "w", suffix="3", stride=stride)
        x = layers.norm(norm, shorter, "s", suffix="3")
    return layers.activate(activation, layers.add(f, x, "r"), "y")
