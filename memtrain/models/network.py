"""The base class of networks: frozen data that can be written as JSON and builds its own graph.

A family is a subclass in its own module, built from the functions in `memtrain.models.layers`. Its fields are
columns of a row, so each of them must be in the table `memtrain.cells.columns`, and so must the name of the
family. Columns that the family lacks are empty in its rows. The family is registered in
`memtrain.models.families`.

Sizes are dimensions with a symbol (`memtrain.graph.size.Dim`), and formulas of bytes are written with these
symbols. `SYMBOL_WORDS` says what each symbol counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from math import isfinite, prod
from typing import Any, ClassVar, Self

from memtrain.errors import SpecError, unknown_choice
from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Role, Shape
from memtrain.graph.ops import ACTIVATIONS
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.source import Leaf
from memtrain.graph.size import BATCH

DTYPES = ("float32", "float64")

KEY = "key"
"""The name of the feed with the seed and the number of the iteration, from which random masks are drawn."""

DEPTH = "ℓ"
"""The symbol of the depth in formulas."""

SYMBOL_WORDS = {
    BATCH: "example",
    "d": "input",
    "m": "unit",
    "q": "output",
    "p": "pixel row",
    "c": "image channel",
    "t": "token",
    "a": "head",
    "v": "known token",
}
"""The thing that each symbol counts. Single layers have m1, m2, … units; for ℓ see `Network.block_word`."""


def check_numbers(network: Network) -> None:
    """Raise ``SpecError`` for an activation, type, bias or λ that no network can have."""
    columns = network.columns()
    for name, choices in (("activation", ACTIVATIONS), ("dtype", DTYPES)):
        if columns[name] not in choices:
            raise unknown_choice(name, columns[name], choices)
    if not isinstance(columns["bias"], bool):
        raise SpecError(f"bias {columns['bias']!r} cannot be used", "give True or False")
    l2 = columns["l2"]
    if not (isinstance(l2, (int, float)) and isfinite(l2) and l2 >= 0):
        raise SpecError(f"l2 {l2!r} cannot be used", "give a finite number ≥ 0; 0 regularises nothing")


NOTHING = "none"
"""The value of ``freeze`` with which all parameters are trained."""


class FeedKind(StrEnum):
    """The kind of the values of a feed."""

    FEATURES = "features"
    IMAGE = "image"
    TOKENS = "tokens"
    KEY = "key"
    """The seed and the number of the iteration, from which random masks are drawn."""
    LABELS = "labels"
    TARGETS = "targets"


@dataclass(frozen=True)
class Feed:
    """An input or a target that an iteration is given: its name, kind, shape and type."""

    name: str
    kind: FeedKind
    shape: Shape
    """The shape of the values. Its first axis is the batch."""
    dtype: DType
    class_count: int | None = None
    """The number of classes, for labels and tokens: these are whole numbers from 0 to ``class_count`` − 1."""

    @property
    def example_size(self) -> int:
        """The number of values of an example."""
        return prod(self.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize

    def leaf(self, b: Builder) -> Node:
        """Append the leaf that holds the values."""
        return b.apply(Leaf(Role.INPUT, self.shape, self.dtype), name=self.name)


@dataclass(frozen=True)
class Model:
    """The graph of a network for one batch size, up to the objective, and the nodes that callers need."""

    builder: Builder
    feeds: tuple[Node, ...]
    parameters: tuple[Node, ...]
    outputs: tuple[Node, ...]
    """The values that inference asks for."""
    loss: Node
    """The mean loss over the examples."""
    objective: Node
    """The value that training minimises: the loss plus the regulariser, if there is one."""
    frozen: frozenset[int] = frozenset()
    """Ids of the parameters that training does not change."""
    regularised: tuple[Node, ...] = ()
    """The parameters whose squares the regulariser adds up."""

    @property
    def trainable(self) -> tuple[Node, ...]:
        """The parameters that training changes."""
        return tuple(node for node in self.parameters if node.id not in self.frozen)


@dataclass(frozen=True)
class Network(ABC):
    """A network with ``depth`` blocks. Raises ``SpecError`` for values that no network can have."""

    depth: int = 1

    family: ClassVar[str]
    noun: ClassVar[str] = "network"
    """The usual name of one network of the family."""
    block_word: ClassVar[str] = "block"
    """The thing that ``depth`` counts, in the singular."""
    reads: ClassVar[FeedKind] = FeedKind.FEATURES
    """The kind of the inputs."""
    sizes_from_data: ClassVar[tuple[str, ...]] = ("input_size", "output_size")
    """Columns that the data determine. If one of them is given, the data are synthetic."""
    usual_axes: ClassVar[Mapping[str, Sequence[int]]] = {"depth": (1, 2, 4, 8, 16), "batch": (64, 256, 1024)}
    """The depths and batches of a sweep for which none are given."""

    @classmethod
    def sizes_of(cls, input_count: int, class_count: int) -> dict[str, Any]:
        """The columns of ``sizes_from_data`` for data with these counts. Raises ``SpecError``."""
        return {"input_size": input_count, "output_size": class_count}

    def takes(self, input_count: int) -> bool:
        """Whether the network can be given examples of ``input_count`` numbers."""
        return input_count == self.input_count

    @property
    def updates_statistics(self) -> bool:
        """Whether forward updates running statistics in training, such as those of a batch norm."""
        return False

    @property
    def most_depth(self) -> int | None:
        """The largest depth that a network with these other columns can have; ``None`` if there is none."""
        return None

    @abstractmethod
    def build(self, batch: int) -> Model:
        """The model for batches of ``batch`` examples, which may be a `Dim`: a part of the whole batch."""

    @abstractmethod
    def feeds(self, batch: int) -> tuple[Feed, ...]:
        """The feeds of an iteration, in the order of the leaves of the graph."""

    @abstractmethod
    def initial_values(self, seed: int) -> dict[str, Array]:
        """The initial values of the parameters, by name. Equal seeds give equal values."""

    @abstractmethod
    def forward_flops(self, batch: int) -> int:
        """The FLOPs of the matrix products of one forward pass, which are nearly all of its FLOPs."""

    @abstractmethod
    def small(self) -> Self:
        """A small network with the same ops. A measuring process runs it first, to load all code it needs."""

    def feed_of(self, kind: FeedKind) -> Feed | None:
        """The feed of the given kind for one example; ``None`` if the network has none."""
        return next((feed for feed in self.feeds(1) if feed.kind is kind), None)

    @property
    def input_count(self) -> int:
        """The number of values of an input."""
        inputs = self.feed_of(self.reads)
        return 0 if inputs is None else inputs.example_size

    @property
    def class_count(self) -> int:
        """The number of classes; 0 if the targets are not labels."""
        labels = self.feed_of(FeedKind.LABELS)
        return 0 if labels is None or labels.class_count is None else labels.class_count

    def columns(self) -> dict[str, Any]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def changed(self, **columns: Any) -> Self:
        """The same network with other values of some fields."""
        return replace(self, **columns)

    def as_json(self) -> dict[str, Any]:
        """The network as JSON values, which `memtrain.models.families.read_network` reads."""
        return {"family": self.family, **self.columns()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A network from the values that `as_json` returned, without ``family``."""
        return cls(**values)
