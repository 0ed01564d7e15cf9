"""Second order (exercise 4 of Dive into Deep Learning 5.3): the Hessian times a direction.

The gradient is part of the graph, so the same transformation differentiates it again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memtrain.cells.cell import Cell
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Name, Node, Phase, Role
from memtrain.graph.ops.arithmetic import add, multiply, sum_to
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.source import Leaf
from memtrain.measure.workload import batches
from memtrain.planning.liveness import Life, Liveness, analyse
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.run.executor import Run
from memtrain.training.optimizers import ITERATION

_STEPS = (1e-6, 1e-8, 1e-10)
"""Steps of the central difference. A smaller step crosses fewer kinks and rounds worse, so the smallest error
counts; a wrong product is wrong at every step."""

_POINT_COUNT, _MOVED = 20, 1e-3
"""The number of points that are tried, and their distance from the initial values. The initial values cannot
be used: biases are 0 there, so a unit without a positive input is exactly at its kink."""

LARGEST_ERROR = 1e-5
"""A product further than this from the differences, relative to its largest entry, is wrong."""

MOST_CHECKED_BYTES = 256 * 1024**2
"""A cell whose second-order iteration needs more than this is predicted, not checked."""


@dataclass(frozen=True)
class Standing:
    """The arrays at a peak that serve one purpose."""

    purpose: str
    names: tuple[Name, ...]
    """The names of the arrays."""
    number_count: int
    """The number of values without dimensions beside them."""
    bytes: int


@dataclass(frozen=True)
class SecondOrder:
    """The Hessian-vector product of a cell beside its gradient."""

    first: Liveness
    second: Liveness
    first_kept: tuple[Node, ...]
    """The values of the forward pass that the first derivative reads."""
    second_kept: tuple[Node, ...]
    """The values of forward and of the first derivative that the second derivative reads."""
    second_standing: tuple[Standing, ...]
    """All arrays at the peak of the product, by purpose."""
    relative_error: float | None
    """The error against central differences of the gradient in float64; ``None`` if it was not checked."""
    unchecked: str = ""
    """Why it was not checked; empty where it was."""

    @property
    def ok(self) -> bool:
        """Whether the check, if made, found the product right."""
        return self.relative_error is None or self.relative_error <= LARGEST_ERROR


def second_order(cell: Cell) -> SecondOrder:
    """Build, analyse and, where it is not too large, check ∇(∇J · v) for a seeded direction v."""
    first, second, boundaries = _schedules(cell)
    first_liveness, second_liveness = analyse(first), analyse(second)
    small = second_liveness.peak_bytes <= MOST_CHECKED_BYTES
    error = _error(cell.changed(dtype="float64")) if small else None
    unchecked = f"at each of {_POINT_COUNT} points a unit changes sides within the smallest step"
    return SecondOrder(
        first=first_liveness,
        second=second_liveness,
        first_kept=_kept(first, boundaries[0]),
        second_kept=_kept(second, boundaries[1]),
        second_standing=_standing(second_liveness, *boundaries),
        relative_error=error,
        unchecked="" if error is not None else unchecked if small else "it is too large",
    )


def _schedules(cell: Cell) -> tuple[Schedule, Schedule, tuple[int, int]]:
    """The schedules that ask for the gradients and for the product, and where each backward begins."""
    model = cell.network.build(cell.batch)
    b = model.builder
    first_start = len(b.nodes)
    gradients = gradient(b, model.objective, model.trainable)
    with b.phase(Phase.BACKWARD):
        product = _dot(b, gradients, [_direction(b, parameter) for parameter in model.trainable])
    second_start = len(b.nodes)
    products = gradient(b, product, model.trainable)
    graph = b.graph()
    return (
        make_schedule(graph, [model.objective, *gradients]),
        make_schedule(graph, products),
        (first_start, second_start),
    )


def _direction(b: Builder, parameter: Node) -> Node:
    return b.apply(Leaf(Role.INPUT, parameter.shape, parameter.dtype), name=f"v({parameter.name})")


def _dot(b: Builder, left: list[Node], right: list[Node]) -> Node:
    products = [sum_to(b, multiply(b, x, y), ()) for x, y in zip(left, right, strict=True)]
    total = products[0]
    for product in products[1:]:
        total = add(b, total, product)
    return b.rename(total, "g·v")


def _kept(schedule: Schedule, start: int) -> tuple[Node, ...]:
    """Storages made before node ``start`` that a later step reads."""
    graph = schedule.graph
    read = {
        graph[i].storage for step in schedule.steps if step.node >= start for i in graph[step.node].inputs
    }
    return tuple(
        graph[step.node]
        for step in schedule.steps
        if step.node < start and step.node in read and graph[step.node].shape
    )


def _standing(liveness: Liveness, first_start: int, second_start: int) -> tuple[Standing, ...]:
    """The arrays at the peak, by purpose; their bytes add up to the peak."""

    def purpose(life: Life) -> str:
        node = life.node
        if life.role is Role.PARAMETER:
            return "parameters"
        if life.role is Role.INPUT:
            return "batch" if node.id < first_start else "direction v"
        if node.id < first_start:
            return "kept from forward"
        return "kept from the gradient" if node.id < second_start else "of the product itself"

    found: dict[str, list[Node]] = {}
    for life in liveness.lives:
        if life.born_step <= liveness.peak_step <= life.freed_step:
            found.setdefault(purpose(life), []).append(life.node)
    standing = [
        Standing(
            name,
            tuple(node.called for node in nodes if node.shape),
            sum(not node.shape for node in nodes),
            sum(node.nbytes for node in nodes),
        )
        for name, nodes in found.items()
    ]
    if workspace := liveness.peak_role_bytes[Role.WORKSPACE]:
        standing.append(Standing("workspace", (), 0, workspace))
    return tuple(standing)


def _error(cell: Cell) -> float | None:
    """The relative error of the product at the first point where a difference can check it.

    If a unit crosses its kink within the step, the gradient jumps and the difference is not a derivative.
    ``None`` if that happens at every point that is tried.
    """
    first, second, _ = _schedules(cell)
    start = cell.network.initial_values(cell.seed)
    rng = np.random.default_rng([cell.seed, 2])
    direction = {name: rng.standard_normal(value.shape) for name, value in start.items()}
    batch = {name: value for name, value in next(batches(cell)).items() if name != ITERATION}
    vector = {f"v({name})": value for name, value in direction.items()}
    for _ in range(_POINT_COUNT):
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
