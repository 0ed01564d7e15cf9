"""Packed allocation: a run of a schedule in one arena, compiled once into a list of bound calls.

An iteration allocates nothing, and a step costs no more than its numpy calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Role
from memtrain.graph.ops.base import Array, Call
from memtrain.planning.liveness import analyse
from memtrain.planning.occupancy import occupancy_of
from memtrain.planning.packing import pack
from memtrain.planning.schedule import Schedule
from memtrain.run.helpers import Helpers
from memtrain.run.leaves import LeafArrays, empty
from memtrain.run.ledger import Ledger


class PackedRun(LeafArrays):
    """One schedule, its leaves, and the arena that holds all other values (`memtrain.planning.packing`)."""

    def __init__(self, schedule: Schedule, ledger: Ledger | None = None, threads: int = 1) -> None:
        super().__init__(schedule, ledger)
        self._threads = threads
        self._helpers = Helpers(threads - 1)
        self._packing = pack(occupancy_of(schedule))
        self._arena: Array | None = None  # until leaves are loaded
        self._prepared = False
        self._calls: list[Call] = []
        self._asked: list[Array] = []

    def load(self, values: Mapping[str, Array]) -> None:
        """Load the leaves as `LeafArrays.load` does, and allocate the arena."""
        self._arena, self._prepared, self._calls, self._asked = None, False, [], []
        for index in range(len(self._values)):  # in place, since a new list would show in a heap peak
            self._values[index] = None
        super().load(values)
        arena = empty((self._packing.arena_bytes,), np.dtype(np.uint8))
        if self._ledger is not None:
            liveness = analyse(self.schedule)
            self._ledger.step = liveness.peak_step
            live = {**liveness.peak_role_bytes}
            # kept gradients have arrays of their own
            live[Role.GRADIENT] -= sum(leaf.nbytes for leaf in self.schedule.leaves(Role.GRADIENT))
            self._ledger.born_shared(arena, _roles_in_arena(live, arena.nbytes))
        self._arena = arena

    def prepare(self) -> None:
        """Bind the kernels to the arena. Otherwise the first iteration does it."""
        arena = self._arena
        if arena is None:
            raise GraphError("the run has no values yet; load the leaves first")
        self._calls = [call for index in range(len(self.schedule.steps)) for call in self._bind(index, arena)]
        self._asked = [self.array(i) for i in self.schedule.asked]
        self._prepared = True

    def iterate(self) -> list[Array]:
        """Run every step once; returns the asked values, which the next iteration will overwrite."""
        if not self._prepared:
            self.prepare()
        for call in self._calls:
            call()
        return self._asked

    def _bind(self, index: int, arena: Array) -> list[Call]:
        """A list with the call of a step; empty for a view, which needs none."""
        step, packing = self.schedule.steps[index], self._packing
        node = self.schedule.graph[step.node]
        inputs = [self.array(i) for i in node.inputs]
        if node.op.is_view:
            self._values[node.id] = node.op.view(inputs[0])
            return []
        if node.op.writes is not None:
            out = inputs[node.op.writes]
        elif step.reuse is not None:
            out = self.array(step.reuse)
        else:
            out = _part(arena, packing.value_offsets[index], node.shape, node.dtype)
        self._values[node.id] = out
        wanted = node.op.workspace(*[self.schedule.graph[i] for i in node.inputs])
        work = [
            _part(arena, offset, (count,), dtype)
            for offset, (count, dtype) in zip(packing.work_offsets[index], wanted, strict=True)
        ]
        return [self._helpers.together(node.op.shares(self._threads, out, *inputs, work=work))]


def _part(arena: Array, offset: int, shape: tuple[int, ...], dtype: DType) -> Array:
    """An array over the bytes of the arena that begin at ``offset``."""
    nbytes = prod(shape) * dtype.itemsize
    return arena[offset : offset + nbytes].view(dtype).reshape(tuple(map(int, shape)))


def _roles_in_arena(peak_role_bytes: Mapping[Role, int], arena_bytes: int) -> dict[Role, int]:
    """The bytes of the arena by role at the peak.

    Recomputed values count as transient, and so do bytes that alignment adds and gaps.
    """
    roles = {role: peak_role_bytes[role] for role in (Role.GRADIENT, Role.RETAINED, Role.WORKSPACE)}
    return roles | {Role.TRANSIENT: arena_bytes - sum(roles.values())}
