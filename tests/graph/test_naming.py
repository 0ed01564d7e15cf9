"""Names: unique in a graph, as in the book for cotangents, and with the scope of their value."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from brute_force import program
from examples import leaf

from memtrain.cells.cell import cell_of
from memtrain.explaining import second as explain_second
from memtrain.explaining.second import second_order
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Block, Phase
from memtrain.graph.ops.activation import Tanh
from memtrain.graph.ops.arithmetic import add, multiply, sum_to
from memtrain.graph.ops.gelu import Gelu
from memtrain.graph.ops.loss import SquaredNorm
from memtrain.graph.ops.matmul import matmul


def repeated(nodes):
    return {name: count for name, count in Counter(node.name for node in nodes).items() if count > 1}


@pytest.mark.no_cover
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_no_two_nodes_of_an_iteration_have_one_name(activation):
    for bias, accumulate, l2, optimizer, depth in product(
        (False, True), (1, 2, 3, 6), (0.0, 1e-4), ("sgd", "adam"), (0, 1, 4)
    ):
        cell = cell_of(
            depth=depth,
            width=4,
            batch=6,
            activation=activation,
            bias=bias,
            accumulate=accumulate,
            l2=l2,
            optimizer=optimizer,
        )
        assert not repeated(cell.schedule("train").graph)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("bias", [False, True])
def test_no_two_nodes_of_a_second_derivative_have_one_name(activation, bias, monkeypatch):
    monkeypatch.setattr(explain_second, "MOST_CHECKED_BYTES", 0)
    for depth in (0, 1, 3):
        second = second_order(cell_of(depth=depth, width=4, activation=activation, bias=bias)).second
        assert not repeated(second.schedule.graph)


@pytest.mark.parametrize("seed", range(200))
def test_no_two_nodes_of_a_random_graph_have_one_name(seed):
    assert not repeated(program(seed, 1 + seed % 20).graph)


def test_what_is_built_a_second_time_is_numbered_and_leaves_keep_their_names():
    b = Builder()
    x = leaf(b, "x", (3,))
    norm = b.apply(SquaredNorm(), x, name="S")
    first, second = (gradient(b, norm, [x])[0] for _ in range(2))
    again = b.apply(Tanh(), x, name="x")
    graph = b.graph()
    assert [graph[node.id].name for node in (x, first, second, again)] == [
        *("x", "∂S/∂x", "∂S/∂x (2)", "x (2)")
    ]
    assert [graph[node.id].label for node in (first, second)] == ["∂S/∂x"] * 2
    assert [node.name for node in b.graph()] == [node.name for node in graph]


def names_of_backward(**options):
    graph = cell_of(depth=2, width=4, batch=6, **options).schedule("train").graph
    return [node.name for node in graph if node.phase is Phase.BACKWARD]


def test_the_cotangents_of_a_network_have_the_names_of_the_book():
    assert names_of_backward(bias=True) == [
        *("∂J/∂J", "∂s/∂‖W1…W3‖²", "∂L/∂logp"),
        *("∂L/∂o", "∂L/∂b3", "∂L/∂W3", "∂J/∂W3", "∂L/∂h2"),
        *("∂L/∂z2", "∂L/∂b2", "∂L/∂W2", "∂J/∂W2", "∂L/∂h1"),
        *("∂L/∂z1", "∂L/∂b1", "∂L/∂W1", "∂J/∂W1"),
    ]
    assert names_of_backward(l2=0.0) == [
        *("∂L/∂L", "∂L/∂logp", "∂L/∂o", "∂L/∂W3", "∂L/∂h2"),
        *("∂L/∂z2", "∂L/∂W2", "∂L/∂h1", "∂L/∂z1", "∂L/∂W1"),
    ]


def test_the_sums_over_micro_batches_are_named_by_what_they_already_hold():
    names = [name for name in names_of_backward(accumulate=2) if name.endswith("W2")]
    assert names == ["∂L[1]/2/∂W2", "∂L[2]/2/∂W2", "sum with ∂L[2]/2/∂W2", "∂J/∂W2"]
    names = [name for name in names_of_backward(accumulate=3, l2=0.0) if name.endswith("W2")]
    assert names == ["∂L[1]/3/∂W2", "∂L[2]/3/∂W2", "∂J[1…2]/∂W2", "∂L[3]/3/∂W2", "∂J/∂W2"]


def test_sums_before_the_last_part_say_which_parts_they_hold():
    b = Builder()
    x = leaf(b, "x", (3,))
    h = b.apply(Tanh(), x, name="h")
    total = sum_to(b, h, ())
    for k in (1, 2, 3):
        term = b.apply(SquaredNorm(), multiply(b, h, leaf(b, f"w{k}", (3,))))
        total = add(b, total, term, name="S" if k == 3 else None)
    gradient(b, total, [x])
    names = [node.name for node in b.graph() if node.name.endswith("∂S/∂h")]
    assert [name for name in names if name.startswith("parts")] == [
        "parts 1…2 of ∂S/∂h",
        "parts 1…3 of ∂S/∂h",
    ]
    assert [names[0], names[-1]] == ["part 1 of ∂S/∂h", "∂S/∂h"]
    assert {"part 2 of ∂S/∂h", "part 3 of ∂S/∂h"} <= set(names)


def test_a_cotangent_stands_in_the_block_of_its_value_and_what_helps_in_that_of_the_rule():
    b = Builder()
    x, w = leaf(b, "x", (2, 3)), leaf(b, "w", (3, 3))
    value = x
    for k in (1, 2):
        with b.block("block", k):
            value = b.apply(Gelu(), matmul(b, value, w, name=f"z{k}"), name=f"h{k}", label="h")
    loss = b.apply(SquaredNorm(), value, name="L")
    (slope,) = gradient(b, loss, [w])
    graph = b.graph()
    first, second = (Block("block", 1),), (Block("block", 2),)
    for k, scope in ((1, first), (2, second)):
        assert graph.named(f"∂L/∂h{k}").scope == scope
        assert graph.named(f"∂L/∂h{k}").label == "∂L/∂h"
        assert graph.named(f"∂L/∂z{k}").scope == scope
    assert slope.scope == graph.named("part 1 of ∂L/∂w").scope == ()
    assert graph.named("part 2 of ∂L/∂w").scope == ()  # from the second reader of w, which is in block 1
    gradient(b, sum_to(b, multiply(b, slope, slope), ()), [x])
    helpers = [node for node in b.nodes[len(graph) :] if node.name == f"{node.op.name}#{node.id}"]
    assert {node.scope for node in helpers if node.op.name == "exp"} == {first, second}
    assert b.scope == ()


def test_a_part_that_waited_is_built_in_the_block_of_its_rule():
    b = Builder()
    x = leaf(b, "x", (3,))
    with b.block("first"):
        h = b.apply(Tanh(), x, name="h")
    with b.block("second"):
        norms = [b.apply(SquaredNorm(), h) for _ in range(2)]
    gradient(b, add(b, *norms, name="S"), [x])
    graph = b.graph()
    (helper,) = [node for node in graph if node.op.name == "multiply"]
    assert list(map(str, helper.scope)) == ["second"]
    assert list(map(str, graph.named("∂S/∂h").scope)) == ["first"]
