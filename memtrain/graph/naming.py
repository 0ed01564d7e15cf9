"""The names of nodes: for people only, and unique in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from memtrain.graph.node import Node

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


Paths = dict[int, tuple[int, ...]]
"""By node between ``wrt`` and the target: the positions of its inputs that are between them too."""


class Part(NamedTuple):
    """A part of a cotangent: what one consumer of the value gave to it."""

    total: int | None
    """The node that holds this part and all before; ``None`` where that is another value's cotangent, as L
    passes on that of J."""
    addend: int | None
    """The node that was added to those before; ``None`` where there is none of its own."""
    consumer: int


Parts = dict[int, list[Part]]
"""By value: the parts of its cotangent, in the order in which they were added up."""


def name_cotangents(b: Builder, target: Node, paths: Paths, parts: Parts) -> None:
    """Name the sums that `gradient` built: ∂L/∂h2, and part 1 of ∂L/∂h2 for a sum that lacks later parts.

    Each gets the scope of its value, and a label made of labels.
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
    """Name the totals of ``found`` but the last one.

    With J = L + s the part of L alone is ∂L/∂W: it needs no other name. A total that holds the gradient of
    earlier micro-batches, too, is a sum with it.
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
    """Name what is added to other parts: all that comes by way of one head is the derivative of that."""
    for count, part in enumerate(found, start=1):
        if part.addend is None:
            continue
        own = heads[part.consumer]
        alone = sum(heads[other.consumer] is own for other in found) == 1
        name, label = _names(own if alone else head, value)
        prefix = "" if alone else f"part {count} of "
        b.rename(b[part.addend], prefix + name, prefix + label, value.scope)


def _names(head: Node, value: Node) -> tuple[str, str]:
    """Name and label of ∂head/∂value. Where both are equal they are one string, since graphs are large."""
    name = f"∂{head.name}/∂{value.name}"
    if head.label is head.name and value.label is value.name:
        return name, name
    return name, f"∂{head.label}/∂{value.label}"


def _heads(b: Builder, target: Node, paths: Paths) -> dict[int, Node]:
    """What the cotangent of each value is the derivative of, as the book writes it.

    J = L + s passes its cotangent on unchanged. So a value that only L depends on is named ∂L/∂….
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
    """Number repeated names: W1, then W1 (2). Leaves keep their names: a run finds them by name."""
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
