"""What an iteration of training keeps longer than it needs, as the loop of its user decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from memtrain.graph.builder import Builder
from memtrain.graph.node import Node, Phase, Role
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.update import Store

AFTER_UPDATE, BEFORE_FORWARD, KEPT = "after-update", "before-forward", "kept"
GRADIENTS = (AFTER_UPDATE, BEFORE_FORWARD, KEPT)
"""How long gradients live: until their update, until the next iteration begins, or always."""


class Keeping(NamedTuple):
    """What an iteration keeps: its gradients, and all that backward has read (``retain_graph``)."""

    gradients: str = AFTER_UPDATE
    retain_graph: bool = False


NOTHING = Keeping()
"""An iteration that keeps nothing longer than it needs."""


def stored(b: Builder, parameters: Sequence[Node], gradients: Sequence[Node]) -> list[Node]:
    """Append an array for each gradient that lasts from one iteration to the next, and its new value."""
    found = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        leaf = Leaf(Role.GRADIENT, parameter.shape, parameter.dtype)
        kept = b.apply(leaf, name=f"kept ∂J/∂{parameter.name}")
        with b.phase(Phase.BACKWARD):
            found.append(b.apply(Store(), kept, gradient, name=f"{kept.name}′"))
    return found


def read_by_backward(nodes: Sequence[Node]) -> list[Node]:
    """The values that forward computes and backward reads."""
    read = {i for node in nodes if node.phase is Phase.BACKWARD for i in node.inputs}
    return [nodes[i] for i in sorted(read) if nodes[i].phase is Phase.FORWARD and not nodes[i].role]
