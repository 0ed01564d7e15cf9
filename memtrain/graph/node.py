"""The computational graph as frozen data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from memtrain.graph.ops.base import Op

Shape = tuple[int, ...]
DType = np.dtype[Any]


class Phase(StrEnum):
    """The part of an iteration that a node or step belongs to; only a step can be ``RECOMPUTE``."""

    FORWARD = "forward"
    BACKWARD = "backward"
    RECOMPUTE = "recompute"
    UPDATE = "update"


class Role(StrEnum):
    """What live bytes are there for."""

    PARAMETER = "parameter"
    GRADIENT = "gradient"
    OPTIMIZER = "optimizer"
    INPUT = "input"
    RETAINED = "retained"
    RECOMPUTED = "recomputed"
    TRANSIENT = "transient"
    WORKSPACE = "workspace"


class Block(NamedTuple):
    """A part of a network. ``number`` counts the parts of a kind from 1, where they repeat."""

    kind: str
    number: int | None = None

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}{self.number}"


Scope = tuple[Block, ...]
"""The path of blocks from the whole network to where a node stands."""


class Name(NamedTuple):
    """What a value is called, where its node is not at hand."""

    name: str
    label: str
    scope: Scope


@dataclass(slots=True, eq=False)
class Node:
    """One application of an op, and at the same time the one value that it gives.

    ``storage`` is the id of the node whose bytes this value lives in: its own, but for a view (the
    base's) and an update (the parameter's). ``contiguous`` says that the bytes lie in row order.

    ``name`` is unique and for people only. ``label`` is what the value is called within its block: the same
    for the same value of each block of a kind.

    Nobody writes the fields of a node: they are final, which the type checker holds. A frozen dataclass holds
    it too, but its objects take six times as long to make, and a deep network has tens of thousands.
    """

    id: Final[int]
    op: Final[Op]
    inputs: Final[tuple[int, ...]]
    shape: Final[Shape]
    dtype: Final[DType]
    name: Final[str]
    phase: Final[Phase]
    storage: Final[int]
    contiguous: Final[bool]
    scope: Final[Scope] = ()
    label: Final[str] = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value; a view's are its base's and are not counted again."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def role(self) -> Role | None:
        """The role of a leaf; ``None`` for what is computed."""
        return self.op.leaf_role

    @property
    def called(self) -> Name:
        """Its names alone."""
        return Name(self.name, self.label, self.scope)

    @property
    def owns_storage(self) -> bool:
        """Whether the value has bytes of its own."""
        return self.storage == self.id

    def renamed(self, name: str, label: str | None = None, scope: Scope | None = None) -> Node:
        """The same node under another name; its label is the name, and its scope stays, unless given."""
        return Node(
            self.id,
            self.op,
            self.inputs,
            self.shape,
            self.dtype,
            name,
            self.phase,
            self.storage,
            self.contiguous,
            self.scope if scope is None else scope,
            name if label is None else label,
        )

    def __str__(self) -> str:
        return f"{self.name} {self.op.name}{list(map(int, self.shape))} {self.dtype}"


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed: ``nodes[i].id == i``."""

    nodes: tuple[Node, ...]

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def named(self, name: str) -> Node:
        """The node of that name; raises ``KeyError`` when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
