"""Fresh allocation: a run of a schedule with numpy kernels, in which each storage is a separate array.

The allocator sees every array, so memory is measured with fresh allocation. `memtrain.run.packed` is faster.
"""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.graph.node import DType, Role
from memtrain.graph.ops.base import Array, Op, Workspace
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import Schedule
from memtrain.run.leaves import LeafArrays
from memtrain.run.ledger import Ledger


@dataclass(frozen=True, slots=True)
class _Call:
    """A step with the results of all lookups that can be done before the run."""

    op: Op
    node: int
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: DType
    role: Role | None
    reuse: int | None
    work: Workspace
    frees: tuple[int, ...]


class Run(LeafArrays):
    """One schedule and the arrays that it holds.

    Every storage is a separate array. It is allocated when its step starts, and dropped when the schedule
    frees it.
    """

    def __init__(self, schedule: Schedule, ledger: Ledger | None = None) -> None:
        super().__init__(schedule, ledger)
        roles = {(life.node.id, life.born_step): life.role for life in analyse(schedule).lives}
        self._calls = [
            _Call(
                op=node.op,
                node=node.id,
                inputs=node.inputs,
                shape=tuple(map(int, node.shape)),
                dtype=node.dtype,
                role=roles.get((node.id, number)),
                reuse=step.reuse,
                work=node.op.workspace(*[schedule.graph[i] for i in node.inputs]),
                frees=step.frees,
            )
            for number, step in enumerate(schedule.steps)
            for node in (schedule.graph[step.node],)
        ]

    def prepare(self) -> None:
        """Do nothing. The method exists because `PackedRun` has one."""

    def iterate(self) -> list[Array]:
        """Run every step once; returns the asked values, which only the caller holds from then on."""
        self.execute(0, len(self._calls))
        return self.collect()

    def execute(self, start: int, stop: int) -> None:
        """Run the steps from ``start`` to before ``stop``. All earlier steps must have run."""
        ledger = self._ledger
        for number in range(start, stop):
            if ledger is not None:
                ledger.step = number
            self._execute(self._calls[number])

    def collect(self) -> list[Array]:
        """The asked values after every step has run. From then on only the caller holds them."""
        asked = [self.array(i) for i in self.schedule.asked]
        persistent = {self.schedule.graph[i].storage for i in self.schedule.persistent}
        for call in self._calls:
            if self.schedule.graph[call.node].storage not in persistent:
                self._values[call.node] = None
        return asked

    def _execute(self, call: _Call) -> None:
        # This is a separate function, so that its references to freed arrays end when it returns.
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
        """Drop a value that the schedule frees. A storage ends with its own value, not with a view."""
        self._values[index] = None
