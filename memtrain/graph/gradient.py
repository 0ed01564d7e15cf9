"""Backpropagation as a graph transformation: the backward pass is more graph.

Reverse accumulation (Dive into Deep Learning 5.3.3; Griewank & Walther 2008, §3.2). The vjp rule of a node is
applied once, when the cotangent of the node is complete. The rule builds one part for each input, and each
part is added at once to the cotangent of its input. So a value with many readers needs memory for one sum,
not for one cotangent per reader.
"""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.naming import Part, Parts, Paths, name_cotangents
from memtrain.graph.node import Node, Phase
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.ops.source import Fill


def gradient(b: Builder, target: Node, wrt: Sequence[Node], into: Sequence[Node] | None = None) -> list[Node]:
    """Append the nodes that compute ∂target/∂v for each v of ``wrt``; returns them, each with the shape of v.

    ``into`` has one running total per v: the gradient of earlier micro-batches. The gradient of a leaf v is
    added to its total.

    ``target`` has no dimensions. Backward runs from the last node to the first. Among the inputs of a node,
    leaves come first: ∂L/∂W before ∂L/∂h. The appended nodes can be differentiated in turn. Raises
    ``GraphError`` for a target with dimensions, a v that is not a float, or an op without a vjp rule.
    """
    if target.shape:
        raise GraphError(f"only a value without dimensions has a gradient, not {target}; sum it first")
    for node in wrt:
        if node.dtype.kind != "f":
            raise GraphError(f"{node} has no gradient, since its type is not a float; ask for a float value")
    paths = _paths(b, target, wrt)
    with b.phase(Phase.BACKWARD):
        found, parts = _backward(b, target, wrt, into, paths)
    name_cotangents(b, target, paths, parts)
    return [b[index] for index in found]


def _backward(
    b: Builder, target: Node, wrt: Sequence[Node], into: Sequence[Node] | None, paths: Paths
) -> tuple[list[int], Parts]:
    """Append the backward nodes without names; returns the ids of the gradients, and all parts."""
    sums = _Sums(b)
    if into is not None:
        sums.totals = {v.id: total for v, total in zip(wrt, into, strict=True) if not v.inputs}
    sums.add(target.id, target, b.apply(Fill(1.0, (), target.dtype)), new=True)
    outside = b.scope
    try:
        for index in sorted(paths, reverse=True):
            sums.complete(index)
            if paths[index]:
                sums.pass_on(b[index], paths[index])
    finally:
        b.scope = outside
    for node in wrt:
        if node.id not in sums.totals:
            sums.add(node.id, target, b.apply(Fill(0.0, node.shape, node.dtype)), new=True)
    return [sums.totals[node.id].id for node in wrt], sums.parts


class _Sums:
    """The cotangents under construction: for each value, the sum of the parts that exist so far."""

    def __init__(self, b: Builder) -> None:
        self.totals: dict[int, Node] = {}
        self.parts: Parts = {}
        self._b = b
        self._waiting: dict[int, list[tuple[Node, int, Node]]] = {}

    def pass_on(self, node: Node, wanted: Sequence[int]) -> None:
        """Apply the vjp rule of ``node`` and add each part to the cotangent of its input.

        A part that ``add_vjp`` can add in place waits until there is a sum to which it can be added.
        """
        cotangent = self.totals.get(node.id)
        if cotangent is None:
            return
        for position in node.op.adds_vjp:
            if position in wanted:
                self._waiting.setdefault(node.inputs[position], []).append((node, position, cotangent))
                wanted = [other for other in wanted if other != position]
        if wanted:
            self._ask(node, cotangent, wanted)

    def _ask(self, node: Node, cotangent: Node, wanted: Sequence[int]) -> None:
        b = self._b
        b.scope = node.scope
        count = len(b.nodes)
        for position, part in node.op.vjp(b, node, cotangent, wanted):
            self.add(node.inputs[position], node, part, new=part.id >= count)
            count = len(b.nodes)

    def add(self, index: int, consumer: Node, part: Node, *, new: bool) -> None:
        """Add ``part``, which ``consumer`` passes back, to the cotangent of value ``index``.

        ``new`` says that the node was built for this part; otherwise the node already has another use.
        """
        before = self.totals.get(index)
        built = part.id if new else None
        if before is None:
            self._note(index, part, Part(built, None, consumer.id))
        else:
            total = add(self._b, before, part)
            self._note(index, total, Part(total.id, built, consumer.id))
        if index in self._waiting:
            self._add_waiting(index)

    def complete(self, index: int) -> None:
        """Add the parts that still wait. All other parts of this cotangent have been added."""
        if index not in self._waiting:
            return
        if index in self.totals:
            self._add_waiting(index)
        else:
            consumer, position, cotangent = self._waiting[index].pop(0)
            self._ask(consumer, cotangent, (position,))

    def _add_waiting(self, index: int) -> None:
        b = self._b
        outside = b.scope
        for consumer, position, cotangent in self._waiting.pop(index):
            b.scope = consumer.scope
            total = consumer.op.add_vjp(b, consumer, position, cotangent, self.totals[index])
            self._note(index, total, Part(total.id, None, consumer.id))
        b.scope = outside

    def _note(self, index: int, total: Node, part: Part) -> None:
        """Record ``total`` as the present cotangent of value ``index``, and ``part`` as its latest part."""
        self.totals[index] = total
        self.parts.setdefault(index, []).append(part)


def _paths(b: Builder, target: Node, wrt: Sequence[Node]) -> Paths:
    """The nodes between ``wrt`` and ``target``, each with the positions of its inputs that lie there too.

    The positions of leaves come first.
    """
    nodes, depends = b.nodes, {node.id for node in wrt}
    first = min(depends, default=0)
    leads = {target.id}
    for index in range(target.id, first, -1):
        if index in leads:
            leads.update(nodes[index].inputs)
    paths: Paths = {index: () for index in depends & leads}
    for index in range(first, target.id + 1):
        if index in leads:
            inputs = nodes[index].inputs
            wanted = [position for position, i in enumerate(inputs) if i in paths]
            if len(wanted) > 1:
                wanted.sort(key=lambda position: bool(nodes[inputs[position]].inputs))
            if wanted:
                paths[index] = tuple(wanted)
    paths.setdefault(target.id, ())
    return paths
