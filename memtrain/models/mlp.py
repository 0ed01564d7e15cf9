"""The multilayer perceptron of Dive into Deep Learning 5.3, with any number of hidden layers.

    z = W1 x (+ b1), h = φ(z), …, o = W h, L = l(o, y), s = λ/2 Σ‖W‖², J = L + s

A batch has n rows, so Z = X Wᵀ. As in the book, W has the shape outputs × inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any, ClassVar, Self

import numpy as np

from memtrain.errors import SpecError, check_integer, unknown_choice
from memtrain.graph.builder import Builder
from memtrain.graph.node import Node
from memtrain.graph.ops import ACTIVATIONS
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.ops.base import Array
from memtrain.graph.size import BATCH, Dim
from memtrain.models.freezing import frozen_ids
from memtrain.models.layers import (
    activate,
    cross_entropy,
    linear,
    mean_squared_error,
    normal_values,
    parameter,
    regulariser,
)
from memtrain.models.network import NOTHING, Feed, FeedKind, Model, Network, check_numbers

CROSS_ENTROPY, MEAN_SQUARED_ERROR = "cross_entropy", "mean_squared_error"
LOSSES = (CROSS_ENTROPY, MEAN_SQUARED_ERROR)

LAYER = "layer"
"""The kind of all blocks of an MLP: its hidden layers and its output layer."""


@dataclass(frozen=True)
class MLP(Network):
    """A network with ``depth`` hidden layers. ``width`` is one number for all of them, or one for each."""

    width: int | tuple[int, ...] = 256
    activation: str = "relu"
    bias: bool = False
    l2: float = 1e-4
    dtype: str = "float32"
    input_size: int = 64
    output_size: int = 10
    loss: str = CROSS_ENTROPY
    freeze: str = NOTHING

    family: ClassVar[str] = "mlp"
    noun: ClassVar[str] = "multilayer perceptron"
    block_word: ClassVar[str] = "hidden layer"

    def __post_init__(self) -> None:
        check_integer("depth", self.depth, 0)
        for name in ("input_size", "output_size"):
            check_integer(name, getattr(self, name), 1)
        for width in self.width if isinstance(self.width, tuple) else (self.width,):
            check_integer("width", width, 1)
        if isinstance(self.width, tuple) and len(self.width) != self.depth:
            raise SpecError(
                f"there are {len(self.width)} widths for {self.depth} hidden layers",
                "give one width, or one for each hidden layer",
            )
        check_numbers(self)
        if self.loss not in LOSSES:
            raise unknown_choice("loss", self.loss, LOSSES)

    @classmethod
    def of_sizes(cls, input_size: int, hidden: tuple[int, ...], output_size: int, **others: Any) -> Self:
        """A network whose hidden layers have the widths ``hidden``."""
        return cls(depth=len(hidden), width=hidden, input_size=input_size, output_size=output_size, **others)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A network from its JSON values. In the JSON of version 0.1 the widths are called ``hidden``."""
        given = dict(values)
        if "hidden" in given:
            given["width"] = given.pop("hidden")
            given["depth"] = len(given["width"])
        if isinstance(given.get("width"), list):
            given["width"] = tuple(given["width"])
        return cls(**given)

    @property
    def hidden(self) -> tuple[int, ...]:
        """The width of each hidden layer."""
        return (self.width,) * self.depth if isinstance(self.width, int) else self.width

    @property
    def sizes(self) -> tuple[int, ...]:
        """The input size, the widths and the output size, in this order."""
        return (self.input_size, *self.hidden, self.output_size)

    def feeds(self, batch: int) -> tuple[Feed, ...]:
        n = batch if isinstance(batch, Dim) else Dim(batch, BATCH)
        dtype = np.dtype(self.dtype)
        features = Feed("x", FeedKind.FEATURES, (n, Dim(self.input_size, "d")), dtype)
        if self.loss == CROSS_ENTROPY:
            return features, Feed("y", FeedKind.LABELS, (n,), np.dtype(np.int64), self.output_size)
        return features, Feed("y", FeedKind.TARGETS, (n, Dim(self.output_size, "q")), dtype)

    def build(self, batch: int) -> Model:
        check_integer("batch", int(batch), 1)
        b = Builder()
        x, y = feeds = tuple(feed.leaf(b) for feed in self.feeds(batch))
        layers = self._parameters(b)
        output = self._forward(b, layers, x)
        loss = self._loss(b, output, y)
        parameters = tuple(node for layer in layers for node in layer if node is not None)
        frozen = frozen_ids(parameters, self.freeze)
        weights = tuple(weight for weight, _ in layers if weight.id not in frozen)
        total = regulariser(b, weights, self.l2)
        objective = add(b, loss, total, name="J") if total else loss
        return Model(b, feeds, parameters, (output,), loss, objective, frozen, weights)

    def initial_values(self, seed: int) -> dict[str, Array]:
        """Initial values by name: normal weights, with a deviation that suits the activation; zero biases."""
        values: dict[str, Array] = {}
        for k, (fan_in, fan_out) in enumerate(pairwise(self.sizes), start=1):
            rectified = k <= self.depth and ACTIVATIONS[self.activation].halves_variance
            deviation = sqrt(2 / fan_in) if rectified else sqrt(2 / (fan_in + fan_out))
            values[f"W{k}"] = normal_values((seed, k), (fan_out, fan_in), deviation, self.dtype)
            if self.bias:
                values[f"b{k}"] = np.zeros(fan_out, self.dtype)
        return values

    def forward_flops(self, batch: int) -> int:
        return 2 * batch * sum(fan_in * fan_out for fan_in, fan_out in pairwise(self.sizes))

    def small(self) -> Self:
        return self.changed(depth=1, width=64)

    def _parameters(self, b: Builder) -> list[tuple[Node, Node | None]]:
        """Append the weight and the bias of each layer; returns these pairs."""
        dtype = np.dtype(self.dtype)
        dims = [Dim(self.input_size, "d"), *self._hidden_dims(), Dim(self.output_size, "q")]
        layers = []
        for k, (fan_in, fan_out) in enumerate(pairwise(dims), start=1):
            with b.block(LAYER, k):
                weight = parameter(b, f"W{k}", "W", (fan_out, fan_in), dtype)
                bias = parameter(b, f"b{k}", "b", (fan_out,), dtype) if self.bias else None
                layers.append((weight, bias))
        return layers

    def _hidden_dims(self) -> list[Dim]:
        """The widths with their symbols: m for all if they are equal, else m1, m2, … by layer."""
        if len(set(self.hidden)) <= 1:
            return [Dim(width, "m") for width in self.hidden]
        return [Dim(width, f"m{k}") for k, width in enumerate(self.hidden, start=1)]

    def _forward(self, b: Builder, layers: list[tuple[Node, Node | None]], x: Node) -> Node:
        """Append the layers, with ``x`` as their input; returns the output o.

        As in the book, z and h have no number if there is only one hidden layer.
        """
        *hidden, (weight, bias) = layers
        for k, (inner_weight, inner_bias) in enumerate(hidden, start=1):
            number = "" if self.depth == 1 else str(k)
            with b.block(LAYER, k):
                x = linear(b, x, inner_weight, inner_bias, name=f"z{number}", label="z")
                x = activate(b, self.activation, x, name=f"h{number}", label="h")
        with b.block(LAYER, len(layers)):
            return linear(b, x, weight, bias, name="o")

    def _loss(self, b: Builder, output: Node, y: Node) -> Node:
        return (mean_squared_error if self.loss == MEAN_SQUARED_ERROR else cross_entropy)(b, output, y)
