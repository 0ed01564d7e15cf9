"""Late sums, an oracle of early sums: a cotangent is summed only when backward reaches its value.

Until then, the values from which its parts are computed are held.
"""

from __future__ import annotations

from memtrain.graph.node import Phase
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.ops.source import Fill


def late_gradient(b, target, wrt):
    """∂target/∂v for each v of ``wrt``. Each cotangent is summed at once, after all readers of the value."""
    nodes = b.nodes[: target.id + 1]
    depends = {node.id for node in wrt}
    for node in nodes:
        if depends & set(node.inputs):
            depends.add(node.id)
    on_path = depends & reached(b, target)
    nodes = [node for node in nodes if node.id in on_path]
    readers = {
        i: [(node, position) for node in nodes for position, read in enumerate(node.inputs) if read == i]
        for i in on_path
    }
    open_count = {i: len(found) for i, found in readers.items()}
    cotangents = {}

    def collect(i):
        total = None
        for reader, position in readers[i]:
            for _, part in reader.op.vjp(b, reader, cotangents[reader.id], [position]):
                total = part if total is None else add(b, total, part)
        cotangents[i] = total

    with b.phase(Phase.BACKWARD):
        cotangents[target.id] = b.apply(Fill(1.0, (), target.dtype))
        for node in reversed(nodes):
            if node.id not in cotangents:
                collect(node.id)
            for read in node.inputs:
                if read in on_path:
                    open_count[read] -= 1
                    if not open_count[read] and not b[read].inputs:
                        collect(read)
    return [cotangents[node.id] for node in wrt]


def reached(b, target):
    """The values on which ``target`` depends."""
    found = {target.id}
    for node in reversed(b.nodes):
        found.update(node.inputs if node.id in found else ())
    return found
