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
    """The purpose of live bytes."""

    PARAMETER = "parameter"
    GRADIENT = "gradient"
    OPTIMIZER = "optimizer"
    INPUT = "input"
    RETAINED = "retained"
    RECOMPUTED = "recomputed"
    TRANSIENT = "transient"
    WORKSPACE = "workspace"


class Block(NamedTuple):
    """A part of a network. If its kind repeats, ``number`` counts the blocks of the kind from 1."""

    kind: str
    number: int | None = None

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}{self.number}"


Scope = tuple[Block, ...]
"""The path of blocks that a node belongs to, the outermost first."""


def numbered(scope: Scope) -> Scope:
    """The path up to the innermost block with a number: the repeated block that contains a part of it."""
    last = max((at for at, block in enumerate(scope, start=1) if block.number is not None), default=0)
    return scope[:last]


class Name(NamedTuple):
    """The name, label and scope of a value, without its node."""

    name: str
    label: str
    scope: Scope


@dataclass(slots=True, eq=False)
class Node:
    """One application of an op, and at the same time the one value that the op gives.

    ``storage`` is the id of the node that owns the bytes of the value. A view has the storage of its base, an
    update that of the leaf which it overwrites, any other node its own. ``contiguous`` says that the bytes
    lie in row order.

    ``name`` is unique and meant for people; only leaves are also found by it. ``label`` is the name of the
    value within its block: the same value has the same label in every block of a kind.

    The type checker enforces that the fields are final. A frozen dataclass would enforce it at run time, but
    its instances take six times as long to create, and a deep network has tens of thousands of nodes.
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
        """Bytes of the value. A view shares the bytes of its base, so they must be counted once only."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def role(self) -> Role | None:
        """The role of a leaf; ``None`` for a computed value."""
        return self.op.leaf_role

    @property
    def called(self) -> Name:
        """The name, label and scope of the node."""
        return Name(self.name, self.label, self.scope)

    @property
    def owns_storage(self) -> bool:
        """Whether the value has bytes of its own."""
        return self.storage == self.id

    def renamed(self, name: str, label: str | None = None, scope: Scope | None = None) -> Node:
        """The same node under another name. By default the label is this name, and the scope is kept."""
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
    """Nodes in an order in which they can be computed, numbered from 0: ``nodes[i].id == i``."""

    nodes: tuple[Node, ...]

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def named(self, name: str) -> Node:
        """The node called ``name``. Raises ``KeyError`` if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
