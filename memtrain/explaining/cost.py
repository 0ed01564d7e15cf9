"""What storing intermediates saves: the FLOPs that backward would have to repeat without them."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.graph.node import Phase
from memtrain.planning.cost import flops
from memtrain.planning.schedule import Schedule


@dataclass(frozen=True)
class Recomputation:
    """FLOPs of one forward pass, and the FLOPs that backward would add if nothing were stored."""

    forward_flops: int
    extra_flops: int

    @property
    def multiple(self) -> float:
        """The extra FLOPs as a multiple of one forward pass."""
        return self.extra_flops / self.forward_flops if self.forward_flops else 0.0


def recomputation(schedule: Schedule) -> Recomputation:
    """The FLOPs that the backward steps of ``schedule`` would repeat if no intermediate were stored.

    Each backward or update step that reads forward values would run forward again from x up to the last of
    them. A step that reads two values runs forward once.
    """
    graph = schedule.graph
    up_to: dict[int, int] = {}
    total = 0
    for step in schedule.steps:
        if step.phase is Phase.FORWARD:
            total += flops(graph, graph[step.node])
            up_to[step.node] = total
    extra = 0
    for step in schedule.steps:
        if step.phase in (Phase.BACKWARD, Phase.UPDATE):
            read = [up_to[i] for i in graph[step.node].inputs if i in up_to]
            extra += max(read, default=0)
    return Recomputation(total, extra)
