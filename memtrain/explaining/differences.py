"""The check of a Hessian-vector product: central differences of the gradient, on real runs in float64."""

from __future__ import annotations

import numpy as np

from memtrain.cells.cell import Cell
from memtrain.graph.ops.base import Array
from memtrain.measure.workload import batches
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.run.executor import Run
from memtrain.training.optimizers import ITERATION

_STEPS = (1e-6, 1e-8, 1e-10)
"""Steps of the central difference. A smaller step crosses fewer kinks and rounds worse, so the smallest error
counts. A wrong product is wrong at every step."""

POINT_COUNT, _MOVED = 20, 1e-3
"""The number of points that are tried, and their distance from the initial values. The initial values are no
such point: biases are 0 there, so a unit without a positive input is exactly at its kink."""


def relative_error(cell: Cell, first: Schedule, second: Schedule) -> float | None:
    """The relative error of the product at the first point where a difference can check it.

    ``first`` asks for the objective and the gradients of ``cell``, ``second`` for the product with a direction
    v. If a unit crosses its kink within a step, the gradient jumps, and the difference is not a derivative.
    ``None`` if this happens at every point that is tried.
    """
    start = cell.network.initial_values(cell.seed)
    rng = np.random.default_rng([cell.seed, 2])
    direction = {name: rng.standard_normal(value.shape) for name, value in start.items()}
    batch = {name: value for name, value in next(batches(cell)).items() if name != ITERATION}
    vector = {f"v({name})": value for name, value in direction.items()}
    for _ in range(POINT_COUNT):
        point = {name: value + _MOVED * rng.standard_normal(value.shape) for name, value in start.items()}
        here = {**point, **batch}
        errors = []
        for step in _STEPS:
            up, down = ({**_moved(point, shift, direction), **batch} for shift in (step, -step))
            if _same_sides(first, here, up, down):
                difference = [
                    (above - below) / (2 * step)
                    for above, below in zip(_evaluate(first, up)[1:], _evaluate(first, down)[1:], strict=True)
                ]
                errors.append(_distance(difference, _evaluate(second, {**here, **vector})))
        if errors:
            return min(errors)
    return None


def _moved(point: dict[str, Array], shift: float, direction: dict[str, Array]) -> dict[str, Array]:
    return {name: value + shift * direction[name] for name, value in point.items()}


def _same_sides(schedule: Schedule, *points: dict[str, Array]) -> bool:
    """Whether every unit with a kink is on the same side of it at all of the points."""
    kinked = [node for node in schedule.graph if node.op.kinks]
    if not kinked:
        return True
    forward = make_schedule(schedule.graph, kinked)
    first, *others = (
        [
            np.sign(value - kink)
            for node, value in zip(kinked, _evaluate(forward, point), strict=True)
            for kink in node.op.kinks
        ]
        for point in points
    )
    return all(all(map(np.array_equal, first, other)) for other in others)


def _distance(found: list[Array], exact: list[Array]) -> float:
    """The largest difference of two lists of arrays, relative to the largest entry of the second."""
    largest = max(float(np.max(np.abs(value))) for value in exact)
    off = max(float(np.max(np.abs(x - y))) for x, y in zip(found, exact, strict=True))
    return off / (largest or 1.0)


def _evaluate(schedule: Schedule, values: dict[str, Array]) -> list[Array]:
    run = Run(schedule)
    run.load(values)
    return [np.array(value) for value in run.iterate()]
