"""Backpropagation as a graph transformation: the backward pass is more graph.

Reverse accumulation (Dive into Deep Learning 5.3.3; Griewank & Walther 2008, §3.2), pulled rather than
pushed: when the turn of a value comes, its consumers' rules build its cotangent, in one place.
"""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Node, Phase
from memtrain.graph.ops.arithmetic import Add, add
from memtrain.graph.ops.source import Fill

Use = tuple[Node, int]
"""A consumer of a value and the input at which it reads it."""


def gradient(b: Builder, target: Node, wrt: Sequence[Node], into: Sequence[Node] | None = None) -> list[Node]:
    """Append the nodes of ∂target/∂v for each v of ``wrt`` and return them, of v's shape each.

    ``into`` holds a value for each leaf v that its gradient is added to, as soon as there is one.

    ``target`` has no dimensions. Backward runs from the last node to the first, and the gradient of a
    leaf is built as soon as its consumers are done: ∂L/∂W before ∂L/∂h. Differentiating the result
    again is the same call. Raises ``GraphError`` for a target with dimensions or an op without a rule.
    """
    if target.shape:
        raise GraphError(f"only a number can be differentiated, not {target}; sum it first")
    for node in wrt:
        if node.dtype.kind != "f":
            raise GraphError(f"there is no gradient with respect to {node}; ask for values of real numbers")
    uses = _uses_on_paths(b, target, wrt)
    labels = _labels(b, target, uses)
    leaves = {node.id for node in wrt if not node.inputs}
    totals = {} if into is None else {node.id: total for node, total in zip(wrt, into, strict=True)}
    open_uses = {index: len(found) for index, found in uses.items()}

    b.phase = Phase.BACKWARD
    cotangents = {target.id: b.apply(Fill(1.0, (), target.dtype), name=f"∂{target.name}/∂{target.name}")}
    for index in sorted(uses, reverse=True):
        node = b[index]
        if index != target.id and index not in leaves:
            cotangents[index] = _cotangent(b, node, uses[index], cotangents, labels)
        for i in dict.fromkeys(node.inputs):
            if i in uses:
                open_uses[i] -= node.inputs.count(i)
                if i in leaves and not open_uses[i]:
                    cotangents[i] = _cotangent(b, b[i], uses[i], cotangents, labels, totals.get(i))
    return [cotangents.get(node.id) or totals.get(node.id) or _zero(b, node, target.name) for node in wrt]


def _cotangent(
    b: Builder,
    node: Node,
    uses: list[Use],
    cotangents: dict[int, Node],
    labels: dict[int, str],
    total: Node | None = None,
) -> Node:
    """``total`` and, over the uses of ``node``, what each consumer's rule gives, first in forward first."""
    for consumer, position in uses:
        incoming, before, first = cotangents[consumer.id], len(b.nodes), total is None
        total = _with_use(b, consumer, position, incoming, total)
        if total is not None and total.id >= before:
            label = labels[consumer.id if first else node.id]
            total = b.rename(total, f"∂{label}/∂{node.name}")
    return total or _zero(b, node, labels[node.id])


def _with_use(b: Builder, consumer: Node, position: int, incoming: Node, total: Node | None) -> Node | None:
    """``total`` plus what one use contributes, in place where the consumer's rule knows how."""
    if total is None:
        return consumer.op.vjp(b, consumer, position, incoming)
    added = consumer.op.add_vjp(b, consumer, position, incoming, total)
    if added is not None:
        return added
    contribution = consumer.op.vjp(b, consumer, position, incoming)
    return total if contribution is None else add(b, total, contribution)


def _zero(b: Builder, node: Node, label: str) -> Node:
    return b.apply(Fill(0.0, node.shape, node.dtype), name=f"∂{label}/∂{node.name}")


def _uses_on_paths(b: Builder, target: Node, wrt: Sequence[Node]) -> dict[int, list[Use]]:
    """For each node between ``wrt`` and ``target``: its consumers that lead to ``target``."""
    leads = {target.id}
    for index in range(target.id, -1, -1):
        if index in leads:
            leads.update(b[index].inputs)
    depends = {node.id for node in wrt}
    for index in range(min(depends, default=0), target.id + 1):
        if index in leads and not depends.isdisjoint(b[index].inputs):
            depends.add(index)
    uses: dict[int, list[Use]] = {index: [] for index in leads & depends}
    uses.setdefault(target.id, [])
    for index in sorted(uses):
        for position, i in enumerate(b[index].inputs):
            if i in uses:
                uses[i].append((b[index], position))
    return uses


def _labels(b: Builder, target: Node, uses: dict[int, list[Use]]) -> dict[int, str]:
    """What a cotangent is the derivative of, as the book writes it.

    J = L + s passes its cotangent on unchanged, so that what lies only below L is named ∂L/∂…
    """
    labels = {target.id: target.name}
    for index in sorted(uses, reverse=True):
        if index == target.id:
            continue
        found = uses[index]
        consumers = {consumer.id for consumer, _ in found}
        if consumers == {target.id} and isinstance(target.op, Add) and not b[index].shape:
            labels[index] = b[index].name
        else:
            names = {labels[i] for i in consumers}
            labels[index] = names.pop() if len(names) == 1 else target.name
    return labels
