"""The check of a Hessian-vector product against central differences of the gradient, by runs in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memtrain.cells.cell import Cell
from memtrain.graph.ops.base import Array
from memtrain.measure.workload import batches
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.run.executor import Run
from memtrain.training.optimizers import ITERATION

Values = dict[str, Array]
"""Arrays by the name of their leaf."""

_STEPS = (1e-6, 1e-8, 1e-10)
"""Steps of the central difference. A smaller step crosses fewer kinks and rounds worse, so the smallest error
counts. A wrong product is wrong at every step."""

_SMALL_ERROR = 1e-7
"""A smaller error leaves no doubt, and no other step is tried."""

POINT_COUNT, _MOVED = 20, 1e-3
"""The number of points that are tried, and the standard deviation of their entries from the initial values.

The initial values themselves are not tried: biases are 0 there, so a unit without a positive input is exactly
at its kink.
"""


def relative_error(cell: Cell, first: Schedule, second: Schedule) -> float | None:
    """The relative error of the product at the first point where a difference can check it.

    ``first`` asks for the objective and the gradients of ``cell``; ``second`` asks for the product with a
    direction v, which has a part for each trainable parameter. If a unit crosses its kink within a step, the
    gradient jumps, and the difference is not a derivative. ``None`` if this happens at every point that is
    tried.
    """
    start = cell.network.initial_values(cell.seed)
    rng = np.random.default_rng([cell.seed, 2])
    leaves = {node.name for node in second.graph if node.role}
    direction = {
        name: rng.standard_normal(value.shape) for name, value in start.items() if f"v({name})" in leaves
    }
    batch = {name: value for name, value in next(batches(cell)).items() if name != ITERATION}
    vector = {f"v({name})": value for name, value in direction.items()}
    for _ in range(POINT_COUNT):
        point = {name: value + _MOVED * rng.standard_normal(value.shape) for name, value in start.items()}
        product, errors = None, []
        for difference in _differences(first, point, batch, direction):
            product = product or _evaluate(second, {**point, **batch, **vector})
            errors.append(_distance(difference, product))
            if errors[-1] < _SMALL_ERROR:
                break
        if errors:
            return min(errors)
    return None


def _differences(
    schedule: Schedule, point: Values, batch: Values, direction: Values
) -> Iterator[list[Array]]:
    """Central differences of the gradient at a point, for each step within which no unit crosses a kink."""
    here = _sides(schedule, {**point, **batch})
    for step in _STEPS:
        up, down = ({**_moved(point, shift, direction), **batch} for shift in (step, -step))
        if all(all(map(np.array_equal, here, _sides(schedule, there))) for there in (up, down)):
            _, *above = _evaluate(schedule, up)
            _, *below = _evaluate(schedule, down)
            yield [(high - low) / (2 * step) for high, low in zip(above, below, strict=True)]


def _moved(point: Values, shift: float, direction: Values) -> Values:
    return {
        name: value + shift * direction[name] if name in direction else value for name, value in point.items()
    }


def _sides(schedule: Schedule, values: Values) -> list[Array]:
    """For each kink of each op: on which side of the kink each unit is."""
    kinked = [node for node in schedule.graph if node.op.kinks]
    if not kinked:
        return []
    forward = make_schedule(schedule.graph, kinked)
    return [
        np.sign(value - kink)
        for node, value in zip(kinked, _evaluate(forward, values), strict=True)
        for kink in node.op.kinks
    ]


def _distance(found: list[Array], exact: list[Array]) -> float:
    """The largest difference of two lists of arrays, relative to the largest entry of the second."""
    largest = max(float(np.max(np.abs(value))) for value in exact)
    off = max(float(np.max(np.abs(x - y))) for x, y in zip(found, exact, strict=True))
    return off / (largest or 1.0)


def _evaluate(schedule: Schedule, values: Values) -> list[Array]:
    run = Run(schedule)
    run.load(values)
    return [np.array(value) for value in run.iterate()]
