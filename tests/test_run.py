"""The run against the prediction, the definition of liveness and a naive evaluator, on random graphs."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from random import Random
from typing import Any
from weakref import finalize, ref

import numpy as np
import pytest
from brute_force import (
    brute_force,
    check_presence,
    copies,
    evaluate,
    held_after,
    holder,
    leaf_values,
    retained,
    same_bits,
)
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from memtrain.errors import GraphError
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Builder, Node, Role
from memtrain.graph.node import Phase as Part
from memtrain.graph.ops.activation import Relu, Sigmoid, Tanh
from memtrain.graph.ops.arithmetic import Copy, Exp, Scale, Shift, add, multiply, sum_to
from memtrain.graph.ops.gelu import Gelu, GeluTanh
from memtrain.graph.ops.loss import LogSoftmax, Mse, Nll, SquaredNorm
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import Identity, Slice, reshape, transpose
from memtrain.models.mlp import MLP, build
from memtrain.plan.liveness import analyse
from memtrain.plan.schedule import Schedule, make_schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.train.iteration import inference, training
from memtrain.train.optimizers import OPTIMIZERS, add_updates

EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)

# -- random programs ---------------------------------------------------------------------------------


class Program(Schedule):
    """A schedule that a failure shows as one line per step."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        lines = [
            f"{step.node} {step.phase} {self.graph[step.node]} reads {self.graph[step.node].inputs}, "
            f"reuses {step.reuse}, frees {step.frees}"
            for step in self.steps
        ]
        printer.text("\n".join(["", *lines, f"asked {self.asked}, persistent {self.persistent}"]))


UNARY = (Relu, Tanh, Sigmoid, Gelu, GeluTanh, Identity, Copy, lambda: Scale(-0.5), lambda: Shift(0.25))
FAMILIES = ("unary", "unary", "unary", "exp", "binary", "binary", "matmul", "view", "view", "sum", "rows")


@dataclass
class Grower:
    """Appends random nodes to a graph; ``pool`` is what they may read."""

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
        family = self.rng.choice(FAMILIES)
        self.pool.append(getattr(self, family)(self.pick()))

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
    """A random forward graph, perhaps its gradients, perhaps theirs, perhaps updates; asked at random."""
    rng, b = Random(seed), Builder()
    grower = Grower(rng, b, np.dtype(rng.choice(("float32", "float64"))))
    for _ in range(rng.randint(1, 2)):
        grower.leaf(tuple(rng.randint(1, 4) for _ in range(rng.randint(0, 3))))
    for _ in range(size):
        grower.grow()
    grower.pool.append(b.apply(Copy(), grower.pool[-1]))
    order = rng.choice((0, 1, 1, 1, 2))
    leaves = [x for x in grower.pool if not x.inputs]
    leaves = rng.sample(leaves, rng.randint(1, len(leaves)))
    gradients: list[Node] = []
    if order:
        gradients = gradient(b, _number(b, [grower.pool[-1], grower.pick(), grower.pick()]), leaves)
    if order == 2:
        gradients = gradient(b, _number(b, gradients), leaves)
    wanted = gradients or [grower.pool[-1]]
    values = [node for node in b.nodes if node.inputs]
    pairs = [(w, g) for w, g in zip(leaves, gradients, strict=False) if w.op.role is Role.PARAMETER]
    if pairs and grower.coin():
        b.phase = Part.UPDATE
        parameters, slopes = zip(*pairs, strict=True)
        wanted = add_updates(b, rng.choice(OPTIMIZERS), 0.1, parameters, list(slopes))
        written = {holder(b, node.id) for node in wanted}
        values = [node for node in values if holder(b, node.id) not in written]
    schedule = make_schedule(b.graph(), [*rng.sample(values, min(rng.randint(0, 2), len(values))), *wanted])
    return Program(schedule.graph, schedule.steps, schedule.asked, schedule.persistent)


def programs() -> st.SearchStrategy[Program]:
    return st.builds(program, st.integers(0, 2**32 - 1), st.integers(1, 14))


def _number(b: Builder, nodes: list[Node]) -> Node:
    total = sum_to(b, nodes[0], ())
    for node in nodes[1:]:
        total = add(b, total, b.apply(SquaredNorm(), node))
    return total


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(x == y or 1 in (x, y) for x, y in pairs) and prod(np.broadcast_shapes(a, b)) <= 200


# -- what is watched ---------------------------------------------------------------------------------


def outcome(run: Run, leaves: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """Copies of what two iterations were asked for, and of the leaves afterwards."""
    run.load(leaves)
    with np.errstate(all="ignore"):
        found = [[np.array(x) for x in run.iterate()] for _ in range(2)]
    return [*found, [run.value(name).copy() for name in sorted(leaves)]]


class Poisoned(Run):
    """Fills each fresh buffer with rubbish when it is made, and again when the schedule frees it."""

    def iterate(self):
        self.asked_for = []  # a view that was asked for is still read when the run is over
        return super().iterate()

    def _execute(self, call):
        super()._execute(call)
        if call.node in {holder(self.schedule.graph, i) for i in self.schedule.asked}:
            self.asked_for.append(self._values[call.node])

    def _empty(self, shape, dtype, role):
        memory = np.empty(shape, dtype)
        array = memory.view()  # views of it do not keep it alive, so that a freed base shows in them
        _spoil(memory)
        finalize(array, _spoil, memory)
        return array


def _spoil(memory: np.ndarray) -> None:
    memory.fill({"f": np.nan, "b": True}.get(memory.dtype.kind, 77))


class Watched(Run):
    """After each step, asks weak references which values live, and compares with the definition."""

    def iterate(self):
        self.place, self.references = -1, {}
        return super().iterate()

    def _execute(self, call):
        super()._execute(call)
        self.place += 1
        self.references.pop(call.reuse, None)
        if call.role is not None and self._values[call.node] is not None:
            self.references[call.node] = ref(self._values[call.node])
        alive = {i for i, reference in self.references.items() if reference() is not None}
        expected = held_after(self.schedule, self.place) - set(self.schedule.persistent)
        assert alive == expected, f"after step {self.place}"


# -- properties --------------------------------------------------------------------------------------


@EXAMPLES
@given(programs())
def test_prediction_definition_and_ledger_agree_on_random_graphs(schedule):
    truth, predicted, ledger = brute_force(schedule), analyse(schedule), Ledger()
    assert list(predicted.live_bytes) == truth.live_bytes
    outcome(Run(schedule, ledger), leaf_values(schedule, 1))
    assert predicted.peak_bytes == truth.peak_bytes == ledger.peak_bytes
    assert predicted.peak_step == truth.peak_step == ledger.peak_step
    assert predicted.peak_role_bytes == truth.peak_role_bytes == ledger.peak_role_bytes
    assert {node.id for node in predicted.retained} == retained(schedule)


@EXAMPLES
@given(programs())
def test_no_storage_is_freed_or_reused_while_a_later_step_reads_it(schedule):
    check_presence(schedule)
    leaves = leaf_values(schedule, 2)
    found = outcome(Run(schedule), leaves)
    state = copies(leaves)
    with np.errstate(all="ignore"):
        expected = [evaluate(schedule, state) for _ in range(2)]
    expected.append([state[name] for name in sorted(leaves)])
    for got, wanted in zip(found, expected, strict=True):
        assert same_bits(got, wanted)


@EXAMPLES
@given(programs())
def test_rubbish_in_fresh_and_freed_buffers_changes_no_bit(schedule):
    leaves = leaf_values(schedule, 3)
    for got, wanted in zip(outcome(Poisoned(schedule), leaves), outcome(Run(schedule), leaves), strict=True):
        assert same_bits(got, wanted)


@EXAMPLES
@given(programs())
def test_every_array_dies_at_its_step_on_random_graphs(schedule):
    outcome(Watched(schedule), leaf_values(schedule, 4))


REACHED = {
    "a reused buffer": lambda s: any(step.reuse is not None for step in s.steps),
    "a view whose base is computed": lambda s: any(
        s.graph[step.node].op.is_view and holder(s.graph, step.node) not in s.persistent for step in s.steps
    ),
    "a retained value": retained,
    "an update": lambda s: s.steps[-1].phase is Part.UPDATE,
    "Adam after second order": lambda s: len(s.leaves(Role.OPTIMIZER)) > 1 and len(s.steps) > 60,
}


@pytest.mark.parametrize("what", REACHED)
def test_the_random_graphs_reach(what):
    generate = settings(EXAMPLES, phases=[Phase.generate], max_examples=500)
    assert find(programs(), lambda schedule: bool(REACHED[what](schedule)), settings=generate)


# -- the book's network ------------------------------------------------------------------------------

NETWORKS = [
    MLP(batch=6, input_size=4, hidden=(5, 5), output_size=3),
    MLP(batch=3, input_size=4, hidden=(5, 7), output_size=2, activation="gelu", bias=True),
    MLP(batch=5, input_size=4, hidden=(5,), output_size=5, activation="identity", l2=0.0),
    MLP(batch=1, input_size=1, hidden=(1, 1), output_size=1, bias=True, loss="mean_squared_error"),
    MLP(batch=300, input_size=64, hidden=(200, 100), output_size=10, activation="tanh", dtype="float64"),
    MLP(batch=7, input_size=3, hidden=(), output_size=4),
]


def schedules(spec: MLP) -> list[Schedule]:
    return [inference(build(spec)), *(training(build(spec), optimizer, 0.01) for optimizer in OPTIMIZERS)]


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_prediction_definition_and_ledger_agree_on_the_books_network(spec):
    for schedule in schedules(spec):
        truth, predicted, ledger = brute_force(schedule), analyse(schedule), Ledger()
        outcome(Run(schedule, ledger), leaf_values(schedule, 5))
        assert predicted.peak_bytes == truth.peak_bytes == ledger.peak_bytes
        assert predicted.peak_step == truth.peak_step == ledger.peak_step
        assert predicted.peak_role_bytes == truth.peak_role_bytes == ledger.peak_role_bytes


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_after_forward_exactly_the_retained_arrays_live_and_each_dies_at_its_step(spec):
    for schedule in schedules(spec):
        outcome(Watched(schedule), leaf_values(schedule, 6))


# -- errors ------------------------------------------------------------------------------------------


def test_a_leaf_of_the_wrong_shape_is_refused_by_name():
    run = Run(inference(build(NETWORKS[0])))
    with pytest.raises(GraphError, match=r"W2.*\[5, 5\].*\[5, 4\]"):
        run.load({"W2": np.zeros((5, 4), np.float32)})


def test_a_batch_of_the_wrong_shape_is_refused_by_name():
    run = Run(inference(build(NETWORKS[0])))
    run.load({})
    with pytest.raises(GraphError, match=r"x.*\[6, 4\].*\[7, 4\]"):
        run.feed({"x": np.zeros((7, 4), np.float32)})


def test_a_run_without_leaves_says_to_load_them():
    with pytest.raises(GraphError, match=r"x leaf.*load the leaves first"):
        Run(inference(build(NETWORKS[0]))).iterate()
