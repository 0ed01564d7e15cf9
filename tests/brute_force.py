"""What liveness and a run must give, worked out from the definitions alone.

Nothing here reads ``Node.storage``, ``Step.frees`` or anything in ``memtrain.plan.liveness``: a value is
held while a later step reads it (or a view of it), or because it was asked for, or is persistent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from memtrain.graph.node import Graph, Phase, Role
from memtrain.graph.ops.source import Leaf
from memtrain.plan.schedule import Schedule


@dataclass(frozen=True)
class Truth:
    live_bytes: list[int]
    peak_step: int
    peak_role_bytes: dict[Role, int]

    @property
    def peak_bytes(self) -> int:
        return max(self.live_bytes)


def holder(graph: Graph, index: int) -> int:
    """The value whose bytes ``index`` looks at or has overwritten; itself when it has its own."""
    op = graph[index].op
    while op.is_view or op.writes is not None:
        index = graph[index].inputs[op.writes or 0]
        op = graph[index].op
    return index


def bytes_of(graph: Graph, index: int) -> int:
    return prod(graph[index].shape) * graph[index].dtype.itemsize


def held_after(schedule: Schedule, place: int) -> set[int]:
    """Values with bytes of their own that must be there when step ``place`` is over."""
    return (_wanted_after(schedule, place) & _made(schedule, place)) - _taken(schedule, place)


def held_during(schedule: Schedule, place: int) -> set[int]:
    """The same while step ``place`` runs: what it reads and what it makes stand together."""
    graph, node = schedule.graph, schedule.graph[schedule.steps[place].node]
    now = {holder(graph, i) for i in (*node.inputs, node.id)}
    wanted = _wanted_after(schedule, place) | now
    return (wanted & _made(schedule, place)) - _taken(schedule, place)


def _wanted_after(schedule: Schedule, place: int) -> set[int]:
    graph = schedule.graph
    later = [i for step in schedule.steps[place + 1 :] for i in graph[step.node].inputs]
    return {holder(graph, i) for i in (*later, *schedule.asked, *schedule.persistent)}


def _made(schedule: Schedule, place: int) -> set[int]:
    return {*schedule.persistent, *(step.node for step in schedule.steps[: place + 1])}


def _taken(schedule: Schedule, place: int) -> set[int]:
    """Values whose buffer by now is another's."""
    return {step.reuse for step in schedule.steps[: place + 1] if step.reuse is not None}


def retained(schedule: Schedule) -> set[int]:
    """Forward values that a step after forward reads, but for those asked for and leaves."""
    graph = schedule.graph
    computed = {step.node for step in schedule.steps if step.phase is Phase.FORWARD}
    read = {
        holder(graph, i)
        for step in schedule.steps
        if step.phase is not Phase.FORWARD
        for i in graph[step.node].inputs
    }
    return (read & computed) - {holder(graph, i) for i in schedule.asked}


def gradients(schedule: Schedule) -> set[int]:
    """What backward leaves for an update, and what was in the same buffer in backward before it."""
    graph = schedule.graph
    found = {
        holder(graph, i)
        for step in schedule.steps
        if step.phase is Phase.UPDATE
        for i in graph[step.node].inputs
        if graph[i].phase is Phase.BACKWARD
    }
    before = {step.node: step.reuse for step in schedule.steps if step.reuse is not None}
    for index in list(found):
        while (index := before.get(index)) is not None and graph[index].phase is Phase.BACKWARD:
            found.add(index)
    return found


def brute_force(schedule: Schedule) -> Truth:
    """Live bytes of every step, and who stands at the first step with the most."""
    graph = schedule.graph
    live_bytes, peak_step, peak_roles = [], 0, {}
    kept, grads = retained(schedule), gradients(schedule)
    for place, step in enumerate(schedule.steps):
        role_bytes = dict.fromkeys(Role, 0)
        for index in held_during(schedule, place):
            if isinstance(graph[index].op, Leaf):
                role = graph[index].op.role
            elif index in grads:
                role = Role.GRADIENT
            else:
                role = Role.RETAINED if index in kept else Role.TRANSIENT
            role_bytes[role] += bytes_of(graph, index)
        node = graph[step.node]
        for count, dtype in node.op.workspace(*[graph[i] for i in node.inputs]):
            role_bytes[Role.WORKSPACE] += count * dtype.itemsize
        live_bytes.append(sum(role_bytes.values()))
        if live_bytes[-1] > live_bytes[peak_step] or place == 0:
            peak_step, peak_roles = place, role_bytes
    return Truth(live_bytes, peak_step, peak_roles)


def check_presence(schedule: Schedule) -> None:
    """Follow frees and reuses: what a step reads is there, and what nobody wants is not left over."""
    graph, present = schedule.graph, set(schedule.persistent)
    for step in schedule.steps:
        for i in graph[step.node].inputs:
            assert i in present, f"{graph[step.node]} reads {graph[i]}, which is gone"
            assert holder(graph, i) in present, f"{graph[step.node]} reads {graph[i]}, whose base is gone"
        if step.reuse is not None:
            present = {i for i in present if holder(graph, i) != step.reuse}
        present.add(step.node)
        present.difference_update(step.frees)
    wanted = {holder(graph, i) for i in (*schedule.asked, *schedule.persistent)}
    assert set(schedule.asked) <= present
    assert {holder(graph, i) for i in present} == wanted


def evaluate(schedule: Schedule, leaves: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One iteration in which every value has its own array and none is ever freed or overwritten.

    Returns the asked values; ``leaves`` (by name) are replaced by what updates made of them.
    """
    graph = schedule.graph
    values: dict[int, np.ndarray] = {i: leaves[graph[i].name] for i in schedule.persistent}
    for step in schedule.steps:
        node = graph[step.node]
        inputs = [values[i] for i in node.inputs]
        if node.op.is_view:
            values[node.id] = node.op.view(inputs[0])
            continue
        if node.op.writes is not None:
            out = inputs[node.op.writes] = inputs[node.op.writes].copy()
            leaves[graph[holder(graph, node.id)].name] = out
        else:
            out = np.empty(node.shape, node.dtype)
        shapes = [graph[i] for i in node.inputs]
        node.op.kernel(out, *inputs, work=[np.empty(*wanted) for wanted in node.op.workspace(*shapes)])
        values[node.id] = out
    return [values[i] for i in schedule.asked]


def leaf_values(schedule: Schedule, seed: int) -> dict[str, np.ndarray]:
    """A value for every leaf: numbers in [−1, 1], small squares for optimizers, labels, t = 1."""
    rng = np.random.default_rng(seed)
    values = {}
    for index in schedule.persistent:
        node = schedule.graph[index]
        if node.dtype.kind == "i":
            value = rng.integers(0, 2, node.shape) if node.shape else np.ones(())
        else:
            value = rng.uniform(-1, 1, node.shape)
        if node.op.role is Role.OPTIMIZER:
            value = value**2
        values[node.name] = np.array(value, node.dtype)
    return values


def same_bits(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return len(found) == len(expected) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(found, expected, strict=True)
    )


def copies(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in values.items()}
