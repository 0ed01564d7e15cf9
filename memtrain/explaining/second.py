"""Second order (exercise 4 of Dive into Deep Learning 5.3): the Hessian times a direction.

The gradient is part of the graph, so the same transformation differentiates it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.cells.cell import Cell
from memtrain.explaining.cost import Work, work_of
from memtrain.explaining.differences import POINT_COUNT, relative_error
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Name, Node, Phase, Role
from memtrain.graph.ops.arithmetic import add, multiply, sum_to
from memtrain.graph.ops.source import Leaf
from memtrain.planning.cost import Rates
from memtrain.planning.liveness import Life, Liveness, analyse
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.units import format_bytes

LARGEST_ERROR = 1e-5
"""A product is wrong if it differs by more than this from the differences, relative to its largest entry."""

MOST_CHECKED_BYTES = 256 * 1024**2
"""A cell whose second-order iteration needs more than this is predicted, not checked."""

TOO_LARGE = f"its iteration needs more than {format_bytes(MOST_CHECKED_BYTES)}"


@dataclass(frozen=True)
class Standing:
    """The arrays of one purpose that are live at a peak."""

    purpose: str
    names: tuple[Name, ...]
    """The names of the arrays."""
    number_count: int
    """The number of further values, which have no dimensions."""
    bytes: int


@dataclass(frozen=True)
class SecondOrder:
    """The Hessian-vector product of a cell beside its gradient."""

    first: Liveness
    second: Liveness
    first_kept: tuple[Node, ...]
    """The arrays of forward that the gradient reads."""
    second_kept: tuple[Node, ...]
    """The arrays of forward and of the gradient that the second derivative reads."""
    first_work: Work
    """The work of forward and gradient."""
    second_work: Work
    """The work of forward, gradient and product."""
    second_standing: tuple[Standing, ...]
    """All arrays that are live at the peak of the product, by purpose."""
    relative_error: float | None
    """The error against central differences of the gradient, in float64; ``None`` if it was not checked."""
    unchecked: str = ""
    """Why the product was not checked; empty if it was checked."""

    @property
    def ok(self) -> bool:
        """Whether no check found the product wrong."""
        return self.relative_error is None or self.relative_error <= LARGEST_ERROR


def second_order(cell: Cell, rates: Rates | None = None) -> SecondOrder:
    """The analysis of ∇(∇J · v) for a seeded direction v, with a check unless the cell is too large.

    ``rates`` give the time; without them only FLOPs are counted.
    """
    first, second, boundaries = _schedules(cell)
    first_liveness, second_liveness = analyse(first), analyse(second)
    small = second_liveness.peak_bytes <= MOST_CHECKED_BYTES
    error = _error(cell.changed(dtype="float64")) if small else None
    unchecked = f"at each of {POINT_COUNT} points, a unit crosses its kink within the smallest step"
    return SecondOrder(
        first=first_liveness,
        second=second_liveness,
        first_kept=_kept(first, boundaries[0]),
        second_kept=_kept(second, boundaries[1]),
        second_standing=_standing(second_liveness, *boundaries),
        first_work=work_of(first, rates),
        second_work=work_of(second, rates),
        relative_error=error,
        unchecked="" if error is not None else unchecked if small else TOO_LARGE,
    )


def _error(cell: Cell) -> float | None:
    first, second, _ = _schedules(cell)
    return relative_error(cell, first, second)


def _schedules(cell: Cell) -> tuple[Schedule, Schedule, tuple[int, int]]:
    """The schedules of gradients and product, and the first node of the gradient and of the product."""
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
    """The part of v for a parameter; it belongs to the block of the parameter."""
    leaf = b.apply(Leaf(Role.INPUT, parameter.shape, parameter.dtype), name=f"v({parameter.name})")
    return b.rename(leaf, leaf.name, f"v({parameter.label})", parameter.scope)


def _dot(b: Builder, left: list[Node], right: list[Node]) -> Node:
    products = [sum_to(b, multiply(b, x, y), ()) for x, y in zip(left, right, strict=True)]
    total = products[0]
    for product in products[1:]:
        total = add(b, total, product)
    return b.rename(total, "g·v")


def _kept(schedule: Schedule, start: int) -> tuple[Node, ...]:
    """The arrays that nodes before ``start`` compute and that nodes from ``start`` on read."""
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
    """The arrays that are live at the peak, by purpose; their bytes add up to the peak."""

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
