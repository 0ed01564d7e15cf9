"""What every network is: frozen data that can be written as JSON, and that builds its own graph.

A family is a subclass in a module of its own, made of the functions in `memtrain.models.layers`. Its fields
are columns of a row: each stands in the table `memtrain.cells.columns`, and so does the family's name. A
column of the table that the family lacks is empty in its rows. `memtrain.models.families` registers it.

Sizes are dimensions with a symbol (`memtrain.graph.size.Dim`): n of the batch, d, h, q of the layers. They
are whole numbers, and formulas of bytes are written with their symbols.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from math import prod
from typing import Any, ClassVar, Self

from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Role, Shape
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.source import Leaf


class FeedKind(StrEnum):
    """What the values of a feed are."""

    FEATURES = "features"
    LABELS = "labels"
    TARGETS = "targets"


@dataclass(frozen=True)
class Feed:
    """What an iteration is given under a name: an input or a target."""

    name: str
    kind: FeedKind
    shape: Shape
    """The first axis is the batch."""
    dtype: DType
    class_count: int | None = None
    """Of labels: they are whole numbers below it."""

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return prod(self.shape) * self.dtype.itemsize

    def leaf(self, b: Builder) -> Node:
        """Append the leaf that holds it."""
        return b.apply(Leaf(Role.INPUT, self.shape, self.dtype), name=self.name)


@dataclass(frozen=True)
class Model:
    """The graph of a network for one batch size, up to the objective, and the nodes that others speak of."""

    builder: Builder
    feeds: tuple[Node, ...]
    parameters: tuple[Node, ...]
    outputs: tuple[Node, ...]
    """What a prediction asks for."""
    loss: Node
    """The mean over the examples."""
    objective: Node
    """What is minimised: the loss, and the regulariser where there is one."""
    frozen: frozenset[int] = frozenset()
    """Ids of the parameters that training does not change."""

    @property
    def trainable(self) -> tuple[Node, ...]:
        """The parameters that training changes."""
        return tuple(node for node in self.parameters if node.id not in self.frozen)


@dataclass(frozen=True)
class Network(ABC):
    """A network of some family, of ``depth`` blocks. Raises ``SpecError`` for one that cannot exist."""

    depth: int = 1

    family: ClassVar[str]

    @abstractmethod
    def build(self, batch: int) -> Model:
        """Its graph for batches of so many examples; ``batch`` may be a `Dim`, a share of the whole batch."""

    @abstractmethod
    def feeds(self, batch: int) -> tuple[Feed, ...]:
        """What an iteration is given, in the order of the leaves of the graph."""

    @abstractmethod
    def initial_values(self, seed: int) -> dict[str, Array]:
        """Seeded initial values by name of the parameter."""

    @abstractmethod
    def forward_flops(self, batch: int) -> int:
        """About the operations of one forward pass: those of its products."""

    @abstractmethod
    def small(self) -> Self:
        """A small network of the same ops: what a measuring process runs first, to load all that it needs."""

    def feed_of(self, kind: FeedKind) -> Feed | None:
        """What it is given of that kind, for one example; ``None`` where it is given nothing of it."""
        return next((feed for feed in self.feeds(1) if feed.kind is kind), None)

    @property
    def input_count(self) -> int:
        """The features that it reads of each example."""
        features = self.feed_of(FeedKind.FEATURES)
        return 0 if features is None else prod(features.shape[1:])

    @property
    def class_count(self) -> int:
        """The classes that it tells apart; 0 where its targets are no labels."""
        labels = self.feed_of(FeedKind.LABELS)
        return 0 if labels is None or labels.class_count is None else labels.class_count

    def columns(self) -> dict[str, Any]:
        """Its fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def changed(self, **columns: Any) -> Self:
        """The same network with other values of some fields."""
        return replace(self, **columns)

    def as_json(self) -> dict[str, Any]:
        """JSON values, of which `memtrain.models.families.read_network` makes it again."""
        return {"family": self.family, **self.columns()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A network from what `as_json` gave, without the family."""
        return cls(**values)
