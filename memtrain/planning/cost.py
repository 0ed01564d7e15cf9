"""The cost of a step: its FLOPs, or the seconds that it takes on a machine with given rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from memtrain.graph.node import Graph, Node
from memtrain.graph.ops.base import Speed

CostOf = Callable[[Graph, Node], float]
"""The cost of a step that computes the node."""


def flops(graph: Graph, node: Node) -> int:
    """Floating-point operations of the step that computes ``node``."""
    return node.op.flops(node, *[graph[i] for i in node.inputs])


def moved_bytes(graph: Graph, node: Node) -> int:
    """Bytes that the step of ``node`` reads and writes. Each array counts once."""
    if node.op.is_view:
        return 0
    return node.nbytes + sum(graph[i].nbytes for i in dict.fromkeys(node.inputs))


@dataclass(frozen=True)
class Rates:
    """The speed of a machine, as `memtrain.measure.rates` measures it."""

    flops_per_s: float
    """FLOPs of matrix products per second."""
    bytes_per_s: float
    """Bytes that plain elementwise steps read and write per second."""
    op_bytes_per_s: Mapping[str, float]
    """By name of the op: bytes per second of ops whose computation takes longer than reads and writes."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Rates:
        """Rates from their JSON. Raises ``ValueError`` or ``TypeError`` for values that cannot be rates."""
        found = cls(**values)
        each = [found.flops_per_s, found.bytes_per_s, *found.op_bytes_per_s.values()]
        if not all(isfinite(rate) and rate > 0 for rate in each):
            raise ValueError(f"there are no such rates: {each}")
        return found

    def seconds(self, graph: Graph, node: Node) -> float:
        """The seconds of a step: its FLOPs at the rate of products, or its bytes at the rate of its op."""
        if node.op.speed is Speed.PRODUCT:
            return flops(graph, node) / self.flops_per_s
        return moved_bytes(graph, node) / self.op_bytes_per_s.get(node.op.name, self.bytes_per_s)
