"""Rematerialisation: a schedule that keeps fewer forward values and recomputes the others for backward.

It transforms the schedule and nothing else. The same kernels compute the same nodes from the same values, and
some nodes are computed more than once. So every gradient has the same bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as chained
from itertools import pairwise

from memtrain.errors import BudgetError, GraphError, SpecError
from memtrain.graph.builder import no_collection
from memtrain.graph.node import Graph, Node, Phase
from memtrain.planning.cost import CostOf
from memtrain.planning.remat.chain import Chain, chains
from memtrain.planning.remat.checkpoints import Moves, extra_steps, revolve, square_root
from memtrain.planning.remat.needs import needs_of
from memtrain.planning.remat.planner import plan_within
from memtrain.planning.remat.policy import BUDGET, NONE, REVOLVE, Policy
from memtrain.planning.remat.stage import Stage, stages
from memtrain.planning.schedule import Computation, Schedule, schedule_in_order
from memtrain.units import format_bytes, format_exact_bytes

MOST_STAGES, MOST_BYTES = 2500, 2**62
"""Limits of chains that are planned within a budget: planning takes seconds and is exact to the byte."""

MOST_AGAIN = 2_000_000
"""The most stages that a schedule may recompute. Longer schedules would take too long to construct."""


@dataclass(frozen=True)
class Pass:
    """A forward pass of a schedule with its backward pass, and the moves of its plan."""

    chain: Chain
    moves: Moves

    @property
    def abstract_count(self) -> int:
        """The number of stages that the moves recompute, including those that no later step reads."""
        return sum(not move.backward for move in self.moves) - len(self.chain)


@dataclass(frozen=True)
class Plan:
    """A policy applied to a schedule that keeps all values which backward reads."""

    policy: Policy
    schedule: Schedule
    passes: tuple[Pass, ...]

    @property
    def abstract_count(self) -> int:
        """The number of stages that the moves recompute, read or not. The literature gives this number."""
        return sum(one.abstract_count for one in self.passes)

    @property
    def executed_count(self) -> int:
        """The number of stages that are recomputed, wholly or in part, because a later step reads them."""
        stages = [nodes for one in self.passes for nodes in one.chain.forward]
        stage_of = {i: number for number, nodes in enumerate(stages, start=1) for i in nodes}
        graph = self.schedule.graph
        again = [
            stage_of[step.node] if step.phase is Phase.RECOMPUTE else 0
            for step in self.schedule.steps
            if not graph[step.node].op.is_view
        ]
        return sum(stage not in (0, before) for before, stage in pairwise([0, *again]))

    def values(self) -> list[tuple[Node, int]]:
        """The forward values that backward reads, in the order of forward, each with its recomputations."""
        graph = self.schedule.graph
        again = Counter(step.node for step in self.schedule.steps if step.phase is Phase.RECOMPUTE)
        read = [i for one in self.passes for i in (*one.chain.outputs, *chained(*one.chain.inner))]
        return [(graph[i], again[i]) for i in sorted(read)]


@no_collection()
def rematerialise(schedule: Schedule, policy: Policy, cost: CostOf) -> Plan:
    """``policy`` applied to ``schedule``, which keeps all. A schedule without backward is not changed.

    Raises ``BudgetError``, with the bytes of the smallest plan, if no plan is within the budget.
    """
    found = chains(schedule) if policy.kind != NONE else []
    if not found:
        return Plan(policy, schedule, ())
    moves = _moves(schedule, [len(one) for one in found], policy, cost)
    passes = tuple(Pass(*pair) for pair in zip(found, moves, strict=True))
    order = _without_unread(schedule, _order(schedule, passes))
    changed = schedule_in_order(schedule.graph, order, schedule.asked, schedule.persistent, schedule.held)
    return Plan(policy, changed, passes)


def smallest_budget(schedule: Schedule) -> int:
    """The least budget, in bytes, for which ``schedule``, which keeps all, has a plan.

    Raises ``SpecError`` for a network that is too large to plan within a budget.
    """
    return max((needs_of(one).least_bytes for one in set(_numbers(schedule, lambda *_: 0))), default=0)


def _numbers(schedule: Schedule, cost: CostOf) -> list[tuple[Stage, ...]]:
    """The stages of every chain. Raises ``SpecError`` for chains too large to plan within a budget."""
    found = chains(schedule)
    longest = max(map(len, found), default=0)
    if longest > MOST_STAGES:
        raise SpecError(
            f"the network has {longest:,} stages, and a budget can be planned for at most {MOST_STAGES:,}",
            "use `--policy sqrt`, or fewer layers",
        )
    numbers = stages(schedule, found, cost)
    for one in numbers:
        held = sum(stage.output_bytes + stage.inner_bytes for stage in one)
        if held + max(max(stage.backward_peak_bytes, stage.standing_bytes) for stage in one) > MOST_BYTES:
            raise SpecError("the network holds more than 4 EiB, too much for a plan", "use a smaller network")
    return numbers


def _moves(schedule: Schedule, counts: Sequence[int], policy: Policy, cost: CostOf) -> Iterator[Moves]:
    """The moves of ``policy`` for each chain; ``counts`` has the number of stages of each chain."""
    if policy.kind == BUDGET:
        numbers = _numbers(schedule, cost)
        plans = {one: plan_within(one, policy.number) for one in set(numbers)}  # equal for micro-batches
        for one in numbers:
            moves = plans[one]
            if moves is None:
                raise too_small(policy, smallest_budget(schedule))
            yield moves
        return
    for count in counts:
        again = extra_steps(count, policy.number) if policy.kind == REVOLVE else 0
        if again > MOST_AGAIN:
            raise SpecError(
                f"policy {policy} would recompute {again:,} stages, more than the {MOST_AGAIN:,} allowed",
                "give more checkpoints",
            )
        yield revolve(count, policy.number) if policy.kind == REVOLVE else square_root(count)


def too_small(policy: Policy, least: int) -> BudgetError:
    """The error for a budget below the ``least`` bytes that a plan needs."""
    return BudgetError(
        f"budget {format_exact_bytes(policy.number)} is too small: "
        f"the smallest plan needs {least:,} B ({format_bytes(least)})",
        f"use `--policy {Policy(BUDGET, least)}` or a smaller `--batch`",
        least,
    )


def _order(schedule: Schedule, passes: Sequence[Pass]) -> list[Computation]:
    """The computations of a plan. The first one of a stage is forward, and later ones are recomputations."""
    steps = schedule.steps
    order: list[Computation] = []
    for one in passes:
        done = set()
        for k, backward in one.moves:
            if backward:
                order += [(steps[number].node, steps[number].phase) for number in one.chain.backward[k]]
            else:
                phase = Phase.RECOMPUTE if k in done else Phase.FORWARD
                order += [(i, phase) for i in one.chain.forward[k]]
                done.add(k)
    return order


def _without_unread(schedule: Schedule, order: list[Computation]) -> list[Computation]:
    """``order`` without recomputations that no later step reads, and without repeated effects.

    Raises ``GraphError`` if a recomputation would read a value that has been updated since.
    """
    graph = schedule.graph
    found: list[Computation] = []
    kept = {graph[i].storage for i in schedule.lasting}  # never recomputed
    wanted: set[int] = set()
    read_again: set[int] = set()  # values that recomputations read; for a view, its base
    for index, phase in reversed(order):
        node = graph[index]
        writes = node.op.writes is not None
        if phase is Phase.RECOMPUTE and (index not in wanted or node.storage in kept or writes):
            continue
        if writes and any(i < index and graph[i].storage == node.storage for i in read_again):
            raise GraphError(
                f"{node} overwrites a value that a later recomputation reads; move the update behind it"
            )
        if phase is Phase.RECOMPUTE:
            read_again.update(_looked_at(graph, i) for i in node.inputs)
        wanted.discard(index)
        wanted.update(node.inputs)
        found.append((index, phase))
    return found[::-1]


def _looked_at(graph: Graph, index: int) -> int:
    """The base of a view, or the value itself."""
    while graph[index].op.is_view:
        index = graph[index].inputs[0]
    return index
