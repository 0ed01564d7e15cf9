"""The ledger: our own count of the bytes of real arrays. It does not use the prediction.

The ``nbytes`` of an array are added when the array is allocated, and subtracted when a weak reference reports
its end. So the equality of ledger and prediction is a finding, not a tautology.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import ref

from memtrain.graph.node import Role
from memtrain.graph.ops.base import Array


class Ledger:
    """The live bytes by role, now and at the peak."""

    def __init__(self) -> None:
        self.step = 0
        """The step that is running. The run sets it."""
        self.live_role_bytes = dict.fromkeys(Role, 0)
        self.peak_role_bytes = dict(self.live_role_bytes)
        self.live_bytes = self.peak_bytes = self.peak_step = 0
        self._alive: dict[int, tuple[ref[object], Mapping[Role, int]]] = {}

    def born(self, array: Array, role: Role) -> None:
        """Count a new array."""
        self.born_shared(array, {role: array.nbytes})

    def born_shared(self, array: object, role_bytes: Mapping[Role, int]) -> None:
        """Count a new array, or another object that holds memory, whose bytes have these roles."""
        key = id(array)
        self._alive[key] = (ref(array, lambda _: self._died(key)), role_bytes)
        for role, nbytes in role_bytes.items():
            self._change(role, nbytes)
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_step = self.live_bytes, self.step
            self.peak_role_bytes = dict(self.live_role_bytes)

    def counts(self, array: object) -> bool:
        """Whether the ledger counts this array already."""
        return id(array) in self._alive

    def role_of(self, array: object) -> Role | None:
        """The role of a counted array; ``None`` if it is not counted, or has several."""
        _, roles = self._alive.get(id(array), (None, {}))
        return next(iter(roles)) if len(roles) == 1 else None

    def relabel(self, array: object, role: Role) -> None:
        """Count the bytes of an array under another role from now on: another value takes over the array."""
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
