"""A brute-force oracle of liveness, computed from the definitions alone, and random graphs to test it on.

The definitions read neither ``Node.storage`` nor ``Step.frees`` nor ``memtrain.planning.liveness``. A value
is held while a later step reads it or a view of it, if it was asked for, or if it is persistent. Each
computation of a node gives another value, and a step reads the latest one. Only ``check_presence`` follows
the frees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from random import Random
from typing import Any

import numpy as np
import random_layers
from hypothesis import strategies as st

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.inference import effects
from memtrain.graph.node import Graph, Node, Phase, Role
from memtrain.graph.ops.activation import Relu, Sigmoid, Tanh
from memtrain.graph.ops.arithmetic import Copy, Exp, Scale, Shift, add, multiply, sum_to
from memtrain.graph.ops.gelu import Gelu, GeluTanh
from memtrain.graph.ops.loss import Mse, Nll, SquaredNorm
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.softmax import LogSoftmax
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import Identity, Slice, reshape, transpose
from memtrain.planning.schedule import Schedule, make_schedule, schedule_in_order
from memtrain.training.keeping import stored
from memtrain.training.optimizers import OPTIMIZERS, add_updates


@dataclass(frozen=True)
class Truth:
    live_bytes: list[int]
    peak_step: int
    peak_role_bytes: dict[Role, int]

    @property
    def peak_bytes(self) -> int:
        return max(self.live_bytes)


Made = tuple[int, int]
"""A value with bytes of its own: its node, and the step that computed it (−1 for a persistent leaf)."""


@dataclass(frozen=True)
class History:
    """For each step: the values that it reads, the value that holds its result, and the one it takes over."""

    reads: list[set[Made]]
    gives: list[Made]
    takes: list[Made | None]
    wanted: set[Made]
    """The values that exist at the end: asked values, held ones, and persistent leaves."""


def holder(graph: Graph, index: int) -> int:
    """The value whose bytes ``index`` has: the base of a view, the target of an update, or ``index``."""
    op = graph[index].op
    while op.is_view or op.writes is not None:
        index = graph[index].inputs[op.writes or 0]
        op = graph[index].op
    return index


def bytes_of(graph: Graph, index: int) -> int:
    return prod(graph[index].shape) * graph[index].dtype.itemsize


def history(schedule: Schedule) -> History:
    now: dict[int, Made] = {i: (i, -1) for i in schedule.persistent}
    found = History([], [], [], set())
    for place, step in enumerate(schedule.steps):
        node = schedule.graph[step.node]
        found.reads.append({now[i] for i in node.inputs})
        found.takes.append(None if step.reuse is None else now[step.reuse])
        shares = node.op.is_view or node.op.writes is not None
        now[step.node] = now[node.inputs[node.op.writes or 0]] if shares else (step.node, place)
        found.gives.append(now[step.node])
    found.wanted.update(now[i] for i in (*schedule.asked, *schedule.held, *schedule.persistent))
    return found


def held_after(schedule: Schedule, place: int) -> set[int]:
    """Values with bytes of their own that must be held after step ``place``."""
    return {index for index, _ in _held_after(history(schedule), place)}


def _held_after(past: History, place: int) -> set[Made]:
    return (_wanted_after(past, place) & _made(past, place)) - _taken(past, place)


def _held_during(past: History, place: int) -> set[Made]:
    """Values that must be held while step ``place`` runs, including its inputs and its output."""
    wanted = _wanted_after(past, place) | past.reads[place] | {past.gives[place]}
    return (wanted & _made(past, place)) - _taken(past, place)


def _wanted_after(past: History, place: int) -> set[Made]:
    return past.wanted.union(*past.reads[place + 1 :])


def _made(past: History, place: int) -> set[Made]:
    return {made for made in (*past.wanted, *past.gives[: place + 1]) if made[1] <= place}


def _taken(past: History, place: int) -> set[Made]:
    """Values whose buffers other values have taken over by step ``place``."""
    return {made for made in past.takes[: place + 1] if made is not None}


def retained(schedule: Schedule) -> set[int]:
    """Forward values that a step of another phase reads or that are held, except asked values and leaves."""
    return _read_elsewhere(schedule, Phase.FORWARD)


def recomputed(schedule: Schedule) -> set[int]:
    """Recomputed values that a step of another phase reads or that are held, except asked values."""
    return _read_elsewhere(schedule, Phase.RECOMPUTE)


def _read_elsewhere(schedule: Schedule, phase: Phase) -> set[int]:
    past = history(schedule)
    return {index for index, place in _crossing(schedule, past) if schedule.steps[place].phase is phase}


def _crossing(schedule: Schedule, past: History) -> set[Made]:
    """Intermediates of forward or recomputation that a step of another phase reads, or that are held."""
    steps = schedule.steps
    asked = {holder(schedule.graph, i) for i in schedule.asked}
    held = {holder(schedule.graph, i) for i in schedule.held} - asked
    phases = {Phase.FORWARD, Phase.RECOMPUTE}
    computed = {made for made in past.wanted if made[0] in held and made[1] >= 0}
    return {(i, place) for i, place in computed if steps[place].phase in phases} | {
        (index, place)
        for reader, reads in zip(steps, past.reads, strict=True)
        for index, place in reads
        if place >= 0
        and index not in asked
        and steps[place].phase in phases
        and reader.phase is not steps[place].phase
    }


def gradients(schedule: Schedule) -> set[int]:
    """Backward values that an update reads, and backward values that were in their buffers before."""
    graph = schedule.graph
    found = {
        holder(graph, i)
        for step in schedule.steps
        if step.phase is Phase.UPDATE
        for i in graph[step.node].inputs
        if graph[i].phase is Phase.BACKWARD
    }
    before = {step.node: step.reuse for step in schedule.steps if step.reuse is not None}
    for index in list(found):
        while (index := before.get(index)) is not None and graph[index].phase is Phase.BACKWARD:
            found.add(index)
    return found


def brute_force(schedule: Schedule) -> Truth:
    """The live bytes of each step, and the bytes by role at the first step with the most."""
    graph, past = schedule.graph, history(schedule)
    live_bytes, peak_step, peak_roles = [], 0, {}
    kept, grads = _crossing(schedule, past), gradients(schedule)
    role_in = {Phase.FORWARD: Role.RETAINED, Phase.RECOMPUTE: Role.RECOMPUTED}
    for place, step in enumerate(schedule.steps):
        role_bytes = dict.fromkeys(Role, 0)
        for index, born in _held_during(past, place):
            if isinstance(graph[index].op, Leaf):
                role = graph[index].op.role
            elif index in grads:
                role = Role.GRADIENT
            else:
                role = role_in[schedule.steps[born].phase] if (index, born) in kept else Role.TRANSIENT
            role_bytes[role] += bytes_of(graph, index)
        node = graph[step.node]
        for count, dtype in node.op.workspace(*[graph[i] for i in node.inputs]):
            role_bytes[Role.WORKSPACE] += count * dtype.itemsize
        live_bytes.append(sum(role_bytes.values()))
        if live_bytes[-1] > live_bytes[peak_step] or place == 0:
            peak_step, peak_roles = place, role_bytes
    return Truth(live_bytes, peak_step, peak_roles)


def check_presence(schedule: Schedule) -> None:
    """Follow frees and reuses: the inputs of each step must be present, and nothing else may be left over.

    A value is present if the bytes of its latest computation are held.
    """
    graph, past = schedule.graph, history(schedule)
    there: dict[int, Made] = {i: (i, -1) for i in schedule.persistent}  # by value: its bytes
    alive = set(there.values())
    for place, step in enumerate(schedule.steps):
        node = graph[step.node]
        for i in node.inputs:
            assert i in there, f"{node} reads {graph[i]}, which is gone"
            assert there[i] in alive, f"{node} reads {graph[i]}, whose base is gone"
            assert there[i] == there.get(holder(graph, i)), (
                f"{node} reads {graph[i]}, whose base is computed again"
            )
        if step.reuse is not None:
            assert there[step.reuse] in alive, (
                f"{node} takes the buffer of {graph[step.reuse]}, which is gone"
            )
            alive.remove(there[step.reuse])
            there = {i: made for i, made in there.items() if made in alive}
        there[step.node] = past.gives[place]
        alive.add(past.gives[place])
        for i in step.frees:
            made = there.pop(i, None)  # a view ends with a buffer that was taken over
            if holder(graph, i) == i:
                alive.remove(made)
    assert set(schedule.asked) <= there.keys()
    assert {there[i] for i in there} == alive == past.wanted


# -- random programs ---------------------------------------------------------------------------------


class Program(Schedule):
    """A schedule that is printed as one line per step, for messages of failed tests."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        lines = [
            f"{step.node} {step.phase} {self.graph[step.node]} reads {self.graph[step.node].inputs}, "
            f"reuses {step.reuse}, frees {step.frees}"
            for step in self.steps
        ]
        printer.text(
            "\n".join(["", *lines, f"asked {self.asked}, held {self.held}, persistent {self.persistent}"])
        )


UNARY = (Relu, Tanh, Sigmoid, Gelu, GeluTanh, Identity, Copy, lambda: Scale(-0.5), lambda: Shift(0.25))
PRIMITIVES = ("unary", "unary", "unary", "exp", "binary", "binary", "matmul", "view", "view", "sum", "rows")


@dataclass
class Grower:
    """Appends random nodes to a graph. They read nodes of ``pool``."""

    rng: Random
    b: Builder
    dtype: np.dtype
    pool: list[Node] = field(default_factory=list)

    def coin(self) -> bool:
        return self.rng.random() < 0.5

    def leaf(self, shape: tuple[int, ...]) -> Node:
        role = self.rng.choice((Role.PARAMETER, Role.PARAMETER, Role.INPUT))
        node = self.b.apply(Leaf(role, shape, self.dtype), name=f"leaf{len(self.b.nodes)}")
        self.pool.append(node)
        return node

    def pick(self) -> Node:
        return self.rng.choice(self.pool[-4:] if self.coin() else self.pool)

    def grow(self) -> None:
        """Append a primitive op, or for every third node a layer of a network."""
        x = self.pick()
        if self.rng.random() < 1 / 3:
            self.pool.append(random_layers.layer(self, x))
        else:
            self.pool.append(getattr(self, self.rng.choice(PRIMITIVES))(x))

    def unary(self, x: Node) -> Node:
        return self.b.apply(self.rng.choice(UNARY)(), x)

    def exp(self, x: Node) -> Node:
        return self.b.apply(Exp(), self.b.apply(Tanh(), x))

    def binary(self, x: Node) -> Node:
        if self.coin():
            other = self.rng.choice([y for y in self.pool if _broadcast(x.shape, y.shape)])
        else:  # a leaf that is broadcast, or that broadcasts x
            kept = x.shape[self.rng.randint(0, len(x.shape)) :]
            lead = (2,) if kept == x.shape and len(kept) < 3 and self.coin() else ()
            other = self.leaf(lead + tuple(size if self.coin() else 1 for size in kept))
        return self.rng.choice((add, multiply))(self.b, *((x, other) if self.coin() else (other, x)))

    def matmul(self, x: Node) -> Node:
        if not x.shape:
            return self.b.apply(SquaredNorm(), x)
        ta, tb, columns = len(x.shape) > 1 and self.coin(), self.coin(), self.rng.randint(1, 3)
        inner = x.shape[-2 if ta else -1]
        if len(x.shape) == 2 and self.coin():
            other, tb = x, not ta  # x xᵀ, or xᵀ x
        else:
            other = self.leaf((columns, inner) if tb else (inner, columns))
        return matmul(self.b, x, other, transpose_a=ta, transpose_b=tb)

    def view(self, x: Node) -> Node:
        kind = self.rng.choice(("transpose", "reshape", "slice"))
        if kind == "transpose" or not x.shape:
            return transpose(self.b, x, tuple(self.rng.sample(range(len(x.shape)), len(x.shape))))
        if kind == "reshape":
            return reshape(self.b, x, self.rng.choice(((x.size,), (1, x.size), (x.size, 1), x.shape[::-1])))
        starts = tuple(self.rng.randrange(size) for size in x.shape)
        stops = tuple(self.rng.randint(a + 1, size) for a, size in zip(starts, x.shape, strict=True))
        return self.b.apply(Slice(starts, stops), x)

    def sum(self, x: Node) -> Node:
        kept = x.shape[self.rng.randint(0, len(x.shape)) :]
        return sum_to(self.b, x, tuple(size if self.coin() else 1 for size in kept))

    def rows(self, x: Node) -> Node:
        if not x.shape or self.coin():
            return self.b.apply(Mse(), x, self.leaf(x.shape))
        logp = self.b.apply(LogSoftmax(), x)
        if x.shape[-1] < 2:
            return logp
        self.pool.append(logp)
        labels = Leaf(Role.INPUT, x.shape[:-1], np.dtype(np.int64))
        return self.b.apply(Nll(), logp, self.b.apply(labels, name=f"labels{len(self.b.nodes)}"))


def program(seed: int, size: int) -> Program:
    """A random schedule: a forward graph, possibly with gradients, second gradients and updates.

    Its asked values are random, too.
    """
    rng, b = Random(seed), Builder()
    grower = Grower(rng, b, np.dtype(rng.choice(("float32", "float64"))))
    for _ in range(rng.randint(1, 2)):
        grower.leaf(tuple(rng.randint(1, 4) for _ in range(rng.randint(0, 3))))
    for _ in range(size):
        grower.grow()
    grower.pool.append(b.apply(Copy(), grower.pool[-1]))
    order = rng.choice((0, 1, 1, 1, 2))
    tracked = effects(b.nodes)
    overwritten = {holder(b, node.id) for node in tracked}
    leaves = [x for x in b.nodes if not x.inputs and x.dtype == grower.dtype and x.id not in overwritten]
    leaves = rng.sample(leaves, rng.randint(1, len(leaves)))
    gradients: list[Node] = []
    if order:
        ends = [grower.pool[-1], *(grower.pick() for _ in range(3))]
        gradients = gradient(b, _number(b, ends), leaves)
    if order == 2:
        with b.phase(Phase.BACKWARD):
            total = _number(b, gradients)
        gradients = gradient(b, total, leaves)
    wanted = gradients or [grower.pool[-1]]
    values = [node for node in b.nodes if node.inputs and node not in tracked]
    stores: list[Node] = []
    pairs = [(w, g) for w, g in zip(leaves, gradients, strict=False) if w.op.role is Role.PARAMETER]
    if pairs and grower.coin():
        parameters, slopes = zip(*pairs, strict=True)
        if grower.coin():
            slopes = stores = stored(b, parameters, slopes)
        wanted = add_updates(b, rng.choice(OPTIMIZERS), 0.1, parameters, list(slopes))
        written = {holder(b, node.id) for node in wanted}
        values = [node for node in values if holder(b, node.id) not in written]
    asked = [*rng.sample(values, min(rng.randint(0, 2), len(values))), *tracked, *wanted]
    held = rng.sample(values, min(rng.choice((0, 0, 1, 3)), len(values)))
    schedule = make_schedule(b.graph(), asked, early=stores, held=held)
    return _program(schedule)


def _program(schedule: Schedule) -> Program:
    return Program(schedule.graph, schedule.steps, schedule.asked, schedule.persistent, schedule.held)


def programs() -> st.SearchStrategy[Program]:
    return st.builds(program, st.integers(0, 2**32 - 1), st.integers(1, 20))


def with_repeats(schedule: Schedule, seed: int) -> Program:
    """``schedule`` with random recomputations of forward values, alone or together with their inputs.

    The views of a recomputed value are recomputed with it, so that no step reads an old view. No value is
    recomputed from a leaf that has been updated.
    """
    rng, graph = Random(seed), schedule.graph
    groups = [[(step.node, step.phase)] for step in schedule.steps]  # nothing is inserted inside a group
    for _ in range(rng.randint(1, 4)):
        place = rng.randint(min(1, len(groups)), len(groups))
        done = {index for group in groups[:place] for index, _ in group}
        forward = sorted(i for i in done if graph[i].phase is Phase.FORWARD and not graph[i].op.tracks)
        if not forward:
            continue
        again, share = {rng.choice(forward)}, rng.choice((0.0, 0.5, 1.0))
        for index in reversed(forward):
            if index in again:
                again.update(i for i in graph[index].inputs if i in done and rng.random() < share)
        owners = {i for i in again if holder(graph, i) == i}
        again |= {i for i in done if graph[i].op.is_view and holder(graph, i) in owners}
        written = {holder(graph, i) for i in done if graph[i].op.writes is not None}
        if written.isdisjoint(holder(graph, read) for i in again for read in graph[i].inputs):
            groups.insert(place, [(i, Phase.RECOMPUTE) for i in sorted(again)])
    order = [work for group in groups for work in group]
    changed = schedule_in_order(graph, order, schedule.asked, schedule.persistent, schedule.held)
    return _program(changed)


def _number(b: Builder, nodes: list[Node]) -> Node:
    total = sum_to(b, nodes[0], ())
    for node in nodes[1:]:
        total = add(b, total, b.apply(SquaredNorm(), node))
    return total


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(x == y or 1 in (x, y) for x, y in pairs) and prod(np.broadcast_shapes(a, b)) <= max(
        200, prod(a)
    )
