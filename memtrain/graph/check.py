"""The graph's type checker, run after every build and transformation."""

from __future__ import annotations

from memtrain.errors import GraphError
from memtrain.graph.node import Graph, Node


def check(graph: Graph) -> None:
    """Raise ``GraphError``, naming node and shapes, unless the graph can be computed as it stands.

    Every input is an earlier node. Every shape and type is what the op's rule gives. Only views and updates
    share a storage. No node reads a value after an update has overwritten it.
    """
    current: dict[int, int] = {}  # storage that an update wrote -> the node that now is its value
    leaves: set[str] = set()
    for index, node in enumerate(graph.nodes):
        if not node.inputs and node.op.leaf_role:
            if node.name in leaves:
                raise GraphError(f"two leaves are named {node.name}; a run could not tell them apart")
            leaves.add(node.name)
        if node.id != index:
            raise GraphError(f"node {node} has id {node.id} at place {index}; number nodes in order")
        if node.inputs and not 0 <= min(node.inputs) <= max(node.inputs) < index:
            raise GraphError(f"node {node} reads {node.inputs}, not all computed before it; order the nodes")
        inputs = [graph.nodes[i] for i in node.inputs]
        shape, dtype = node.op.result(*inputs)
        if shape != node.shape or dtype != node.dtype:
            raise GraphError(
                f"node {node} should be {list(map(int, shape))} {dtype}: {node.op.name} of {_listed(inputs)}"
            )
        shared = 0 if node.op.is_view else node.op.writes
        if node.storage != (index if shared is None else inputs[shared].storage):
            raise GraphError(f"node {node} has the storage {node.storage}, which is not its own")
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
