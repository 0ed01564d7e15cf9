"""Which value occupies which buffer, from which step to which: computed once for all analyses.

Liveness, packing, the timeline and the planner's stages read it. None of them follows births, reuse and frees
again, and all of them add up bytes with `bytes_by_step`.
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
"""Bytes, and the first and the last step at which they are taken."""


class Stay(NamedTuple):
    """A computed value in its buffer, from the step that makes it to the last step at which it is there.

    A value that is computed more than once has a stay each time. Views and updates have none: a view
    looks at the buffer of another value, an update writes into one.
    """

    node: Node
    first_step: int
    last_step: int
    buffer_step: int
    """The step that made the buffer: the value's own, unless it took over the buffer of another value."""
    heir_step: int | None
    """The step whose value takes the buffer over, right after ``last_step``; ``None`` where it is freed."""
    reader_steps: Sequence[int]
    """The steps that read the value or a view of it, each once and in order."""


@dataclass(frozen=True)
class Occupancy:
    """The stays of all computed values, in the order of their first steps, and the workspace of each step.

    Leaves are left out: they are live at every step.
    """

    schedule: Schedule
    stays: tuple[Stay, ...]
    workspaces: tuple[Workspace, ...]
    """For each step, what its kernel declares that it needs besides its output."""
    workspace_bytes: tuple[int, ...]
    """The bytes of each step's workspace."""

    @property
    def leaf_bytes(self) -> int:
        """Bytes of the leaves, which are live at every step."""
        graph = self.schedule.graph
        return sum(graph[i].nbytes for i in self.schedule.persistent)

    def live_bytes(self) -> list[int]:
        """Bytes of values and workspace that are live while each step runs, leaves left out."""
        spans = ((stay.node.nbytes, stay.first_step, stay.last_step) for stay in self.stays)
        held = bytes_by_step(spans, len(self.workspaces))
        return [values + extra for values, extra in zip(held, self.workspace_bytes, strict=True)]


@no_collection()
def occupancy_of(schedule: Schedule) -> Occupancy:
    """The occupancy of ``schedule``: what each step makes, hands on and frees."""
    nodes, steps = schedule.graph.nodes, schedule.steps
    end = max(len(steps) - 1, 0)
    last_step = [end] * len(steps)  # these four by the step that makes the value
    buffer_step = list(range(len(steps)))
    heir_step: list[int | None] = [None] * len(steps)
    reader_steps: list[list[int]] = [[] for _ in steps]
    maker: dict[int, int] = {}  # by storage: the step that made the value that is there now
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
