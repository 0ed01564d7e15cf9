"""The names of nodes: for people only, and unique in a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import Add

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


class Part(NamedTuple):
    """A node that holds the cotangent of ``value`` up to and including the part of ``consumer``."""

    node: int
    value: int
    consumer: int


def name_cotangents(
    b: Builder, target: Node, paths: Mapping[int, Sequence[int]], parts: Iterable[Part]
) -> None:
    """Name the sums that `gradient` built: ∂L/∂h2, and before the last part is added part 1 of ∂L/∂h2.

    Each gets the scope of its value, and a label made of labels. ``paths`` are the nodes between ``target``
    and the values, each with the positions of its inputs that are among them too.
    """
    heads = _heads(b, target, paths)
    by_value: dict[int, list[Part]] = {}
    for part in parts:
        by_value.setdefault(part.value, []).append(part)
    for index, found in by_value.items():
        value, head = b[index], heads.get(index, target)
        if len(found) > 1:
            _name_partial_sums(b, value, head, [(part.node, heads[part.consumer]) for part in found])
        name, label = f"∂{head.name}/∂{value.name}", f"∂{head.label}/∂{value.label}"
        b.rename(b[found[-1].node], name, label, value.scope)


def _name_partial_sums(b: Builder, value: Node, head: Node, found: Sequence[tuple[int, Node]]) -> None:
    """Name all of ``found`` but the last.

    With J = L + s the part of L alone is ∂L/∂W: it needs no other name.
    """
    lower = found[0][1]
    for count, (index, given) in enumerate(found[:-1], start=1):
        lower = lower if given is lower else head
        name, label = f"∂{lower.name}/∂{value.name}", f"∂{lower.label}/∂{value.label}"
        if lower is head or found[count][1] is lower:
            prefix = f"part{'s 1…' if count > 1 else ' '}{count} of "
            name, label = prefix + name, prefix + label
        b.rename(b[index], name, label, value.scope)


def _heads(b: Builder, target: Node, paths: Mapping[int, Sequence[int]]) -> dict[int, Node]:
    """What the cotangent of each value is the derivative of, as the book writes it.

    J = L + s passes its cotangent on unchanged, so that what lies only below L is named ∂L/∂….
    """
    heads = {target.id: target}
    for index in sorted(paths, reverse=True):
        node, head = b[index], heads[index]
        named_terms = index == target.id and isinstance(node.op, Add)
        for position in paths[index]:
            read = b[node.inputs[position]]
            mine = read if named_terms and not read.shape and has_own_name(read) else head
            if heads.setdefault(read.id, mine) is not mine:
                heads[read.id] = target
    return heads


def has_own_name(node: Node) -> bool:
    """Whether somebody named the node; else its label is that of its op."""
    return node.label != node.op.name


def make_unique(nodes: list[Node]) -> None:
    """Number the names that occur again: W1, then W1 (2). Leaves keep theirs: a run finds them by name."""
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
