"""Runs a schedule with numpy kernels: each value in the buffer that the schedule says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Role
from memtrain.graph.ops.base import Array, Op, Workspace
from memtrain.plan.liveness import analyse
from memtrain.plan.schedule import Schedule, leaf_role
from memtrain.run.ledger import Ledger


@dataclass(frozen=True, slots=True)
class _Call:
    """A step with all that can be looked up before the run."""

    op: Op
    node: int
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: DType
    role: Role | None
    reuse: int | None
    work: Workspace
    frees: tuple[int, ...]


class Run:
    """One schedule and the arrays that it holds: the persistent ones between iterations too.

    Fresh allocation: every storage is an array of its own, made when its step starts and dropped when
    the schedule frees it. A ledger, if given, is told of every array.
    """

    def __init__(self, schedule: Schedule, ledger: Ledger | None = None) -> None:
        self.schedule = schedule
        self._ledger = ledger
        self._values: list[Array | None] = [None] * len(schedule.graph)
        roles = {life.node.id: life.role for life in analyse(schedule).lives}
        self._calls = [
            _Call(
                op=node.op,
                node=node.id,
                inputs=node.inputs,
                shape=tuple(map(int, node.shape)),
                dtype=node.dtype,
                role=roles.get(node.id),
                reuse=step.reuse,
                work=node.op.workspace(*[schedule.graph[i] for i in node.inputs]),
                frees=step.frees,
            )
            for step in schedule.steps
            for node in (schedule.graph[step.node],)
        ]
        self._leaves = {schedule.graph[i].name: (schedule.graph[i], roles[i]) for i in schedule.persistent}

    def load(self, values: Mapping[str, Array]) -> None:
        """Make the persistent arrays and copy ``values`` (by leaf name) into them; the rest start at 0.

        Values of leaves that the schedule does not need are left. Raises ``GraphError`` for a name that
        is no leaf's, or a shape that does not fit.
        """
        known = {node.name: None for node in self.schedule.graph if leaf_role(node)}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise GraphError(f"there is no leaf {', '.join(unknown)}; there are {', '.join(known)}")
        for name, (node, role) in self._leaves.items():
            self._values[node.id] = None  # what an earlier load made goes first
            array = self._empty(node.shape, node.dtype, role)
            array.fill(0)
            self._values[node.id] = array
            if name in values:
                self._copy_in(node, values[name])

    def feed(self, values: Mapping[str, Array]) -> None:
        """Copy a batch into the fixed input buffers; names that the schedule does not need are left."""
        for name, value in values.items():
            if name in self._leaves:
                self._copy_in(self._leaves[name][0], value)

    def iterate(self) -> list[Array]:
        """Run every step once; returns the asked values, which the run itself then no longer holds."""
        self.execute(0, len(self._calls))
        return self.collect()

    def execute(self, start: int, stop: int) -> None:
        """Run the steps from ``start`` to before ``stop``, in order, on what those before have left."""
        ledger = self._ledger
        for place in range(start, stop):
            if ledger is not None:
                ledger.step = place
            self._execute(self._calls[place])

    def collect(self) -> list[Array]:
        """The asked values once every step has run; the run itself then no longer holds them."""
        asked = [self.array(i) for i in self.schedule.asked]
        persistent = {self.schedule.graph[i].storage for i in self.schedule.persistent}
        for call in self._calls:
            if self.schedule.graph[call.node].storage not in persistent:
                self._values[call.node] = None
        return asked

    def value(self, name: str) -> Array:
        """The array of a persistent leaf, live: what updates write shows in it."""
        return self.array(self._leaves[name][0].id)

    def array(self, index: int) -> Array:
        """The array of a node, live. Raises ``GraphError`` when it is not computed, or freed."""
        value = self._values[index]
        if value is None:
            raise GraphError(f"{self.schedule.graph[index]} is read but not there; load the leaves first")
        return value

    def _execute(self, call: _Call) -> None:
        # A function of its own, so that its references to dying arrays end with it.
        values = self._values
        inputs = [self.array(i) for i in call.inputs]
        if call.op.is_view:
            out = call.op.view(inputs[0])
        elif call.op.writes is not None:
            out = inputs[call.op.writes]
        elif call.reuse is not None:
            out = self.array(call.reuse)
            values[call.reuse] = None
            if self._ledger is not None and call.role is not None:
                self._ledger.relabel(out, call.role)
        else:
            out = self._empty(call.shape, call.dtype, call.role)
        if not call.op.is_view:
            work = [self._empty((count,), dtype, Role.WORKSPACE) for count, dtype in call.work]
            call.op.kernel(out, *inputs, work=work)
        values[call.node] = out
        for index in call.frees:
            self._drop(index)

    def _drop(self, index: int) -> None:
        """The end of a value that the schedule frees; a storage ends with its own value, not with a view."""
        self._values[index] = None

    def _empty(self, shape: tuple[int, ...], dtype: DType, role: Role | None) -> Array:
        """The beginning of every storage: leaves, fresh buffers, workspace."""
        array: Array = np.empty(shape, dtype)
        if self._ledger is not None and role is not None:
            self._ledger.born(array, role)
        return array

    def _copy_in(self, node: Node, value: Array) -> None:
        buffer = self.array(node.id)
        if value.shape != buffer.shape:
            raise GraphError(f"{node} was given an array of shape {list(value.shape)}")
        np.copyto(buffer, value)
