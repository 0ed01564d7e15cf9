"""Backpropagation as a graph transformation: the backward pass is more graph.

Reverse accumulation (Dive into Deep Learning 5.3.3; Griewank & Walther 2008, §3.2). The rule of each node is
asked once, when its cotangent is complete, and each part that it gives is added at once to what the input
has so far: a value that many read holds one sum, never a cotangent for each reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.naming import Part, name_cotangents
from memtrain.graph.node import Node, Phase
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.ops.source import Fill

Paths = dict[int, tuple[int, ...]]
"""By node between ``wrt`` and the target: the positions of its inputs that lead on to ``wrt``."""


def gradient(b: Builder, target: Node, wrt: Sequence[Node], into: Sequence[Node] | None = None) -> list[Node]:
    """Append the nodes of ∂target/∂v for each v of ``wrt`` and return them, of v's shape each.

    ``into`` holds a running total for each leaf v of ``wrt`` (the gradient of earlier micro-batches); the
    gradient of v is added to it.

    ``target`` has no dimensions. Backward runs from the last node to the first, and of the inputs of a node
    the leaves come first: ∂L/∂W before ∂L/∂h. Differentiating the result again is the same call. Raises
    ``GraphError`` for a target with dimensions or an op without a rule.
    """
    if target.shape:
        raise GraphError(f"only a number can be differentiated, not {target}; sum it first")
    for node in wrt:
        if node.dtype.kind != "f":
            raise GraphError(f"there is no gradient with respect to {node}; ask for values of real numbers")
    paths = _paths(b, target, wrt)
    sums = _Sums(b, paths)
    if into is not None:
        sums.start_from({v.id: total for v, total in zip(wrt, into, strict=True) if not v.inputs})

    with b.phase(Phase.BACKWARD):
        sums.add(target, target.id, b.apply(Fill(1.0, (), target.dtype)), new=True)
        for index in sorted(paths, reverse=True):
            if paths[index]:
                sums.pass_on(b[index], paths[index])
        for node in wrt:
            if node.id not in sums.totals:
                sums.add(target, node.id, b.apply(Fill(0.0, node.shape, node.dtype)), new=True)
    name_cotangents(b, target, paths, sums.parts)
    return [b[sums.totals[node.id].id] for node in wrt]


class _Sums:
    """The cotangent of each value, as far as it has been summed up."""

    def __init__(self, b: Builder, paths: Paths) -> None:
        self.totals: dict[int, Node] = {}
        self.parts: list[Part] = []
        self._b = b
        self._open = _use_counts(b, paths)
        self._waiting: dict[int, list[tuple[Node, int, Node]]] = {}

    def start_from(self, totals: Mapping[int, Node]) -> None:
        """Add to these instead of starting at nothing."""
        self.totals.update(totals)

    def pass_on(self, node: Node, wanted: tuple[int, ...]) -> None:
        """Ask the rule of ``node``, and add what it gives to the cotangents of its inputs.

        A part that can be added in place waits for a first one that makes the array. If none comes, the
        first that waits makes it.
        """
        b, cotangent, inputs = self._b, self.totals.get(node.id), node.inputs
        outside, b.scope = b.scope, node.scope
        if cotangent is not None:
            in_place = node.op.adds_vjp
            built = len(b.nodes)
            rule = [position for position in wanted if position not in in_place] if in_place else wanted
            if rule:
                for position, part in node.op.vjp(b, node, cotangent, rule):
                    self.add(node, inputs[position], part, new=part.id >= built)
                    built = len(b.nodes)
            for position in in_place:
                if position in wanted:
                    self._waiting.setdefault(inputs[position], []).append((node, position, cotangent))
        for position in wanted:
            self._close(inputs[position])
        b.scope = outside

    def add(self, consumer: Node, index: int, part: Node, *, new: bool) -> None:
        """Add what ``consumer`` passes back to value ``index``; ``new`` says that it was built for this."""
        total = self.totals.get(index)
        if total is None:
            self.totals[index] = part
        else:
            self.totals[index] = part = add(self._b, total, part)
        if new or total is not None:
            self.parts.append(Part(part.id, index, consumer.id))
        if index in self._waiting:
            self._add_waiting(index)

    def _close(self, index: int) -> None:
        """Count one reader off; after the last one nothing can wait any longer."""
        self._open[index] -= 1
        if index in self._waiting and not self._open[index]:
            if index in self.totals:
                self._add_waiting(index)
            else:
                consumer, position, cotangent = self._waiting[index].pop(0)
                for _, part in consumer.op.vjp(self._b, consumer, cotangent, (position,)):
                    self.add(consumer, index, part, new=True)

    def _add_waiting(self, index: int) -> None:
        for consumer, position, cotangent in self._waiting.pop(index):
            total = consumer.op.add_vjp(self._b, consumer, position, cotangent, self.totals[index])
            self.totals[index] = total
            self.parts.append(Part(total.id, index, consumer.id))


def _paths(b: Builder, target: Node, wrt: Sequence[Node]) -> Paths:
    """The nodes that depend on ``wrt`` and lead to ``target``, each with its inputs that do: leaves first."""
    leads = {target.id}
    for index in range(target.id, -1, -1):
        if index in leads:
            leads.update(b[index].inputs)
    depends = {node.id for node in wrt}
    for index in range(min(depends, default=0), target.id + 1):
        if index in leads and not depends.isdisjoint(b[index].inputs):
            depends.add(index)
    on_path = leads & depends | {target.id}
    return {index: _wanted(b, b[index].inputs, on_path) for index in on_path}


def _wanted(b: Builder, inputs: tuple[int, ...], on_path: set[int]) -> tuple[int, ...]:
    wanted = [position for position, i in enumerate(inputs) if i in on_path]
    if len(wanted) > 1:
        wanted.sort(key=lambda position: bool(b[inputs[position]].inputs))
    return tuple(wanted)


def _use_counts(b: Builder, paths: Paths) -> dict[int, int]:
    counts = dict.fromkeys(paths, 0)
    for index, wanted in paths.items():
        inputs = b[index].inputs
        for position in wanted:
            counts[inputs[position]] += 1
    return counts
