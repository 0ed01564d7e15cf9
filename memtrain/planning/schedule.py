"""A schedule: ordered steps. Each computes a node into a buffer and then frees storages."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from memtrain.errors import GraphError
from memtrain.graph.node import Graph, Node, Phase, Role

Computation = tuple[int, Phase]
"""The index of a node to compute, and the phase in which it is computed."""

_ALWAYS = -1
"""The birth of storages that are live at every step."""


@dataclass(frozen=True, slots=True)
class Step:
    """Compute ``node`` into a fresh buffer or into the buffer of its input ``reuse``; then free ``frees``."""

    node: int
    phase: Phase
    reuse: int | None
    frees: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """Steps in order. The ``persistent`` leaves live at all steps, the ``asked`` values until the end.

    The ``held`` values live until the end, too: the program does not ask for them, but refers to them.
    """

    graph: Graph
    steps: tuple[Step, ...]
    asked: tuple[int, ...]
    persistent: tuple[int, ...]
    held: tuple[int, ...] = ()

    @property
    def lasting(self) -> tuple[int, ...]:
        """The computed values that live until the end: those that are asked for, and those that are held."""
        return (*self.asked, *self.held)

    def leaves(self, role: Role) -> list[Node]:
        """The persistent leaves of a role: parameter, optimizer or input."""
        return [self.graph[i] for i in self.persistent if self.graph[i].role == role]


def make_schedule(
    graph: Graph,
    asked: Iterable[Node],
    *,
    eager_updates: bool = False,
    early: Iterable[Node] = (),
    held: Iterable[Node] = (),
) -> Schedule:
    """The schedule that computes ``asked`` in the order of the graph and frees each storage at its last use.

    ``eager_updates`` moves each update to the earliest step at which its inputs are computed and no later
    step reads the value that it overwrites. So its gradient is freed at once, but its workspace is live
    together with the values that backward still holds. The effects of ``early`` are moved in the same way.
    ``held`` are values that live until the end.

    A result takes over the buffer of an input if its op allows this, the storage of the input dies at this
    step, and both have the same shape and type. The input must not be persistent, asked for or a view. The
    node must not read the same storage through a view, or at a position whose buffer the op may not reuse.
    """
    asked_ids = tuple(node.id for node in asked)
    held_ids = tuple(node.id for node in held)
    needed = _ancestors(graph, (*asked_ids, *held_ids))
    moved = {node.id for node in early}
    if eager_updates:
        moved.update(i for i in needed if graph[i].phase is Phase.UPDATE)
    persistent = tuple(i for i in needed if graph[i].role)
    order = [i for i in needed if not graph[i].role]
    if moved:
        order = _with_early(graph, order, moved)

    computations = [(i, graph[i].phase) for i in order]
    return schedule_in_order(graph, computations, asked_ids, persistent, held_ids)


def schedule_in_order(
    graph: Graph,
    order: Sequence[Computation],
    asked: tuple[int, ...],
    persistent: tuple[int, ...],
    held: tuple[int, ...] = (),
) -> Schedule:
    """The schedule that computes ``order`` and frees each storage at its last use.

    A node may occur more than once. A step reads the latest computation of each input, and each storage lives
    until its last read. Raises ``GraphError`` if a step reads a view whose base was recomputed later.
    """
    births = {i: _ALWAYS for i in persistent}  # by node: the step that allocated its present storage
    last_use = [0] * len(order)
    holders: list[list[int]] = [[] for _ in order]  # by birth: the nodes with this storage
    for number, (index, _) in enumerate(order):
        node = graph[index]
        for read in node.inputs:
            if births[read] != _ALWAYS:
                last_use[births[read]] = number
        birth = births[index] = _birth(node, number, births)
        if birth != _ALWAYS:
            last_use[birth] = number
            if index not in holders[birth]:  # a view can be computed again
                holders[birth].append(index)

    dying: list[list[int]] = [[] for _ in order]
    kept = {births[i] for i in (*asked, *held)}
    for birth, number in enumerate(last_use):
        if holders[birth] and birth not in kept:
            dying[number].append(birth)

    steps = []
    births = {i: _ALWAYS for i in persistent}
    for number, (index, phase) in enumerate(order):
        node = graph[index]
        dead = dying[number]
        reuse = _reusable(graph, node, {i for i in node.inputs if births[i] in dead}) if dead else None
        before = births.get(index, _ALWAYS) if node.owns_storage else _ALWAYS
        if before != _ALWAYS and (before in kept or last_use[before] > number):
            raise GraphError(
                f"{node} is recomputed while a later step still reads a view of it; recompute the view, too"
            )
        births[index] = _birth(node, number, births)
        freed = [i for birth in dead for i in holders[birth] if births[i] == birth and i != reuse]
        steps.append(Step(index, phase, reuse, tuple(freed)))
    return Schedule(graph, tuple(steps), asked, persistent, held)


def _birth(node: Node, number: int, births: Mapping[int, int]) -> int:
    """The step that allocated the storage of ``node``, which is computed at step ``number``."""
    return number if node.owns_storage else births[node.inputs[node.op.writes or 0]]


def _ancestors(graph: Graph, asked: Iterable[int]) -> list[int]:
    """The asked values and everything that they depend on, in the order of the graph."""
    wanted = set(asked)
    for index in range(max(wanted, default=-1), -1, -1):
        if index in wanted:
            wanted.update(graph[index].inputs)
    return sorted(wanted)


def _with_early(graph: Graph, order: list[int], early: Container[int]) -> list[int]:
    """``order`` with every effect of ``early`` moved right after the last node for which it must wait."""
    after: dict[int, int] = {}  # by node: itself, or for an early effect the node after which it is moved
    written: dict[int, int] = {}  # by storage: ``after`` of its last writer
    used: dict[int, int] = {}  # by storage: the largest ``after`` of its readers and writers
    for index in order:
        node = graph[index]
        read = [graph[i].storage for i in node.inputs]
        after[index] = index
        if index in early:
            waits_for = [written.get(storage, -1) for storage in read]
            after[index] = max([*waits_for, used.get(node.storage, -1)])
        written[node.storage] = after[index]
        for storage in (node.storage, *read):
            used[storage] = max(used.get(storage, -1), after[index])
    return sorted(order, key=lambda index: (after[index], index))


def _reusable(graph: Graph, node: Node, dying: set[int]) -> int | None:
    """The first input in ``dying`` whose buffer ``node`` may take over; ``None`` if there is none."""
    if not node.owns_storage:
        return None
    for position in node.op.reuses:
        given = graph[node.inputs[position]]
        if (
            given.owns_storage
            and given.id in dying
            and given.shape == node.shape
            and given.dtype == node.dtype
            and all(
                read == given.id and at in node.op.reuses
                for at, read in enumerate(node.inputs)
                if graph[read].storage == given.storage
            )
        ):
            return given.id
    return None
