"""The costs and bytes of each stage of a chain. A planner reads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from memtrain.graph.builder import no_collection
from memtrain.planning.cost import CostOf
from memtrain.planning.occupancy import Occupancy, bytes_by_step, occupancy_of
from memtrain.planning.remat.chain import Chain, needed_for
from memtrain.planning.schedule import Schedule, schedule_in_order


@dataclass(frozen=True, slots=True)
class Stage:
    """The cost and the bytes of a stage. Its input is counted as the output of the stage before.

    Peaks are the most bytes at any step, including workspace.
    """

    cost: float
    """The cost of computing the whole stage."""
    again_cost: float
    """The cost of computing only its inner values."""
    output_bytes: int
    inner_bytes: int
    kept_peak_bytes: int
    """Peak while the stage is computed and its input stays; the input is not counted."""
    dropped_peak_bytes: int
    """Peak while the stage is computed and its input is freed at its last read; the input is counted."""
    taped_peak_bytes: int
    """Peak while the stage is computed and its input and inner values stay; the input is not counted."""
    again_peak_bytes: int
    """Peak while only the inner values are computed and the input stays; the input is not counted."""
    standing_bytes: int
    """Live bytes outside of the chain while stages are recomputed for the backward of this stage."""
    backward_peak_bytes: int
    """Peak in the stage's backward. It counts inner values, but not the input or values before the input."""


@no_collection()
def stages(schedule: Schedule, chains: Sequence[Chain], cost: CostOf) -> list[tuple[Stage, ...]]:
    """The costs and bytes of the stages of each chain. ``schedule`` keeps all values that backward reads."""
    around = _Surroundings(occupancy_of(schedule), chains)
    return [tuple(_stage(schedule, chain, k, cost, around) for k in range(len(chain))) for chain in chains]


def _stage(schedule: Schedule, chain: Chain, k: int, cost: CostOf, around: _Surroundings) -> Stage:
    graph, nodes, inner = schedule.graph, chain.forward[k], chain.inner[k]
    output = chain.outputs[k : k + 1]
    given = chain.outputs[k - 1] if k else None
    again = needed_for(graph, nodes, inner)
    return Stage(
        cost=sum(cost(graph, graph[i]) for i in nodes),
        again_cost=sum(cost(graph, graph[i]) for i in again),
        output_bytes=sum(graph[i].nbytes for i in output),
        inner_bytes=sum(graph[i].nbytes for i in inner),
        kept_peak_bytes=_peak_bytes(schedule, nodes, output),
        dropped_peak_bytes=_peak_bytes(schedule, nodes, output, given),
        taped_peak_bytes=_peak_bytes(schedule, nodes, (*output, *inner)),
        again_peak_bytes=_peak_bytes(schedule, again, inner),
        standing_bytes=around.standing_bytes(chain, k),
        backward_peak_bytes=around.backward_peak_bytes(chain, k),
    )


def _peak_bytes(
    schedule: Schedule, nodes: Sequence[int], kept: Sequence[int], given: int | None = None
) -> int:
    """The most bytes while ``nodes`` are computed in order and only ``kept`` of them stay.

    Other values that the nodes read are live already, and not counted. Only ``given`` is counted, and it is
    freed at its last read.
    """
    graph = schedule.graph
    order = [*([] if given is None else [given]), *nodes]
    present = {read for i in order for read in graph[i].inputs}.difference(order)
    asked = (*kept, *(i for i in schedule.lasting if i in nodes))
    part = schedule_in_order(graph, [(i, graph[i].phase) for i in order], asked, tuple(present))
    live = occupancy_of(part).live_bytes()
    return max(live if given is None else live[1:], default=0)


class _Surroundings:
    """For each step, the live bytes outside of the chains, in the schedule that keeps all chain values."""

    def __init__(self, occupancy: Occupancy, chains: Sequence[Chain]) -> None:
        values = {i for chain in chains for part in (chain.outputs, *chain.inner) for i in part}
        others = [stay for stay in occupancy.stays if stay.node.id not in values]
        step_count = len(occupancy.workspaces)
        leaves = (occupancy.leaf_bytes, 0, step_count - 1)
        during = [(stay.node.nbytes, stay.first_step, stay.last_step) for stay in others]
        # Before a step that takes over a buffer, the buffer still holds its old value.
        before = [
            (stay.node.nbytes, stay.first_step + 1, stay.last_step + (stay.heir_step is not None))
            for stay in others
        ]
        held = bytes_by_step([leaves, *during], step_count)
        self._during = [sum(both) for both in zip(held, occupancy.workspace_bytes, strict=True)]
        self._before = bytes_by_step([leaves, *before], step_count + 1)
        self._graph, self._lasting = occupancy.schedule.graph, occupancy.schedule.lasting
        self._last_step = {s.node.id: s.last_step for s in occupancy.stays if s.node.id in values}

    def standing_bytes(self, chain: Chain, k: int) -> int:
        """Live bytes right before the backward of stage ``k``; for the last stage, right before forward.

        Results that forward computes stay until the end, so those of the stages before the last stand there.
        """
        start = chain.backward[k].start
        if k < len(chain) - 1:
            return self._before[start]
        last = max(number for number, nodes in enumerate(chain.forward) if nodes)
        nodes = {i for part in chain.forward[:last] for i in part}
        earlier = {self._graph[i].storage for i in self._lasting} & nodes
        results = sum(self._graph[i].nbytes for i in earlier)
        return self._before[start - sum(map(len, chain.forward))] + results

    def backward_peak_bytes(self, chain: Chain, k: int) -> int:
        """The most bytes in the backward of stage ``k``.

        The input of the stage is charged to the stage before until this backward ends, even if another value
        takes over its buffer sooner.
        """
        given = chain.outputs[k - 1] if k else None
        most = 0
        for step in chain.backward[k]:
            inner = sum(self._bytes_at(i, step) for i in chain.inner[k])
            charged = 0 if given is None else self._graph[given].nbytes - self._bytes_at(given, step)
            most = max(most, self._during[step] + inner - charged)
        return most

    def _bytes_at(self, value: int, step: int) -> int:
        return self._graph[value].nbytes if step <= self._last_step[value] else 0


def merged(block: Sequence[Stage]) -> Stage:
    """Neighbouring stages as one stage, of which a plan keeps all values or only the input."""
    before = [0, *accumulate(stage.output_bytes + stage.inner_bytes for stage in block)]  # kept bytes
    taped = [kept + stage.taped_peak_bytes for kept, stage in zip(before, block, strict=False)]
    last = block[-1]
    return Stage(
        cost=sum(stage.cost for stage in block),
        again_cost=sum(stage.cost for stage in block[:-1]) + last.again_cost,
        output_bytes=last.output_bytes,
        inner_bytes=before[-1] - last.output_bytes,
        kept_peak_bytes=max(block[0].kept_peak_bytes, *(s.dropped_peak_bytes for s in block[1:]), 0),
        dropped_peak_bytes=max(stage.dropped_peak_bytes for stage in block),
        taped_peak_bytes=max(taped),
        again_peak_bytes=max(*taped[:-1], before[-2] + last.again_peak_bytes, 0),
        standing_bytes=last.standing_bytes,
        backward_peak_bytes=max(
            kept + stage.backward_peak_bytes for kept, stage in zip(before, block, strict=False)
        ),
    )
