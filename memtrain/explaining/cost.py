"""The work of a schedule, and the FLOPs that backward would repeat if no intermediate were stored."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from memtrain.graph.node import Phase
from memtrain.planning.cost import Rates, flops
from memtrain.planning.schedule import Schedule


@dataclass(frozen=True)
class Work:
    """The FLOPs of all steps of a schedule, and their predicted time; ``None`` if no rates are known."""

    flops: int
    seconds: float | None


def work_of(schedule: Schedule, rates: Rates | None) -> Work:
    """The work of ``schedule``. Its time is for one thread, since ``rates`` are measured with one thread."""
    graph = schedule.graph
    nodes = [graph[step.node] for step in schedule.steps]
    seconds = None if rates is None else sum(rates.seconds(graph, node) for node in nodes)
    return Work(sum(flops(graph, node) for node in nodes), seconds)


@dataclass(frozen=True)
class Recomputation:
    """The FLOPs of forward, and the FLOPs that backward would add if nothing were stored."""

    forward_flops: int
    extra_flops: int

    @property
    def multiple(self) -> float:
        """The extra FLOPs as a multiple of the FLOPs of forward."""
        return self.extra_flops / self.forward_flops if self.forward_flops else 0.0


def recomputation(schedule: Schedule) -> Recomputation:
    """The FLOPs that backward steps of ``schedule`` would repeat if no intermediate were stored.

    Each backward or update step that reads values of forward would run forward again, from x up to the last
    value that it reads. A step that reads two values runs forward once. Each micro-batch has a forward of its
    own, which begins at its x.
    """
    graph = schedule.graph
    up_to: dict[int, int] = {}
    total = 0
    for phase, steps in groupby(schedule.steps, key=lambda step: step.phase):
        if phase is Phase.FORWARD:
            from_x = 0
            for step in steps:
                from_x += flops(graph, graph[step.node])
                up_to[step.node] = from_x
            total += from_x
    extra = 0
    for step in schedule.steps:
        if step.phase in (Phase.BACKWARD, Phase.UPDATE):
            read = [up_to[i] for i in graph[step.node].inputs if i in up_to]
            extra += max(read, default=0)
    return Recomputation(total, extra)
