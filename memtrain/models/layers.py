"""Layers, losses and the regulariser: functions that append nodes, from which families are built.

Each node gets a name for people, and a label that is the same in every block. The family opens each block
(`Builder.block`, with a kind and a number) for the parameters of the block as well as for its other nodes.
Texts and drawings fold blocks of one kind. A first or last layer may be outside of all blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Role, Shape
from memtrain.graph.ops import ACTIVATIONS
from memtrain.graph.ops.arithmetic import add, scale
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.loss import Mse, Nll, SquaredNorm
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.softmax import LogSoftmax
from memtrain.graph.ops.source import Leaf

_GROUPS = 8
"""The most groups of a group norm; fewer if they do not divide the channels."""


def parameter(b: Builder, name: str, label: str, shape: Shape, dtype: DType) -> Node:
    """A leaf that is a parameter. A run finds it by its name."""
    return b.apply(Leaf(Role.PARAMETER, shape, dtype), name=name, label=label)


def linear(
    b: Builder, x: Node, weight: Node, bias: Node | None = None, *, name: str, label: str | None = None
) -> Node:
    """x Wᵀ (+ bias). The shapes are x: (rows, inputs), W: (outputs, inputs), result: (rows, outputs)."""
    if bias is None:
        return b.rename(matmul(b, x, weight, transpose_b=True, name=name), name, label or name)
    words = f"{weight.name} {x.name}"
    product = b.rename(matmul(b, x, weight, transpose_b=True, name=words), words, f"{weight.label} {x.label}")
    return b.rename(add(b, product, bias, name=name), name, label or name)


def activate(b: Builder, activation: str, x: Node, *, name: str, label: str | None = None) -> Node:
    """φ(x), elementwise, for one of `ACTIVATIONS`."""
    return b.apply(ACTIVATIONS[activation](), x, name=name, label=label)


def cross_entropy(b: Builder, output: Node, y: Node) -> Node:
    """L = −mean log softmax(output)[y], for outputs (rows, classes) and labels (rows,)."""
    return b.apply(Nll(), b.apply(LogSoftmax(), output, name="logp"), y, name="L")


def mean_squared_error(b: Builder, output: Node, y: Node) -> Node:
    """L = mean (output − y)², over rows and columns."""
    return b.apply(Mse(), output, y, name="L")


def regulariser(b: Builder, weights: Sequence[Node], l2: float) -> Node | None:
    """s = λ/2 · Σ‖W‖², with each norm in the block of its weight; ``None`` if λ is 0."""
    total: Node | None = None
    for weight in weights if l2 else ():
        norm = b.apply(SquaredNorm(), weight, name=f"‖{weight.name}‖²")
        norm = b.rename(norm, norm.name, "‖W‖²", weight.scope)
        if total is not None:
            norm = add(b, total, norm, name=f"‖{weights[0].name}…{weight.name}‖²")
            norm = b.rename(norm, norm.name, "Σ‖W‖²", weight.scope)
        total = norm
    return None if total is None else scale(b, total, l2 / 2, name="s", symbol="λ/2")


def normal_values(seed: Sequence[int], shape: Sequence[int], deviation: float, dtype: str) -> Array:
    """Normal random values for a parameter. They depend on its seed, but not on other parameters."""
    values = np.random.default_rng(seed).standard_normal(tuple(shape), np.dtype(dtype))
    values *= deviation
    return values


def group_count(channels: int) -> int:
    """The number of groups of a group norm: the most, at most 8, that divide the channels."""
    return next(count for count in range(min(_GROUPS, channels), 0, -1) if channels % count == 0)
