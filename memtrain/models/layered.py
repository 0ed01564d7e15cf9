"""Networks whose layers declare their parameters as they are appended, with a cross-entropy loss."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memtrain.errors import check_integer
from memtrain.graph.builder import Builder
from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.ops.base import Array
from memtrain.models.declared import Layers
from memtrain.models.freezing import frozen_ids
from memtrain.models.layers import cross_entropy, regulariser
from memtrain.models.network import NOTHING, FeedKind, Model, Network, check_numbers


@dataclass(frozen=True)
class Layered(Network):
    """A network that appends its layers with `Layers`. A subclass says which layers these are."""

    activation: str = "relu"
    bias: bool = False
    l2: float = 1e-4
    dtype: str = "float32"
    freeze: str = NOTHING

    least_depth: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_integer("depth", self.depth, self.least_depth)
        check_numbers(self)

    @abstractmethod
    def output(self, layers: Layers, x: Node) -> Node:
        """Append the layers, with ``x`` as their input; returns the outputs (rows, classes)."""

    def loss_of(self, b: Builder, output: Node, y: Node) -> Node:
        """Append the mean cross-entropy of the outputs."""
        return cross_entropy(b, output, y)

    def build(self, batch: int) -> Model:
        return self._declared(batch)[0]

    def initial_values(self, seed: int) -> dict[str, Array]:
        initial = self._declared(1)[1].initial
        return {
            name: values.draw((seed, number), self.dtype)
            for number, (name, values) in enumerate(initial.items(), start=1)
        }

    def forward_flops(self, batch: int) -> int:
        model = self.build(batch)
        nodes = model.builder.nodes
        products = (
            node.op.flops(node, *[nodes[i] for i in node.inputs])
            for node in nodes
            if node.op.speed == "product"
        )
        return sum(products)

    def _declared(self, batch: int) -> tuple[Model, Layers]:
        check_integer("batch", int(batch), 1)
        b = Builder()
        feeds = tuple(feed.leaf(b) for feed in self.feeds(batch))
        kinds = [feed.kind for feed in self.feeds(batch)]
        y = feeds[kinds.index(FeedKind.LABELS)]
        key = feeds[kinds.index(FeedKind.KEY)] if FeedKind.KEY in kinds else None
        layers = Layers(b, np.dtype(self.dtype), self.bias, key)
        output = self.output(layers, feeds[0])
        loss = self.loss_of(b, output, y)
        frozen = frozen_ids(layers.parameters, self.freeze) | layers.frozen
        weights = tuple(weight for weight in layers.weights if weight.id not in frozen)
        total = regulariser(b, weights, self.l2)
        objective = add(b, loss, total, name="J") if total else loss
        model = Model(b, feeds, tuple(layers.parameters), (output,), loss, objective, frozen, weights)
        return model, layers
