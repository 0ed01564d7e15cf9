"""The graph's type checker, run after every build and transformation."""

from __future__ import annotations

from memtrain.errors import GraphError
from memtrain.graph.node import Graph, Node


def check(graph: Graph) -> None:
    """Raise ``GraphError``, naming node and shapes, unless the graph can be computed in its order.

    Every input must be an earlier node. Every shape and type must be the one that the rule of the op gives.
    Only views and updates share a storage. No node reads a value after an update has overwritten it.
    """
    current: dict[int, int] = {}  # by storage that an update wrote: the node that holds its new value
    leaves: set[str] = set()
    for index, node in enumerate(graph.nodes):
        if not node.inputs and node.op.leaf_role:
            if node.name in leaves:
                raise GraphError(f"two leaves have the name {node.name}; give each a name of its own")
            leaves.add(node.name)
        if node.id != index:
            raise GraphError(f"node {node} has the id {node.id} at index {index}; number the nodes in order")
        if node.inputs and not 0 <= min(node.inputs) <= max(node.inputs) < index:
            raise GraphError(
                f"node {node} reads the nodes {node.inputs}, and not all of them come before it; reorder them"
            )
        inputs = [graph.nodes[i] for i in node.inputs]
        shape, dtype = node.op.result(*inputs)
        if shape != node.shape or dtype != node.dtype:
            raise GraphError(
                f"node {node} should have the shape {list(map(int, shape))} and the type {dtype}, "
                f"as {node.op.name} of {_listed(inputs)} gives them"
            )
        shared = 0 if node.op.is_view else node.op.writes
        own = index if shared is None else inputs[shared].storage
        if node.storage != own:
            raise GraphError(f"node {node} has the storage {node.storage}; it should be {own}")
        for read in inputs:
            writer = current.get(read.storage)
            if writer is not None and read.id < writer:
                raise GraphError(
                    f"node {node} reads {read}, which {graph.nodes[writer].name} has overwritten; "
                    f"read it before the update, or read the updated value"
                )
        if node.op.writes is not None:
            current[node.storage] = index


def _listed(inputs: list[Node]) -> str:
    return ", ".join(map(str, inputs)) or "nothing"
