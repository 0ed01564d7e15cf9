"""Our own count of the bytes that real arrays hold. It replays nothing.

The ``nbytes`` of an array are added when it is made, and subtracted when a weak reference reports its end.
So it is a finding, not a tautology, that the result equals the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import ref

from memtrain.graph.node import Role
from memtrain.graph.ops.base import Array


class Ledger:
    """Live bytes by role, and those at the peak."""

    def __init__(self) -> None:
        self.step = 0
        """The step that runs now, set by the run."""
        self.live_role_bytes = dict.fromkeys(Role, 0)
        self.peak_role_bytes = dict(self.live_role_bytes)
        self.live_bytes = self.peak_bytes = self.peak_step = 0
        self._alive: dict[int, tuple[ref[Array], Mapping[Role, int]]] = {}

    def born(self, array: Array, role: Role) -> None:
        """Count an array that was just made."""
        self.born_shared(array, {role: array.nbytes})

    def born_shared(self, array: Array, role_bytes: Mapping[Role, int]) -> None:
        """Count an array whose bytes serve several roles."""
        key = id(array)
        self._alive[key] = (ref(array, lambda _: self._died(key)), role_bytes)
        for role, nbytes in role_bytes.items():
            self._change(role, nbytes)
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_step = self.live_bytes, self.step
            self.peak_role_bytes = dict(self.live_role_bytes)

    def relabel(self, array: Array, role: Role) -> None:
        """Count the bytes of an array for another role from now on: another value takes it over."""
        reference, before = self._alive[id(array)]
        after = {role: sum(before.values())}
        self._alive[id(array)] = (reference, after)
        for old, nbytes in before.items():
            self._change(old, -nbytes)
        self._change(role, after[role])

    def _died(self, key: int) -> None:
        for role, nbytes in self._alive.pop(key)[1].items():
            self._change(role, -nbytes)

    def _change(self, role: Role, nbytes: int) -> None:
        self.live_bytes += nbytes
        self.live_role_bytes[role] += nbytes
