"""Proof that kept values are needed and freed values are not: spoil an array, and compare the gradients.

Real runs show two things. First, one retained array is filled with NaN between forward and backward: some
gradient must differ. Second, every storage is filled with NaN when it is made and when it is freed: no
gradient may differ. Runs cannot show that no step reads a value after another value took over its buffer.
The schedule alone shows this (`stale_reads`).

Two gradients differ if any bit differs: a changed value can be finite, since the mask of ReLU takes NaN as
positive. Integers and truth values have no NaN; their bits are inverted, which changes every value. numpy
reads an inverted label as an index that counts from the end.

A shortcoming: the mask of ReLU reads only the sign of h. Where h is positive everywhere, NaN in h does not
change the mask. In a network the gradient of the next layer's weights reads h too, and there NaN shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from memtrain.errors import GraphError
from memtrain.explaining.spoiling import (
    CleanRun,
    PoisonedRun,
    Values,
    first_step,
    gradient_nodes,
    whole_iteration,
    with_spoiled,
    without_reuse,
)
from memtrain.graph.node import Name, Node, Phase, Role, Scope
from memtrain.graph.ops.base import Array
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import Schedule


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
    """The results of the runs. Nothing was run if the schedule itself is wrong (``stale_reads``)."""

    needed: tuple[Needed, ...]
    """Every array that forward keeps for backward, in the order in which they are computed."""
    poisoned_changes: tuple[Name, ...]
    """Gradients and asked values that differ when fresh and freed storages are full of NaN."""
    stale_reads: tuple[str, ...]
    """Reads of values that were freed or overwritten: the reader, the value, and the step that ended it."""

    @property
    def ok(self) -> bool:
        """Whether all kept values are needed, and no others."""
        return not self.failures()

    def failures(self) -> list[str]:
        """A sentence for each failure: what was found, and what it means."""
        return [
            *(f"{read}: the schedule ends a value that is still needed" for read in self.stale_reads),
            *(
                f"{array.name} ({array.nbytes} B) is kept for backward, but no gradient differs in any bit "
                f"when it is NaN: backward does not need it"
                for array in self.needed
                if not array.changes
            ),
            *(
                f"{changed.name} differs when every storage is NaN before and after its life: a kernel "
                f"reads memory that is freed or not yet written"
                for changed in self.poisoned_changes
            ),
        ]


def prove(schedule: Schedule, leaves: Mapping[str, Array], batch: Mapping[str, Array]) -> Proof:
    """Test on real arrays whether ``schedule`` keeps what backward needs and no more.

    ``leaves`` (parameters; the rest start at 0) and ``batch`` are values by leaf name, as for `Run.load`
    and `Run.feed`; they are copied. The gradients are the values of backward that updates read or that are
    asked for; each is compared as it is before the first update that reads it. Costs an iteration per
    retained array and two more. Raises ``GraphError`` when a gradient is not finite, or a value does not fit
    its leaf.
    """
    stale = tuple(stale_reads(schedule))
    if stale:
        return Proof((), (), stale)
    with np.errstate(all="ignore"):
        right = whole_iteration(CleanRun(schedule), leaves, batch)
        _check_finite(schedule, right)
        needed = []
        for node in _kept(schedule):
            changes = _changed(schedule, right, with_spoiled(schedule, leaves, batch, node.id))
            needed.append(Needed(*node.called, node.nbytes, changes))
        poisoned = whole_iteration(PoisonedRun(without_reuse(schedule)), leaves, batch)
    return Proof(tuple(needed), _changed(schedule, right, poisoned), ())


def _kept(schedule: Schedule) -> list[Node]:
    """The values that are live when backward starts: retained ones, and any that no later step reads."""
    backward = first_step(schedule, Phase.BACKWARD, Phase.UPDATE)
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


def _check_finite(schedule: Schedule, values: Values) -> None:
    for i in gradient_nodes(schedule):
        if not np.isfinite(values[i]).all():
            raise GraphError(
                f"{schedule.graph[i]} is not finite with these values, so a NaN could hide in it; "
                f"give smaller values"
            )


def _changed(schedule: Schedule, right: Values, found: Values) -> tuple[Name, ...]:
    """The names of the values in ``found`` that differ in any bit from those in ``right``."""
    return tuple(schedule.graph[i].called for i, x in found.items() if x.tobytes() != right[i].tobytes())


def stale_reads(schedule: Schedule) -> list[str]:
    """Reads of a value, or of a view of it, after it was freed or another value took over its buffer.

    Computing a value again makes it valid again. Asked values and persistent leaves are read at the end.
    Returns one clause per read, without a full stop.
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
