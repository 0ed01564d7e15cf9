"""The names of nodes: unique in a graph, and meant for people. A run finds only leaves by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from memtrain.graph.node import Node

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


Paths = dict[int, tuple[int, ...]]
"""For each node between ``wrt`` and the target: the positions of its inputs that lie between them too."""


class Part(NamedTuple):
    """One part of the cotangent of a value: the part that one consumer of the value passes back."""

    total: int | None
    """The node that holds the sum of this part and all earlier ones. ``None`` if this node is the cotangent
    of another value: with J = L + s, the cotangent of J is also the cotangent of L."""
    addend: int | None
    """The node that was added to the sum of earlier parts; ``None`` without a sum, or without such a node."""
    consumer: int


Parts = dict[int, list[Part]]
"""For each value: the parts of its cotangent, in the order in which they were added."""


def name_cotangents(b: Builder, target: Node, paths: Paths, parts: Parts) -> None:
    """Name the sums that `gradient` built: ∂L/∂h2, or "part 1 of ∂L/∂h2" while later parts are missing.

    A sum gets the scope of its value. Its label is composed of labels as its name is of names.
    """
    heads, nodes = _heads(b, target, paths), b.nodes
    for index, found in parts.items():
        value, head = nodes[index], heads.get(index, target)
        if len(found) > 1:
            _name_partial_sums(b, value, head, found, heads)
        _name_addends(b, value, head, found, heads)
        last = found[-1].total
        if last is not None:
            b.rename(nodes[last], *_names(head, value), value.scope)


def _name_partial_sums(
    b: Builder, value: Node, head: Node, found: Sequence[Part], heads: dict[int, Node]
) -> None:
    """Name every total of ``found`` except the last.

    With J = L + s, the total of all parts that come through L is named ∂L/∂W. A total that also holds the
    gradient of earlier micro-batches is named "sum with ∂L/∂W".
    """
    lower = heads[found[0].consumer]
    for count, part in enumerate(found[:-1], start=1):
        lower = lower if heads[part.consumer] is lower else head
        name, label = _names(lower, value)
        prefix = "sum with " if found[0].addend is not None else ""
        if lower.name == head.name or heads[found[count].consumer] is lower:
            prefix = f"part{'s 1…' if count > 1 else ' '}{count} of "
        if part.total is not None:
            b.rename(b[part.total], prefix + name, prefix + label, value.scope)


def _name_addends(b: Builder, value: Node, head: Node, found: Sequence[Part], heads: dict[int, Node]) -> None:
    """Name the nodes that were added to a sum.

    If only one part comes through a head (L, say), it is the derivative of this head: ∂L/∂W. Otherwise it is
    named as a part: "part 2 of ∂J/∂W".
    """
    for count, part in enumerate(found, start=1):
        if part.addend is None:
            continue
        own = heads[part.consumer]
        alone = sum(heads[other.consumer] is own for other in found) == 1
        name, label = _names(own if alone else head, value)
        prefix = "" if alone else f"part {count} of "
        b.rename(b[part.addend], prefix + name, prefix + label, value.scope)


def _names(head: Node, value: Node) -> tuple[str, str]:
    """Name and label of ∂head/∂value. If they are equal, both are the same string object, to save memory."""
    name = f"∂{head.name}/∂{value.name}"
    if head.label is head.name and value.label is value.name:
        return name, name
    return name, f"∂{head.label}/∂{value.label}"


def _heads(b: Builder, target: Node, paths: Paths) -> dict[int, Node]:
    """For each value, its head: the numerator of its cotangent as the book writes it, L in ∂L/∂h.

    J = L + s passes its cotangent on unchanged. So L is the head of each value that affects J only through L.
    """
    heads = {target.id: target}
    terms = [b[target.inputs[position]] for position in paths[target.id] if position in target.op.summands]
    heads |= {term.id: term for term in terms if not term.shape and _has_own_name(term)}
    for index in sorted(paths, reverse=True):
        head, inputs = heads[index], b.nodes[index].inputs
        for position in paths[index]:
            if heads.setdefault(inputs[position], head) is not head and index != target.id:
                heads[inputs[position]] = target
    return heads


def _has_own_name(node: Node) -> bool:
    """Whether the node was given a name; otherwise its label is the name of its op."""
    return node.label != node.op.name


def make_unique(nodes: list[Node]) -> None:
    """Number repeated names: W1, then W1 (2). Leaves keep their names, because a run finds them by name."""
    if len({node.name for node in nodes}) == len(nodes):
        return
    taken = {node.name for node in nodes if not node.inputs}
    for index, node in enumerate(nodes):
        if not node.inputs:
            continue
        name, count = node.name, 1
        while name in taken:
            count += 1
            name = f"{node.name} ({count})"
        taken.add(name)
        if count > 1:
            nodes[index] = node.renamed(name, node.label)
