"""Forward and backward as a chain of stages: the model that rematerialisation plans with.

A *boundary* is a value of forward that backward reads and through which all of forward passes. It ends a
stage. A stage's *inner* values are what its backward reads besides. So for ReLU the boundaries are h1, …,
hL and log p; for GELU, whose rule reads its input, z1, h1, z2, …; an MLP's stages have no inner values.

Backward is cut right after the last read of each boundary. A ReLU's rule reads its output h, and its step
is the first after h's gradient: it belongs to the stage that begins with h. So each stage's backward reads
the stage's input and inner values only, and nothing of its output.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from memtrain.graph.builder import no_collection
from memtrain.graph.node import Graph, Phase
from memtrain.planning.schedule import Schedule


@dataclass(frozen=True)
class Chain:
    """The stages of one forward pass and of the backward pass that belongs to it, a tuple entry each."""

    forward: tuple[tuple[int, ...], ...]
    """The nodes that compute the stage, in order."""
    backward: tuple[range, ...]
    """The steps of the stage's backward. Those after the backward of the first stage belong to that stage."""
    outputs: tuple[int, ...]
    """The boundary that the stage ends with, as a node; the last stage has none."""
    inner: tuple[tuple[int, ...], ...]
    """The values besides its input that its backward reads."""

    def __len__(self) -> int:
        return len(self.forward)


@no_collection()
def chains(schedule: Schedule) -> list[Chain]:
    """The chain of every forward pass that a backward pass follows, in the order of the schedule."""
    return [_chain(schedule, *window) for window in _windows(schedule)]


def _windows(schedule: Schedule) -> Iterator[tuple[int, int, int]]:
    """The first step of each forward pass, the first step of its backward pass, and the step after that."""
    phases = [step.phase for step in schedule.steps]
    before = [None, *phases]
    starts = [number for number, phase in enumerate(phases) if phase is Phase.FORWARD is not before[number]]
    for start, stop in pairwise([*starts, len(phases)]):
        middle = next((number for number in range(start, stop) if phases[number] is not Phase.FORWARD), stop)
        if middle < stop:
            yield start, middle, stop


def _chain(schedule: Schedule, start: int, middle: int, stop: int) -> Chain:
    graph, steps = schedule.graph, schedule.steps
    born: dict[int, int] = {}  # by storage: the forward step that makes it
    forward_reads: dict[int, int] = {}  # by storage: the last one
    backward_reads: dict[int, list[int]] = {}
    for number in range(start, stop):
        node = graph[steps[number].node]
        if number < middle and node.owns_storage:
            born[node.id] = number
        for storage in {graph[index].storage for index in node.inputs} & born.keys():
            if number < middle:
                forward_reads[storage] = number
            else:
                backward_reads.setdefault(storage, []).append(number)
    asked = {graph[i].storage for i in schedule.asked}
    kept = [i for i in born if i in backward_reads and i not in asked]

    passes = _all_pass_through(born, forward_reads)
    nested = _nested(kept, backward_reads)
    boundaries = [i for i in kept if i in passes and i in nested]
    cuts = [born[i] for i in boundaries]
    inner: list[list[int]] = [[] for _ in range(len(boundaries) + 1)]
    for i in set(kept).difference(boundaries):
        inner[bisect_left(cuts, born[i])].append(i)
    firsts = [start, *(number + 1 for number in cuts), middle]
    ends = [stop, *(backward_reads[i][-1] + 1 for i in boundaries), middle]
    return Chain(
        forward=tuple(tuple(step.node for step in steps[first:end]) for first, end in pairwise(firsts)),
        backward=tuple(range(first, end) for end, first in pairwise(ends)),
        outputs=tuple(boundaries),
        inner=tuple(tuple(sorted(values)) for values in inner),
    )


def _all_pass_through(born: dict[int, int], forward_reads: dict[int, int]) -> set[int]:
    """Cut points: once such a value exists, forward reads no earlier intermediate."""
    found, reach = set(), -1
    for i, number in born.items():
        if reach <= number:
            found.add(i)
        reach = max(reach, forward_reads.get(i, -1))
    return found


def _nested(kept: Sequence[int], backward_reads: dict[int, list[int]]) -> set[int]:
    """Values that backward reads last after all reads of later values and before any read of earlier ones."""
    last = [backward_reads[i][-1] for i in kept]
    first = [backward_reads[i][0] for i in kept]
    of_later = list(accumulate(reversed(last), max, initial=-1))[-2::-1]
    of_earlier = accumulate(first, min, initial=max(last, default=0) + 1)
    return {
        i
        for i, own, later, earlier in zip(kept, last, of_later, of_earlier, strict=False)
        if later < own < earlier
    }


def needed_for(graph: Graph, nodes: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
    """The nodes among ``nodes`` that ``values`` depend on, in their order."""
    wanted = set(values)
    for index in reversed(nodes):
        if index in wanted:
            wanted.update(graph[index].inputs)
    return tuple(index for index in nodes if index in wanted)
