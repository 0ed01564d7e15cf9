"""Formulas for micro-batches: a part of a batch is written as a batch, and parts of sums need no name."""

from __future__ import annotations

import re

import pytest

from memtrain.explaining.formulas import Book, symbols
from memtrain.graph.node import Phase
from memtrain.models.mlp import MLP
from memtrain.report.drawing import draw_dot
from memtrain.training.iteration import accumulating


def schedule_of(count, **changes):
    network = MLP.of_sizes(3, (7, 5), 4, bias=True, **changes)
    return accumulating(network, 12, count, "sgd", 0.1)


def gradients(schedule, l2=1e-4):
    """The formulas of the gradients, by parameter."""
    graph = schedule.graph
    book = Book(graph, l2)
    updated = [node for node in graph if node.phase is Phase.UPDATE]
    return {
        graph[node.inputs[0]].name: book.formula(graph[node.inputs[1]]).right
        for node in updated
        if node.op.writes == 0
    }


def without_heads(formula):
    """``formula`` without numerators: ∂L/∂z becomes ∂/∂z. Their names are for people only."""
    return re.sub(r"∂[^ ∂]+?/∂", "∂/∂", formula)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_gradient_is_the_sum_over_the_micro_batches(count):
    found = {name: without_heads(right) for name, right in gradients(schedule_of(count)).items()}
    numbers = range(1, count + 1)
    assert found["b1"] == " + ".join(f"Σ_n ∂/∂z1[{k}]" for k in numbers)
    assert found["b3"] == " + ".join(f"Σ_n ∂/∂o[{k}]" for k in numbers)
    products = [f"∂/∂z1[{k}] x[{k}]ᵀ" for k in numbers]
    assert sorted(found["W1"].split(" + ")) == sorted([*products, "λ W1"])
    products = [f"∂/∂z2[{k}] h1[{k}]ᵀ" for k in numbers]
    assert sorted(found["W2"].split(" + ")) == sorted([*products, "λ W2"])


@pytest.mark.parametrize("activation", ["relu", "gelu", "mish"])
def test_values_of_a_micro_batch_are_written_as_columns(activation):
    graph = schedule_of(2, activation=activation).graph
    book = Book(graph, 1e-4)
    by_name = {node.name: str(book.formula(node)) for node in graph if node.phase is Phase.FORWARD}
    assert by_name["W1 x[2]"] == "W1 x[2] = W1 x[2]"
    assert by_name["h1[2]"] == "h1[2] = φ(z1[2])"
    assert by_name["L[1]/2"] == "L[1]/2 = 0.5 L[1]"
    assert book.shape(graph.named("h1[1]")) == "m1×n/2"
    assert not any("#" in book.formula(node).right for node in graph if node.phase is Phase.FORWARD)
    seeds = [book.formula(node).right for node in graph if node.op.name == "nll_grad"]
    assert seeds == ["−0.5 onehot(y[1])/(n/2)", "−0.5 onehot(y[2])/(n/2)"]
    assert symbols(graph) == {"n": 12, "d": 3, "m1": 7, "m2": 5, "q": 4}


def test_the_reader_of_a_kept_value_is_the_gradient_that_it_is_part_of():
    schedule = schedule_of(3)
    graph = schedule.graph
    book = Book(graph, 1e-4)
    h = graph.named("h1[2]")
    (product,) = (
        node
        for node in graph
        if node.op.name == "matmul" and h.id in node.inputs and node.phase is Phase.BACKWARD
    )
    whole = book.completed(product)
    assert graph.named("W2").shape == whole.shape
    assert book.completed(whole) is whole
    assert "h1[1]ᵀ" in book.formula(whole).right
    assert book.purpose(product, h) == "needs the factor h1[2]ᵀ"


def test_a_drawing_shows_the_share_of_a_micro_batch_as_a_number_and_only_the_regulariser_as_half_lambda():
    for l2 in (1e-4, 1.0):  # for λ = 1, λ/2 is 1/2
        dot = draw_dot(schedule_of(2, l2=l2), backward=True)
        labels = re.findall(r'label="([^"]*)"[^\]]*tooltip="scale"', dot)
        assert sorted(labels) == ["0.5"] * 4 + ["λ/2"] * 2
