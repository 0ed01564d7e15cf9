"""Forward and backward as a chain of stages: the model that rematerialisation plans with.

A *boundary* is a value that backward reads and that ends a stage: once it exists, forward reads no earlier
intermediate. The *inner* values of a stage are the other values that its backward reads, apart from its
input. For ReLU the boundaries are h1, …, hL and log p. For GELU, whose rule reads its input, the boundaries
are z1, h1, z2, …. The stages of an MLP have no inner values.

Backward is cut right after the last read of each boundary. The vjp rule of ReLU reads its output h, right
after the gradient of h exists. So this step belongs to the stage whose input is h. In this way the backward
of a stage reads the input and the inner values of the stage, but not its output.
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
    """The stages of one forward pass and its backward pass. Each field has one entry per stage."""

    forward: tuple[tuple[int, ...], ...]
    """The nodes that compute the stage, in the order of their steps."""
    backward: tuple[range, ...]
    """The steps of the stage's backward. The first stage also has all steps that follow, such as updates."""
    outputs: tuple[int, ...]
    """The id of the boundary that ends the stage. The last stage has none."""
    inner: tuple[tuple[int, ...], ...]
    """The ids of the inner values of the stage."""

    def __len__(self) -> int:
        return len(self.forward)


@no_collection()
def chains(schedule: Schedule) -> list[Chain]:
    """The chains of ``schedule`` in order: one for each forward pass that has a backward pass."""
    return [_chain(schedule, *window) for window in _windows(schedule)]


def _windows(schedule: Schedule) -> Iterator[tuple[int, int, int]]:
    """For each forward pass: its first step, the first step of its backward pass, and the step after that."""
    phases = [step.phase for step in schedule.steps]
    before = [None, *phases]
    starts = [number for number, phase in enumerate(phases) if phase is Phase.FORWARD is not before[number]]
    for start, stop in pairwise([*starts, len(phases)]):
        middle = next((number for number in range(start, stop) if phases[number] is not Phase.FORWARD), stop)
        if middle < stop:
            yield start, middle, stop


def _chain(schedule: Schedule, start: int, middle: int, stop: int) -> Chain:
    graph, steps = schedule.graph, schedule.steps
    born: dict[int, int] = {}  # by storage: the forward step that computes it
    forward_reads: dict[int, int] = {}  # by storage: the last forward step that reads it
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
    lasting = {graph[i].storage for i in schedule.lasting}
    kept = [i for i in born if i in backward_reads and i not in lasting]

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
    """Ids of the cut points: once such a value exists, forward reads no earlier intermediate."""
    found, reach = set(), -1
    for i, number in born.items():
        if reach <= number:
            found.add(i)
        reach = max(reach, forward_reads.get(i, -1))
    return found


def _nested(kept: Sequence[int], backward_reads: dict[int, list[int]]) -> set[int]:
    """Values that backward reads last in the reverse order of forward.

    The last read of such a value comes before any read of earlier values. No later value is read after it,
    but the same step may read both: a layer norm reads its input and the mean of it.
    """
    last = [backward_reads[i][-1] for i in kept]
    first = [backward_reads[i][0] for i in kept]
    of_later = list(accumulate(reversed(last), max, initial=-1))[-2::-1]
    of_earlier = accumulate(first, min, initial=max(last, default=0) + 1)
    return {
        i
        for i, own, later, earlier in zip(kept, last, of_later, of_earlier, strict=False)
        if later <= own < earlier
    }


def needed_for(graph: Graph, nodes: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
    """Those of ``nodes`` that are among ``values`` or their ancestors, in the order of ``nodes``."""
    wanted = set(values)
    for index in reversed(nodes):
        if index in wanted:
            wanted.update(graph[index].inputs)
    return tuple(index for index in nodes if index in wanted)
