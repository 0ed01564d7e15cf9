"""The arrays that a run holds between iterations: parameters, optimiser state and input buffers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Role
from memtrain.graph.ops.base import Array
from memtrain.planning.schedule import Schedule
from memtrain.run.ledger import Ledger


class LeafArrays:
    """The arrays of a run by node, and its leaves by name. New arrays are reported to any ledger."""

    def __init__(self, schedule: Schedule, ledger: Ledger | None = None) -> None:
        self.schedule = schedule
        self._ledger = ledger
        self._values: list[Array | None] = [None] * len(schedule.graph)
        self._leaves = {schedule.graph[i].name: schedule.graph[i] for i in schedule.persistent}

    def load(self, values: Mapping[str, Array]) -> None:
        """Allocate the persistent leaves and copy ``values`` (by name) into them; others start at 0.

        Values of leaves that the schedule does not need are ignored. Raises ``GraphError`` for a name that
        no leaf has, or for a wrong shape.
        """
        known = {node.name: None for node in self.schedule.graph if node.role}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise GraphError(f"there is no leaf {', '.join(unknown)}; the leaves are {', '.join(known)}")
        for name, node in self._leaves.items():
            self._values[node.id] = None  # frees the array of an earlier load first
            array = self._empty(node.shape, node.dtype, node.role)
            array.fill(0)
            self._values[node.id] = array
            if name in values:
                self._copy_in(node, values[name])

    def feed(self, values: Mapping[str, Array]) -> None:
        """Copy a batch (values by name) into the input buffers. Values that are not needed are ignored."""
        for name, value in values.items():
            if name in self._leaves:
                self._copy_in(self._leaves[name], value)

    def value(self, name: str) -> Array:
        """The array of a persistent leaf, not a copy. Updates write into it."""
        return self.array(self._leaves[name].id)

    def array(self, index: int) -> Array:
        """The array of a node, not a copy. Raises ``GraphError`` if it is not computed yet, or freed."""
        value = self._values[index]
        if value is None:
            raise GraphError(f"{self.schedule.graph[index]} has no value yet; load the leaves first")
        return value

    def _empty(self, shape: tuple[int, ...], dtype: DType, role: Role | None) -> Array:
        """A new array, reported to the ledger. Every storage of a fresh run is allocated here."""
        array = empty(shape, dtype)
        if self._ledger is not None and role is not None:
            self._ledger.born(array, role)
        return array

    def _copy_in(self, node: Node, value: Array) -> None:
        buffer = self.array(node.id)
        if value.shape != buffer.shape:
            raise GraphError(f"the array for {node} has the shape {list(value.shape)}; give the leaf's shape")
        np.copyto(buffer, value)


def empty(shape: tuple[int, ...], dtype: DType) -> Array:
    """``numpy.empty``, but with a ``MemoryError`` also for sizes beyond numpy's integers."""
    try:
        return np.empty(shape, dtype)
    except ValueError as error:
        raise MemoryError(f"Unable to allocate an array with shape {shape}: {error}") from error
