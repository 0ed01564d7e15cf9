"""What each stage of a chain costs and holds, in numbers: all that a planner looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from memtrain.graph.builder import no_collection
from memtrain.plan.cost import CostOf
from memtrain.plan.liveness import Liveness, analyse, workspace_bytes
from memtrain.plan.remat.chain import Chain, needed_for
from memtrain.plan.schedule import Schedule, schedule_in_order


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's input is the output of the stage before, and counted there only."""

    cost: float
    """Of computing it."""
    again_cost: float
    """Of computing its inner values only."""
    output_bytes: int
    inner_bytes: int
    kept_peak_bytes: int
    """The most that stands while it is computed, besides its input, which is kept."""
    dropped_peak_bytes: int
    """The same, its input included, which goes as soon as it is read."""
    taped_peak_bytes: int
    """As the first, while the inner values are kept too."""
    again_peak_bytes: int
    """As the first, while the inner values only are computed."""
    standing_bytes: int
    """What stands, besides values of the chain, while a stage is computed for this one's backward."""
    backward_peak_bytes: int
    """The most that stands in its backward, inner values included, its input and all before it left out."""


@no_collection()
def stages(schedule: Schedule, chains: Sequence[Chain], cost: CostOf) -> list[tuple[Stage, ...]]:
    """The stages of each of the chains of ``schedule``, which keeps all that backward reads, in numbers."""
    around = _Surroundings(analyse(schedule), chains)
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
    """The most that stands while ``nodes`` are computed in order and only ``kept`` of them stay.

    What they read is there and not counted, but for ``given``, which may go once it is read.
    """
    graph = schedule.graph
    order = [*([] if given is None else [given]), *nodes]
    there = {read for i in order for read in graph[i].inputs}.difference(order)
    asked = (*kept, *(i for i in schedule.asked if i in nodes))
    work = schedule_in_order(graph, [(i, graph[i].phase) for i in order], asked, tuple(there))
    live = peak = 0
    for place, step in enumerate(work.steps):
        if graph[step.node].owns_storage and step.reuse is None:
            live += graph[step.node].nbytes
        if step.node != given:
            peak = max(peak, live + workspace_bytes(work, place))
        live -= sum(graph[i].nbytes for i in step.frees if graph[i].owns_storage)
    return peak


class _Surroundings:
    """What stands beside the values of the chains, step by step, when all of them are kept."""

    def __init__(self, liveness: Liveness, chains: Sequence[Chain]) -> None:
        schedule = liveness.schedule
        steps = schedule.steps
        self._graph = schedule.graph
        self._lives = {}
        values = {i for chain in chains for part in (chain.outputs, *chain.inner) for i in part}
        at = [0] * (len(steps) + 2)  # change of what is there during a step
        before = [0] * (len(steps) + 2)  # and right before it
        for life in liveness.lives:
            if life.node.id in values:
                self._lives[life.node.id] = life
                continue
            end = life.freed_step + 1
            handed_on = end < len(steps) and steps[end].reuse == life.node.id
            at[life.born_step] += life.node.nbytes
            at[end] -= life.node.nbytes
            before[0 if life.node.id in schedule.persistent else life.born_step + 1] += life.node.nbytes
            before[end + handed_on] -= life.node.nbytes
        self._at, self._before = list(accumulate(at)), list(accumulate(before))
        self._workspace = [workspace_bytes(schedule, place) for place in range(len(steps))]

    def standing_bytes(self, chain: Chain, k: int) -> int:
        """Between the backward of the stage after ``k`` and that of ``k``; for the last before forward."""
        start = chain.backward[k].start
        if k == len(chain) - 1:
            start -= sum(map(len, chain.forward))
        return self._before[start]

    def backward_peak_bytes(self, chain: Chain, k: int) -> int:
        """In the backward of ``k``. Its input counts as kept outside until it ends, whoever takes it over."""
        input_id = chain.outputs[k - 1] if k else None
        most = 0
        for place in chain.backward[k]:
            inner = sum(self._bytes_at(i, place) for i in chain.inner[k])
            taken = 0 if input_id is None else self._graph[input_id].nbytes - self._bytes_at(input_id, place)
            most = max(most, self._at[place] + self._workspace[place] + inner - taken)
        return most

    def _bytes_at(self, value: int, place: int) -> int:
        life = self._lives[value]
        return life.node.nbytes if place <= life.freed_step else 0


def merged(block: Sequence[Stage]) -> Stage:
    """Neighbouring stages as one: kept whole with all their values, or by the input of the first only."""
    before = [0, *accumulate(stage.output_bytes + stage.inner_bytes for stage in block)]  # kept values
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
