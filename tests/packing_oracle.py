"""An oracle of packings: the arrays that an arena must hold, computed from the steps of a schedule.

It follows the steps (reuse, frees, views, workspace). Of ``memtrain.planning.packing`` it reads only the
offsets, so it shares no code with the packing.
"""

from __future__ import annotations

from brute_force import bytes_of

from memtrain.planning.packing import Packing
from memtrain.planning.schedule import Schedule

LINE = 64
"""Bytes of a cache line."""

Owner = tuple[str, int]
"""A value by its step, or an array of the workspace of the present step by its number."""


def present(schedule: Schedule) -> list[dict[Owner, int]]:
    """For each step, the bytes of every array that the arena must hold while the step runs.

    A value is named by the step that computed it.
    """
    graph, born, found = schedule.graph, {}, []
    for here, step in enumerate(schedule.steps):
        node = graph[step.node]
        born.pop(step.reuse, None)  # the new value has its bytes now
        if not node.op.is_view and node.op.writes is None:
            born[node.id] = here
        wanted = node.op.workspace(*[graph[i] for i in node.inputs])
        work = {("work", k): count * dtype.itemsize for k, (count, dtype) in enumerate(wanted)}
        found.append({("value", maker): bytes_of(graph, i) for i, maker in born.items()} | work)
        born = {i: maker for i, maker in born.items() if i not in step.frees}
    return found


def reused(schedule: Schedule) -> dict[int, int]:
    """For each step that takes over a buffer: the step that computed the former value of the buffer."""
    made, found = {}, {}
    for here, step in enumerate(schedule.steps):
        if step.reuse is not None:
            found[here] = made[step.reuse]
        made[step.node] = here
    return found


def rounded(nbytes: int) -> int:
    """``nbytes`` rounded up to whole cache lines."""
    lines, rest = divmod(nbytes, LINE)
    return (lines + (rest > 0)) * LINE


def least_bytes(schedule: Schedule) -> int:
    return max((sum(map(rounded, arrays.values())) for arrays in present(schedule)), default=0)


def check_packing(schedule: Schedule, packing: Packing) -> None:
    """Fail unless all arrays of a step are disjoint, begin at cache lines, and lie inside of the arena.

    An array without bytes, such as the padding of a convolution that pads nothing, overlaps no other.
    """
    for here, (step, arrays) in enumerate(zip(schedule.steps, present(schedule), strict=True)):
        if step.reuse is not None:
            before, after = (packing.value_offsets[i] for i in (reused(schedule)[here], here))
            assert before == after, f"step {here}: the buffer that is taken over has moved"
        offsets = {("work", k): offset for k, offset in enumerate(packing.work_offsets[here])}
        offsets |= {(kind, i): packing.value_offsets[i] for kind, i in arrays if kind == "value"}
        assert offsets.keys() == arrays.keys(), f"step {here}: not an offset for each array"
        reached, last = 0, None
        for owner in sorted(filter(arrays.__getitem__, arrays), key=offsets.__getitem__):
            assert offsets[owner] % LINE == 0, f"step {here}: {owner} begins in the middle of a line"
            assert offsets[owner] >= reached, f"step {here}: {owner} overlaps {last}"
            reached, last = offsets[owner] + arrays[owner], owner
        assert reached <= packing.arena_bytes, f"step {here}: {last} ends outside of the arena"
