"""Occupancy: the buffer of each value, and the steps from which and until which the value is in the buffer.

It is computed once. Liveness, packing, the timeline and the planner's stages read it, instead of following
births, reuse and frees themselves. All of them add up bytes with `bytes_by_step`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from memtrain.graph.builder import no_collection
from memtrain.graph.node import Node
from memtrain.graph.ops.base import Workspace
from memtrain.planning.schedule import Schedule

Span = tuple[int, int, int]
"""Bytes, and the first and the last step at which they are live."""


class Stay(NamedTuple):
    """The time that a computed value is in its buffer: from the step that computes it to its last step there.

    A value that is computed more than once has one stay per computation. Views and updates have none: a view
    looks at the buffer of another value, and an update writes into one.
    """

    node: Node
    first_step: int
    last_step: int
    buffer_step: int
    """The step that allocated the buffer: an earlier step if the value took over the buffer of another."""
    heir_step: int | None
    """The step right after ``last_step``, if its value takes over the buffer; otherwise ``None``."""
    reader_steps: Sequence[int]
    """The steps that read the value or a view of it, in order and without repetitions."""


@dataclass(frozen=True)
class Occupancy:
    """The stays of all computed values, in the order of their first steps, and the workspace of each step.

    Leaves have no stay, because they are live at every step.
    """

    schedule: Schedule
    stays: tuple[Stay, ...]
    workspaces: tuple[Workspace, ...]
    """For each step, the workspace that its kernel declares."""
    workspace_bytes: tuple[int, ...]
    """The bytes of each step's workspace."""

    @property
    def leaf_bytes(self) -> int:
        """Bytes of the leaves, which are live at every step."""
        graph = self.schedule.graph
        return sum(graph[i].nbytes for i in self.schedule.persistent)

    def live_bytes(self) -> list[int]:
        """For each step, the live bytes of computed values and workspace, without leaves."""
        spans = ((stay.node.nbytes, stay.first_step, stay.last_step) for stay in self.stays)
        held = bytes_by_step(spans, len(self.workspaces))
        return [values + extra for values, extra in zip(held, self.workspace_bytes, strict=True)]


@no_collection()
def occupancy_of(schedule: Schedule) -> Occupancy:
    """The occupancy of ``schedule``, found by following its steps once."""
    nodes, steps = schedule.graph.nodes, schedule.steps
    end = max(len(steps) - 1, 0)
    last_step = [end] * len(steps)  # these four are indexed by the step that computes the value
    buffer_step = list(range(len(steps)))
    heir_step: list[int | None] = [None] * len(steps)
    reader_steps: list[list[int]] = [[] for _ in steps]
    maker: dict[int, int] = {}  # by storage: the step that computed its present value
    workspaces = []
    for number, step in enumerate(steps):
        node = nodes[step.node]
        inputs = [nodes[i] for i in node.inputs]
        for read in inputs:
            made = maker.get(read.storage)
            if made is not None and (not reader_steps[made] or reader_steps[made][-1] != number):
                reader_steps[made].append(number)
        if step.reuse is not None:
            giver = maker.pop(step.reuse)
            last_step[giver], heir_step[giver] = number - 1, number
            buffer_step[number] = buffer_step[giver]
        if node.owns_storage:
            maker[node.id] = number
        for index in step.frees:
            if index in maker:  # a view has no storage to free
                last_step[maker.pop(index)] = number
        workspaces.append(node.op.workspace(*inputs))
    makers = [nodes[step.node] for step in steps]
    columns = zip(makers, range(len(steps)), last_step, buffer_step, heir_step, reader_steps, strict=True)
    stays = tuple([Stay._make(column) for column in columns if column[0].owns_storage])
    sizes = tuple([sum([count * dtype.itemsize for count, dtype in wanted]) for wanted in workspaces])
    return Occupancy(schedule, stays, tuple(workspaces), sizes)


def bytes_by_step(spans: Iterable[Span], step_count: int) -> list[int]:
    """For each of ``step_count`` steps, the sum of the bytes of the spans that include it."""
    change = [0] * (step_count + 1)
    for nbytes, first, last in spans:
        change[first] += nbytes
        change[last + 1] -= nbytes
    return list(accumulate(change[:-1]))
