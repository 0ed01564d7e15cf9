"""The two ways to give the values of a schedule their bytes."""

from __future__ import annotations

from memtrain.plan.liveness import Liveness
from memtrain.plan.packing import pack
from memtrain.plan.schedule import Schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.run.packed import PackedRun

FRESH, PACKED = "fresh", "packed"
ALLOCATIONS = (FRESH, PACKED)


AnyRun = Run | PackedRun


def make_run(schedule: Schedule, allocation: str, ledger: Ledger | None = None) -> AnyRun:
    """A run of ``schedule``, nothing loaded yet."""
    return Run(schedule, ledger) if allocation == FRESH else PackedRun(schedule, ledger)


def peak_bytes(liveness: Liveness, allocation: str) -> int:
    """The most bytes that a run of the analysed schedule holds at any time, leaves included."""
    if allocation == FRESH:
        return liveness.peak_bytes
    schedule = liveness.schedule
    leaves = sum(schedule.graph[i].nbytes for i in schedule.persistent)
    return leaves + pack(schedule).arena_bytes
