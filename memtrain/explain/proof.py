"""Proof that what is kept is needed and what is freed is not: by spoiling it and looking at the gradients.

Two sides of one question, asked of real runs. A retained array is filled with NaN between forward and
backward: some gradient must differ. Every storage is filled with NaN when it is made and when it is freed:
no gradient may differ. What the runs cannot show, that nobody reads a value whose buffer is another's by
then, is read off the schedule.

Differ means in any bit, and either way: for a ReLU's mask a NaN is positive. Integers and truth values
have no NaN; theirs are inverted bit by bit, which changes each, and leaves a label one that numpy can index
with (counted from the end).

A shortcoming: an array that matters only where it is positive (ReLU's mask) and is positive everywhere
changes nothing when it is NaN. In a network the next layer's weights read it too, and there NaN shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Name, Node, Phase, Role, Scope
from memtrain.graph.ops.base import Array
from memtrain.plan.liveness import analyse
from memtrain.plan.schedule import Schedule
from memtrain.run.executor import Run

Values = dict[int, Array]
"""Arrays of the run's values, by node."""


@dataclass(frozen=True)
class Needed:
    """A retained array, and the gradients that differ when it is spoiled before backward."""

    name: str
    label: str
    scope: Scope
    nbytes: int
    changes: tuple[Name, ...]


@dataclass(frozen=True)
class Proof:
    """What the experiments gave. Where the schedule itself is wrong (``stale_reads``) none was made."""

    needed: tuple[Needed, ...]
    """Every array that forward leaves to backward, in the order of their birth."""
    poisoned_changes: tuple[Name, ...]
    """Gradients and asked values that differ when fresh and freed storages are full of NaN."""
    stale_reads: tuple[str, ...]
    """Reads of values that are freed or overwritten by then: who reads what, and what became of it."""

    @property
    def ok(self) -> bool:
        """Whether all that is kept is needed, and nothing else is."""
        return not self.failures()

    def failures(self) -> list[str]:
        """A sentence for each thing that does not hold: what was found and what it means."""
        return [
            *(f"{read}: the schedule ends a value that is still needed" for read in self.stale_reads),
            *(
                f"{array.name} ({array.nbytes} B) is kept for backward, but no gradient differs in any bit "
                f"when it is NaN: it was kept for nothing"
                for array in self.needed
                if not array.changes
            ),
            *(
                f"{changed.name} differs when every storage is NaN before and after its life: some kernel "
                f"reads memory that is freed, or not yet written"
                for changed in self.poisoned_changes
            ),
        ]


def prove(schedule: Schedule, leaves: Mapping[str, Array], batch: Mapping[str, Array]) -> Proof:
    """Try on real arrays whether ``schedule`` keeps what backward needs and no more.

    ``leaves`` (parameters; the rest start at 0) and ``batch`` are values by leaf name, as for `Run.load`
    and `Run.feed`; they are copied. The gradients are the values of backward that updates read or that are
    asked for; they are compared right before the first update. Costs an iteration per retained array and
    two more. Raises ``GraphError`` when a gradient is not finite, or a value does not fit its leaf.
    """
    stale = tuple(stale_reads(schedule))
    if stale:
        return Proof((), (), stale)
    with np.errstate(all="ignore"):
        right = _whole_iteration(_Clean(schedule), leaves, batch)
        _check_finite(schedule, right)
        needed = []
        for node in _kept(schedule):
            changes = _changed(schedule, right, _with_spoiled(schedule, leaves, batch, node.id))
            needed.append(Needed(*node.called, node.nbytes, changes))
        poisoned = _whole_iteration(_Poisoned(_without_reuse(schedule)), leaves, batch)
    return Proof(tuple(needed), _changed(schedule, right, poisoned), ())


# -- experiments -------------------------------------------------------------------------------------


class _Clean(Run):
    """Makes storages full of zeros: what NaN left in memory before cannot pass for a right value."""

    def _empty(self, shape: tuple[int, ...], dtype: DType, role: Role | None) -> Array:
        array = super()._empty(shape, dtype, role)
        array.fill(0)
        return array


class _Poisoned(_Clean):
    """Spoils every storage when it is made and again when its life ends, whoever still refers to it."""

    def __init__(self, schedule: Schedule) -> None:
        self._workspace: list[Array] = []
        super().__init__(schedule)

    def execute(self, start: int, stop: int) -> None:
        for number in range(start, stop):
            super().execute(number, number + 1)
            while self._workspace:
                _spoil(self._workspace.pop())

    def _drop(self, index: int) -> None:
        if self.schedule.graph[index].owns_storage:
            _spoil(self.array(index))
        super()._drop(index)

    def _empty(self, shape: tuple[int, ...], dtype: DType, role: Role | None) -> Array:
        array = super()._empty(shape, dtype, role)
        _spoil(array)
        if role is Role.WORKSPACE:
            self._workspace.append(array)
        return array


def _spoil(array: Array) -> None:
    if array.dtype.kind == "f":
        array.fill(np.nan)
    else:
        np.invert(array, out=array)


def _without_reuse(schedule: Schedule) -> Schedule:
    """The same work with a fresh buffer in place of each reused one, which is freed after the step.

    So that it, too, can be NaN before: a kernel that leaves part of its output as it was is found out.
    """
    steps = [
        step if step.reuse is None else replace(step, reuse=None, frees=(*step.frees, step.reuse))
        for step in schedule.steps
    ]
    return replace(schedule, steps=tuple(steps))


def _whole_iteration(run: Run, leaves: Mapping[str, Array], batch: Mapping[str, Array]) -> Values:
    """The gradients right before the first update, and at the end what was asked for."""
    schedule, update = run.schedule, _first(run.schedule, Phase.UPDATE)
    _loaded(run, leaves, batch).execute(0, update)
    gradients = _copies(run)
    run.execute(update, len(schedule.steps))
    return gradients | dict(zip(schedule.asked, run.collect(), strict=True))


def _with_spoiled(
    schedule: Schedule, leaves: Mapping[str, Array], batch: Mapping[str, Array], index: int
) -> Values:
    """The gradients of a run of its own, with one array spoiled between forward and backward."""
    run = _loaded(_Clean(schedule), leaves, batch)
    backward, update = _first(schedule, Phase.BACKWARD, Phase.UPDATE), _first(schedule, Phase.UPDATE)
    run.execute(0, backward)
    _spoil(run.array(index))
    run.execute(backward, update)
    return _copies(run)


def _loaded(run: Run, leaves: Mapping[str, Array], batch: Mapping[str, Array]) -> Run:
    run.load(leaves)
    run.feed(batch)
    return run


def _first(schedule: Schedule, *phases: Phase) -> int:
    """The first step of one of ``phases``; the number of steps where there is none."""
    numbers = (number for number, step in enumerate(schedule.steps) if step.phase in phases)
    return next(numbers, len(schedule.steps))


def _gradient_nodes(schedule: Schedule) -> list[int]:
    graph = schedule.graph
    read = [i for step in schedule.steps if step.phase is Phase.UPDATE for i in graph[step.node].inputs]
    return [i for i in dict.fromkeys([*read, *schedule.asked]) if graph[i].phase is Phase.BACKWARD]


def _kept(schedule: Schedule) -> list[Node]:
    """What forward leaves: the retained arrays, and any that a schedule holds though nobody reads it."""
    backward = _first(schedule, Phase.BACKWARD, Phase.UPDATE)
    asked = {schedule.graph[i].storage for i in schedule.asked}
    return [
        life.node
        for life in analyse(schedule).lives
        if life.role is Role.RETAINED
        or (
            life.role is Role.TRANSIENT
            and life.born_step < backward <= life.freed_step
            and life.node.id not in asked
        )
    ]


def _copies(run: Run) -> Values:
    return {i: run.array(i).copy() for i in _gradient_nodes(run.schedule)}


def _check_finite(schedule: Schedule, values: Values) -> None:
    for i in _gradient_nodes(schedule):
        if not np.isfinite(values[i]).all():
            raise GraphError(
                f"{schedule.graph[i]} is not finite with these values, so that NaN might not show in it; "
                f"give smaller ones"
            )


def _changed(schedule: Schedule, right: Values, found: Values) -> tuple[Name, ...]:
    """Which of the values ``found`` differ in any bit from the right ones."""
    return tuple(schedule.graph[i].called for i, x in found.items() if x.tobytes() != right[i].tobytes())


# -- the schedule alone ------------------------------------------------------------------------------


def stale_reads(schedule: Schedule) -> list[str]:
    """Reads of a value, or of a view of one, after it was freed or its buffer given to another value.

    What is computed again in between is there again. Whoever asked for a value, or finds it in a
    persistent leaf, reads it at the end. One clause per read, without a full stop.
    """
    graph = schedule.graph
    there = set(schedule.persistent)
    fate: dict[int, str] = {}
    found: list[str] = []

    def read(reader: str, i: int) -> None:
        if i not in there:
            found.append(f"{reader} reads {graph[i].name}, which {fate.get(i, 'is not computed before')}")

    def end(i: int, how: str) -> None:
        dying = {k for k in there if graph[k].storage == i} if graph[i].owns_storage else {i}
        there.difference_update(dying)
        fate.update(dict.fromkeys(dying, how))

    for number, step in enumerate(schedule.steps):
        node = graph[step.node]
        reader = f"{node.name} (step {number})"
        for i in dict.fromkeys(node.inputs):
            read(reader, i)
        if step.reuse is not None:
            if step.reuse not in node.inputs:
                read(reader, step.reuse)
            end(step.reuse, f"gave its buffer to {node.name} at step {number}")
        there.add(step.node)
        for i in step.frees:
            end(i, f"was freed at step {number}")
    for i in dict.fromkeys((*schedule.asked, *schedule.persistent)):
        read("the end", i)
    return found
