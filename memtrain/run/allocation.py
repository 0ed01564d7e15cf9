"""The two allocations of a run: a fresh array for each storage, or one packed arena for all."""

from __future__ import annotations

from dataclasses import replace

from memtrain.errors import BudgetError
from memtrain.planning.cost import CostOf
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.packing import pack
from memtrain.planning.remat.policy import BUDGET, Policy
from memtrain.planning.remat.rematerialisation import Plan, rematerialise, too_small
from memtrain.planning.schedule import Schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.run.packed import PackedRun

FRESH, PACKED = "fresh", "packed"
ALLOCATIONS = (FRESH, PACKED)


AnyRun = Run | PackedRun


def make_run(schedule: Schedule, allocation: str, ledger: Ledger | None = None, threads: int = 1) -> AnyRun:
    """A run of ``schedule`` with this allocation, before its leaves are loaded.

    A packed run shares large elementwise steps out between ``threads`` threads. A fresh run uses one: it is
    measured for its memory.
    """
    return Run(schedule, ledger) if allocation == FRESH else PackedRun(schedule, ledger, threads)


def peak_bytes(liveness: Liveness, allocation: str) -> int:
    """The most bytes that a run of the analysed schedule holds at any step, including leaves."""
    if allocation == FRESH:
        return liveness.peak_bytes
    return liveness.occupancy.leaf_bytes + pack(liveness.occupancy).arena_bytes


def peak_array_count(liveness: Liveness, allocation: str) -> int:
    """The number of arrays that a run holds at its peak. An arena counts as one array."""
    return liveness.peak_array_count if allocation == FRESH else len(liveness.schedule.persistent) + 1


def planned(schedule: Schedule, policy: Policy, cost: CostOf, allocation: str) -> Plan:
    """``policy`` applied to ``schedule``, which keeps all. Its budget holds for this allocation.

    In an arena, values occupy whole cache lines, with possible gaps between them. If the arena exceeds the
    budget by some bytes, a plan is made for a budget that is smaller by these bytes. Raises ``BudgetError``
    if no plan is within the budget.
    """
    if policy.kind != BUDGET or allocation != PACKED:
        return rematerialise(schedule, policy, cost)
    budget, smallest = policy.number, False
    while True:
        try:
            plan = rematerialise(schedule, Policy(BUDGET, budget), cost)
        except BudgetError as error:
            budget, smallest = error.least_bytes, True
            continue
        taken = peak_bytes(analyse(plan.schedule), allocation)
        if taken <= policy.number or not plan.passes:  # without backward there is no plan
            return replace(plan, policy=policy)
        if smallest:
            raise too_small(policy, taken)
        budget -= taken - policy.number
