"""Runs to compare with: an evaluator that frees nothing, and runs whose buffers are watched."""

from __future__ import annotations

from weakref import finalize, ref

import numpy as np
from brute_force import held_after, holder

from memtrain.graph.node import Role
from memtrain.planning.schedule import Schedule
from memtrain.run.executor import Run

# -- the naive evaluator ----------------------------------------------------------------------------


def evaluate(schedule: Schedule, leaves: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run one iteration in which every value has its own array, and none is freed or overwritten.

    Returns the asked values. Updated ``leaves`` (by name) are replaced by their new values.
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
    """A value for every leaf: numbers in [−1, 1], small squares for optimiser state, labels, keys, t = 1."""
    rng = np.random.default_rng(seed)
    values = {}
    for index in schedule.persistent:
        node = schedule.graph[index]
        if node.dtype.kind == "i":
            value = rng.integers(0, 2, node.shape) if node.shape else np.ones(())
        elif node.dtype.kind == "u":
            value = rng.integers(1 << 40, size=node.shape)
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


# -- watched runs ------------------------------------------------------------------------------------


def outcome(run: Run, leaves: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """Copies of the asked values of two iterations, and of the leaves after them."""
    run.load(leaves)
    with np.errstate(all="ignore"):
        found = [[np.array(x) for x in run.iterate()] for _ in range(2)]
    return [*found, [run.value(name).copy() for name in sorted(leaves)]]


class Poisoned(Run):
    """A run that fills each buffer with rubbish when it is allocated, and when the schedule frees it."""

    def iterate(self):
        self.asked_for = []  # an asked view is still read after the run
        return super().iterate()

    def _execute(self, call):
        super()._execute(call)
        if call.node in {holder(self.schedule.graph, i) for i in self.schedule.asked}:
            self.asked_for.append(self._values[call.node])

    def _empty(self, shape, dtype, role):
        memory = np.empty(shape, dtype)
        array = memory.view()  # its views do not keep it alive, so they show when it is freed
        _spoil(memory)
        finalize(array, _spoil, memory)
        return array


def _spoil(memory: np.ndarray) -> None:
    memory.fill({"f": np.nan, "b": True}.get(memory.dtype.kind, 77))


class Watched(Run):
    """A run that compares, after each step, the values alive by weak references with the definition."""

    def iterate(self):
        self.alive, self.references = [], {}
        return super().iterate()

    def _execute(self, call):
        super()._execute(call)
        self.references.pop(call.reuse, None)
        if call.role is not None and self._values[call.node] is not None:
            self.references[call.node] = ref(self._values[call.node])
        alive = {i for i, reference in self.references.items() if reference() is not None}
        place = len(self.alive)
        assert alive == held_after(self.schedule, place) - set(self.schedule.persistent), (
            f"after step {place}"
        )
        self.alive.append(alive)
