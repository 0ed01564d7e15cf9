"""The computational graph as frozen data: nodes, the graph, and the builder that appends to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from memtrain.errors import GraphError

if TYPE_CHECKING:
    from memtrain.graph.ops.base import Op

Shape = tuple[int, ...]
DType = np.dtype[Any]


class Phase(StrEnum):
    """The part of an iteration that a node or step belongs to."""

    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"


class Role(StrEnum):
    """What live bytes are there for."""

    PARAMETER = "parameter"
    GRADIENT = "gradient"
    OPTIMIZER = "optimizer"
    INPUT = "input"
    RETAINED = "retained"
    TRANSIENT = "transient"
    WORKSPACE = "workspace"


class Dim(int):
    """A size that remembers the symbol that the book gives it (n, d, h, q)."""

    symbol: str

    def __new__(cls, size: int, symbol: str) -> Dim:
        """An int that also carries ``symbol``."""
        dim = super().__new__(cls, size)
        dim.symbol = symbol
        return dim

    def __reduce__(self) -> tuple[type[Dim], tuple[int, str]]:
        return Dim, (int(self), self.symbol)


def product(sizes: Shape) -> int:
    """The product of sizes, with the product of their symbols: n·h."""
    symbols = [size.symbol if isinstance(size, Dim) else str(size) for size in sizes if size != 1]
    return Dim(prod(sizes), "·".join(symbols)) if symbols else 1


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an op, and at the same time the one value that it gives.

    ``storage`` is the id of the node whose bytes this value lives in: its own, but for a view (the
    base's) and an update (the parameter's). ``contiguous`` says that the bytes lie in row order.
    """

    id: int
    op: Op
    inputs: tuple[int, ...]
    shape: Shape
    dtype: DType
    name: str
    phase: Phase
    storage: int
    contiguous: bool

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value; a view's are its base's and are not counted again."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def owns_storage(self) -> bool:
        """Whether the value has bytes of its own."""
        return self.storage == self.id

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


class Builder:
    """Appends nodes; what it has built so far is ``graph()``, checked and frozen."""

    def __init__(self, graph: Graph | None = None) -> None:
        self.nodes: list[Node] = list(graph.nodes) if graph else []
        self.phase = Phase.FORWARD

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def apply(self, op: Op, *inputs: Node, name: str | None = None) -> Node:
        """Append ``op`` applied to ``inputs``. Raises ``GraphError`` when the shapes do not fit."""
        if op.writes is not None and not inputs[op.writes].contiguous:
            raise GraphError(
                f"{op.name} cannot write through {inputs[op.writes]}; update what it is a view of"
            )
        if not op.strided and not all(node.contiguous for node in inputs):
            inputs = tuple(self.contiguous(node) for node in inputs)
        index = len(self.nodes)
        shape, dtype = op.result(*inputs)
        if 0 in shape:
            raise GraphError(
                f"{op.name} would have the shape {list(map(int, shape))}; give sizes of at least 1"
            )
        shared = 0 if op.is_view else op.writes
        node = Node(
            id=index,
            op=op,
            inputs=tuple([node.id for node in inputs]),
            shape=shape,
            dtype=dtype,
            name=name or f"{op.name}#{index}",
            phase=self.phase,
            storage=index if shared is None else inputs[shared].storage,
            contiguous=op.keeps_order(*inputs),
        )
        self.nodes.append(node)
        return node

    def contiguous(self, node: Node) -> Node:
        """``node`` itself, or its copy in row order: most kernels walk their inputs flat."""
        from memtrain.graph.ops.arithmetic import Copy

        return node if node.contiguous else self.apply(Copy(), node)

    def rename(self, node: Node, name: str) -> Node:
        """The same node under another name; nodes built before keep their own."""
        self.nodes[node.id] = renamed = replace(node, name=name)
        return renamed

    def graph(self) -> Graph:
        """What is built so far, checked (`memtrain.graph.check`)."""
        from memtrain.graph.check import check

        graph = Graph(tuple(self.nodes))
        check(graph)
        return graph
