"""The one way to make a graph: append to it, then freeze it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from memtrain.errors import GraphError
from memtrain.graph.check import check
from memtrain.graph.naming import make_unique
from memtrain.graph.node import Block, Graph, Node, Phase, Scope
from memtrain.graph.ops.arithmetic import Copy
from memtrain.graph.ops.base import Op


class Builder:
    """A graph under construction: it appends nodes, and ``graph()`` returns them checked and frozen."""

    def __init__(self, graph: Graph | None = None) -> None:
        self.nodes: list[Node] = list(graph.nodes) if graph else []
        self.scope: Scope = ()
        self._phase = Phase.FORWARD

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """A context: the nodes appended inside it belong to this part of an iteration."""
        outside, self._phase = self._phase, phase
        try:
            yield
        finally:
            self._phase = outside

    @contextmanager
    def block(self, kind: str, number: int | None = None) -> Iterator[None]:
        """A context: the nodes appended inside it belong to this block, within the current block."""
        outside, self.scope = self.scope, (*self.scope, Block(kind, number))
        try:
            yield
        finally:
            self.scope = outside

    def apply(self, op: Op, *inputs: Node, name: str | None = None, label: str | None = None) -> Node:
        """Append the node ``op(*inputs)``. Raises ``GraphError`` when the op cannot take these inputs.

        The label is the name by default; a node without a name is labelled with the name of its op.
        """
        if op.writes is not None and not inputs[op.writes].contiguous:
            raise GraphError(
                f"{op.name} cannot write through the view {inputs[op.writes]}; update the value that it views"
            )
        if not op.strided and False in [node.contiguous for node in inputs]:
            inputs = tuple([self.contiguous(node) for node in inputs])
        index = len(self.nodes)
        shape, dtype = op.result(*inputs)
        if 0 in shape:
            raise GraphError(
                f"{op.name} would have the shape {list(map(int, shape))}; give sizes of at least 1"
            )
        shared = 0 if op.is_view else op.writes
        node = Node(
            index,
            op,
            tuple([node.id for node in inputs]),
            shape,
            dtype,
            name or f"{op.name}#{index}",
            self._phase,
            index if shared is None else inputs[shared].storage,
            op.keeps_order(*inputs),
            self.scope,
            label or name or op.name,
        )
        self.nodes.append(node)
        return node

    def include(self, nodes: Sequence[Node], wanted: Node, known: dict[int, Node], suffix: str = "") -> Node:
        """Copy the node ``wanted`` of another graph, with its ancestors, into this graph; returns the copy.

        ``nodes`` are the nodes of the other graph. ``known`` maps ids of that graph to nodes of this one.
        Nodes in ``known`` are not copied. Each copy has ``suffix`` after its name and is entered in
        ``known``.
        """
        needed = {wanted.id}
        for index in range(wanted.id, -1, -1):
            if index in needed and index not in known:
                needed.update(nodes[index].inputs)
        outside = self.scope
        for index in sorted(needed - known.keys()):
            node = nodes[index]
            self.scope = (*outside, *node.scope)
            inputs = [known[i] for i in node.inputs]
            known[index] = self.apply(node.op, *inputs, name=f"{node.name}{suffix}", label=node.label)
        self.scope = outside
        return known[wanted.id]

    def contiguous(self, node: Node) -> Node:
        """``node``, or a copy of it in row order if its bytes are in another order."""
        return node if node.contiguous else self.apply(Copy(), node)

    def rename(self, node: Node, name: str, label: str | None = None, scope: Scope | None = None) -> Node:
        """Replace ``node`` by the same node under another name; returns the new one."""
        self.nodes[node.id] = renamed = node.renamed(name, label, scope)
        return renamed

    def graph(self) -> Graph:
        """The graph built so far, with unique names. Raises ``GraphError`` if it is not valid."""
        make_unique(self.nodes)
        graph = Graph(tuple(self.nodes))
        check(graph)
        return graph


@contextmanager
def no_collection() -> Iterator[None]:
    """A context or decorator that stops Python's garbage collector while a graph is built or analysed.

    A graph has no garbage, and repeated scans of a million nodes would take a quarter of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
