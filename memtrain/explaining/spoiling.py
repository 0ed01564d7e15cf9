"""Runs that fill arrays with NaN on purpose, and their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from memtrain.graph.node import DType, Phase, Role
from memtrain.graph.ops.base import Array
from memtrain.planning.schedule import Schedule
from memtrain.run.executor import Run

Values = dict[int, Array]
"""Arrays of the run's values, by node."""


class CleanRun(Run):
    """A run whose new storages are full of zeros, so that old bytes in memory cannot pass as right values."""

    def _empty(self, shape: tuple[int, ...], dtype: DType, role: Role | None) -> Array:
        array = super()._empty(shape, dtype, role)
        array.fill(0)
        return array


class PoisonedRun(CleanRun):
    """A run that spoils every storage when it is made, and again when its life ends."""

    def __init__(self, schedule: Schedule) -> None:
        self._workspace: list[Array] = []
        super().__init__(schedule)

    def execute(self, start: int, stop: int) -> None:
        """Run the steps from ``start`` to before ``stop``; the workspace of each is spoiled after it."""
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


def without_reuse(schedule: Schedule) -> Schedule:
    """The same schedule with a fresh output buffer for each step; a buffer that it would reuse is freed.

    So the output buffer can be NaN before the step. This finds kernels that do not write their whole output.
    """
    steps = [
        step if step.reuse is None else replace(step, reuse=None, frees=(*step.frees, step.reuse))
        for step in schedule.steps
    ]
    return replace(schedule, steps=tuple(steps))


def whole_iteration(run: Run, leaves: Mapping[str, Array], batch: Mapping[str, Array]) -> Values:
    """The gradients right before the updates that read them, and the asked values at the end."""
    gradients = _gradients(_loaded(run, leaves, batch), 0)
    return gradients | dict(zip(run.schedule.asked, run.collect(), strict=True))


def with_spoiled(
    schedule: Schedule, leaves: Mapping[str, Array], batch: Mapping[str, Array], index: int
) -> Values:
    """The gradients of a new run in which one array is spoiled between forward and backward."""
    run = _loaded(CleanRun(schedule), leaves, batch)
    backward = first_step(schedule, Phase.BACKWARD, Phase.UPDATE)
    run.execute(0, backward)
    _spoil(run.array(index))
    return _gradients(run, backward)


def _loaded(run: Run, leaves: Mapping[str, Array], batch: Mapping[str, Array]) -> Run:
    run.load(leaves)
    run.feed(batch)
    return run


def first_step(schedule: Schedule, *phases: Phase) -> int:
    """The first step of one of ``phases``; the number of steps where there is none."""
    numbers = (number for number, step in enumerate(schedule.steps) if step.phase in phases)
    return next(numbers, len(schedule.steps))


def gradient_nodes(schedule: Schedule) -> list[int]:
    """The values of backward that updates read or that are asked for, each once."""
    graph = schedule.graph
    read = [i for step in schedule.steps if step.phase is Phase.UPDATE for i in graph[step.node].inputs]
    return [i for i in dict.fromkeys([*read, *schedule.asked]) if graph[i].phase is Phase.BACKWARD]


def _gradients(run: Run, start: int) -> Values:
    """Run all steps from ``start`` on; returns each gradient as it is before an update first reads it."""
    graph, steps = run.schedule.graph, run.schedule.steps
    wanted, found = gradient_nodes(run.schedule), {}
    for number in range(start, len(steps)):
        step = steps[number]
        if step.phase is Phase.UPDATE:
            read = [i for i in graph[step.node].inputs if i in wanted and i not in found]
            found.update({i: run.array(i).copy() for i in read})
        run.execute(number, number + 1)
    return found | {i: run.array(i).copy() for i in wanted if i not in found}
