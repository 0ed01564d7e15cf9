"""Layers that declare their parameters: each appends nodes and records how its parameters begin.

Images are (n, rows, columns, channels) inside of a network, because then a channel sum and a 1×1 convolution
are products of matrices. A value in block 3 is called z3; outside of all blocks it is called z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.conv import conv2d
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.norm import batch_norm, group_norm, layer_norm, rms_norm
from memtrain.models.layers import activate, group_count, linear, parameter

BATCH_NORM, GROUP_NORM, LAYER_NORM, RMS_NORM, NO_NORM = "batch", "group", "layer", "rms", "none"


@dataclass(frozen=True)
class Initial:
    """The initial values of a parameter: normal, with a mean and a deviation."""

    shape: Shape
    mean: float
    deviation: float

    def draw(self, seed: Sequence[int], dtype: str) -> Array:
        """The values. They depend on the seed, but not on other parameters."""
        if not self.deviation:
            return np.full(self.shape, self.mean, dtype)
        values = np.random.default_rng(seed).standard_normal(tuple(map(int, self.shape)), np.dtype(dtype))
        values *= self.deviation
        return values + np.asarray(self.mean, dtype) if self.mean else values


class Layers:
    """Appends layers to a graph. It holds the parameters that they have declared so far."""

    def __init__(self, b: Builder, dtype: DType, bias: bool, key: Node | None = None) -> None:
        """``bias`` says whether products have a bias; ``key`` is the leaf that random masks read."""
        self.b = b
        self.key = key
        self.parameters: list[Node] = []
        self.weights: list[Node] = []
        """The parameters that the regulariser covers: the weights of products."""
        self.frozen: set[int] = set()
        self.initial: dict[str, Initial] = {}
        self._dtype, self._bias = dtype, bias
        self._mask_count = 0

    def called(self, label: str) -> str:
        """The name of a value: its label and the numbers of its blocks."""
        return label + ".".join(str(block.number) for block in self.b.scope if block.number is not None)

    def named(self, node: Node, label: str) -> Node:
        """``node`` under the name that `called` gives."""
        return self.b.rename(node, self.called(label), label)

    def parameter(
        self, label: str, shape: Shape, deviation: float = 0.0, mean: float = 0.0, *, trained: bool = True
    ) -> Node:
        """A parameter with these initial values. If it is not ``trained``, training does not change it."""
        name = self.called(label)
        node = parameter(self.b, name, label, shape, self._dtype)
        self.parameters.append(node)
        self.initial[name] = Initial(shape, mean, deviation)
        if not trained:
            self.frozen.add(node.id)
        return node

    def weight(self, label: str, shape: Shape, gain: float = 1.0) -> Node:
        """The weight of a product, (outputs, …), with the deviation √(gain/inputs)."""
        node = self.parameter(label, shape, sqrt(gain / prod(shape[1:])))
        self.weights.append(node)
        return node

    def linear(
        self,
        x: Node,
        outputs: int,
        label: str,
        *,
        suffix: str = "",
        gain: float = 1.0,
        bias: bool | None = None,
    ) -> Node:
        """x Wᵀ (+ b), from (rows, inputs) to (rows, outputs)."""
        weight = self.weight(f"W{suffix}", (outputs, x.shape[1]), gain)
        biased = self._bias if bias is None else bias
        b = self.parameter(f"b{suffix}", (outputs,)) if biased else None
        return linear(self.b, x, weight, b, name=self.called(label), label=label)

    def product(self, x: Node, weight: Node) -> Node:
        """x Wᵀ, for rows x and a weight that is declared already."""
        return matmul(self.b, x, weight, transpose_b=True)

    def bias(self, label: str, size: int) -> Node | None:
        """A bias of zeros, if the network has any."""
        return self.parameter(label, (size,)) if self._bias else None

    def conv(
        self,
        x: Node,
        channels: int,
        kernel: int,
        label: str,
        *,
        suffix: str = "",
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        bias: bool | None = None,
    ) -> Node:
        """A convolution with ``channels`` outputs. The default padding keeps the side of an image."""
        inputs = x.shape[3] // groups if groups > 1 else x.shape[3]
        weight = self.weight(f"K{suffix}", (channels, kernel, kernel, inputs), 2.0)
        given = kernel // 2 if padding is None else padding
        z = conv2d(self.b, x, weight, stride=stride, padding=given, groups=groups)
        if self._bias if bias is None else bias:
            z = self.named(z, f"K{suffix} {x.label}")
            z = add(self.b, z, self.parameter(f"b{suffix}", (channels,)))
        return self.named(z, label)

    def norm(self, kind: str, x: Node, label: str, *, suffix: str = "") -> Node:
        """A normalisation over the last axis, or for images over channels; ``x`` itself for ``none``."""
        if kind == NO_NORM:
            return x
        size = (x.shape[-1],)
        gamma = self.parameter(f"γ{suffix}", size, mean=1.0)
        name = self.called(label)
        if kind == RMS_NORM:
            return rms_norm(self.b, x, gamma, name=name, label=label)
        beta = self.parameter(f"β{suffix}", size)
        if kind == LAYER_NORM:
            return layer_norm(self.b, x, gamma, beta, name=name, label=label)
        if kind == GROUP_NORM:
            return group_norm(self.b, x, gamma, beta, group_count(size[0]), name=name, label=label)
        mean = self.parameter(f"mean{suffix}", size, trained=False)
        variance = self.parameter(f"var{suffix}", size, mean=1.0, trained=False)
        return batch_norm(self.b, x, gamma, beta, mean, variance, name=name, label=label)

    def activate(self, activation: str, x: Node, label: str) -> Node:
        """φ(x), elementwise."""
        return activate(self.b, activation, x, name=self.called(label), label=label)

    def add(self, x: Node, y: Node, label: str) -> Node:
        """x + y."""
        return self.named(add(self.b, x, y), label)

    def next_mask(self) -> int:
        """The number of the next random mask."""
        self._mask_count += 1
        return self._mask_count
