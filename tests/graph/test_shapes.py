"""Refusals: of inputs that do not fit, with names and shapes, and of graphs that cannot be computed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from examples import (
    compute,
    leaf,
    leaves,
    make,
    parameter,
)

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Graph
from memtrain.graph.ops import activation, arithmetic, loss, matmul, scaled_sum, softmax, update, view
from memtrain.planning.schedule import make_schedule
from memtrain.run.executor import Run

MISFITS = {
    "add": (arithmetic.Add(), "cannot broadcast", (3, 4), (5,)),
    "multiply": (arithmetic.Multiply(), "cannot broadcast", (2, 1), (3, 4)),
    "add_scaled": (scaled_sum.AddScaled(1.0), "one shape", (3, 4), (1,), (3, 4)),
    "sum_to": (arithmetic.SumTo((3,)), r"\[3\] does not broadcast to \[3, 4\]", (3, 4)),
    "broadcast_to": (arithmetic.BroadcastTo((3, 4)), "does not broadcast", (3,)),
    "relu_grad": (activation.ReluGrad(), "one shape", (3, 4), (4, 3)),
    "log_softmax": (softmax.LogSoftmax(), "last axis", ()),
    "nll": (loss.Nll(), "int64 labels", (3, 4), (3,)),
    "nll_grad": (loss.NllGrad((3, 4)), r"labels \[3\]", (), (4,)),
    "mse": (loss.Mse(), "one shape", (3, 4), (3, 1)),
    "mse_grad": (loss.MseGrad(), "without dimensions", (1,), (3, 4), (3, 4)),
    "matmul": (matmul.MatMul(True, False), "transpose_a=True", (3, 4), (4, 5)),
    "matmul of a vector": (matmul.MatMul(), "needs matrices", (4,), (4, 5)),
    "matmul of other stacks": (matmul.MatMul(), "does not fit", (2, 3, 4), (3, 4, 5)),
    "descend": (update.Descend(0.1), "one shape", (3, 4), (4,)),
    "adam_step": (update.AdamStep(0.1, 0.9, 0.9, 0.1), "as a number", (3,), (3,), (3,), (3,)),
    "transpose": (view.Transpose((0, 0)), "each axis", (3, 4)),
    "reshape": (view.Reshape((5, 2)), r"to \[5, 2\]", (3, 4)),
    "slice": (view.Slice((0, 1), (3, 5)), "outside", (3, 4)),
    "slice of nothing": (view.Slice((2,), (2,)), "outside", (3,)),
    "pad": (view.Pad((1,), (3,), (4,)), "does not fit", (3,)),
}


@pytest.mark.parametrize("case", MISFITS)
def test_inputs_that_do_not_fit_are_refused_by_name_and_shape(case):
    op, words, *shapes = MISFITS[case]
    b = Builder()
    nodes = [leaf(b, f"given{i}", shape) for i, shape in enumerate(shapes)]
    with pytest.raises(GraphError, match=words) as caught:
        b.apply(op, *nodes)
    assert op.name in str(caught.value)
    named = [node for node in nodes if f"{node.name} leaf{list(node.shape)}" in str(caught.value)]
    assert named == {"adam_step": nodes[3:], "mse_grad": nodes[:1]}.get(op.name, nodes)
    assert len(b.nodes) == len(nodes)


@pytest.mark.parametrize("name", ["add", "tanh_grad", "add_scaled", "mse", "mse_grad", "matmul", "descend"])
def test_inputs_of_two_types_are_refused(name):
    op, arrays = make(name)
    b = Builder()
    *nodes, last = leaves(b, arrays)
    with pytest.raises(GraphError, match=r"inputs of one type.*float64.*float32"):
        b.apply(op, *nodes, leaf(b, "narrow", last.shape, "float32"))


@pytest.mark.parametrize(
    ("x", "y"), [((2, 3, 4), (5, 6)), ((4,), (5, 6)), ((5, 6), (4,)), ((2, 3, 4), (3, 4, 5))]
)
def test_matmul_names_the_given_nodes_when_they_do_not_fit(x, y):
    b = Builder()
    given = leaf(b, "given_x", x), leaf(b, "given_y", y)
    with pytest.raises(GraphError) as caught:
        matmul.matmul(b, *given)
    for node in given:
        assert f"{node.name} leaf{list(node.shape)}" in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_labels_of_an_accepted_type_are_read(dtype):
    logp = np.log(np.array([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]]))
    y = np.array([2, 1], dtype)
    try:
        loss.Nll().result(*leaves(Builder(), [logp, y]))
    except GraphError:
        assert dtype is not np.int64  # other integers may be refused, but not accepted and then ignored
        return
    assert compute(loss.Nll(), [logp, y]) == pytest.approx(-(math.log(0.5) + math.log(0.6)) / 2)
    np.testing.assert_allclose(compute(loss.NllGrad((2, 3)), [np.array(1.0), y]).sum(1), -0.5)


@pytest.mark.parametrize(("op", "shape"), [(loss.Nll(), (2, 3)), (loss.NllGrad((2, 3)), ())])
def test_labels_that_are_no_integers_are_refused(op, shape):
    b = Builder()
    with pytest.raises(GraphError, match="labels"):
        b.apply(op, leaf(b, "given", shape), leaf(b, "y", (2,)))


def test_reading_a_value_that_an_update_has_overwritten_is_refused():
    b = Builder()
    w, g = parameter(b), leaf(b, "g", (3,))
    flat = view.reshape(b, w, (3, 1))
    arithmetic.scale(b, w, 2.0)  # before the update: allowed
    updated = b.apply(update.Descend(0.1), w, g, name="W′")
    assert updated.storage == w.id
    assert not updated.owns_storage
    again = b.apply(update.Descend(0.1), updated, g, name="W″")
    arithmetic.scale(b, again, 2.0)
    safe = b.graph()
    for stale in (w, flat, updated):
        late = Builder(safe)
        late.apply(arithmetic.Scale(2.0), stale, name="late")
        with pytest.raises(GraphError, match=f"late scale.*reads {stale.name} .*W″ has overwritten"):
            late.graph()


BROKEN = {
    "shape": ({"shape": (4, 3)}, r"z add\[4, 3\] float64 should have the shape \[3, 4\]"),
    "type": ({"dtype": np.dtype(np.float32)}, "z add.*float32 should have .*the type float64"),
    "order": ({"inputs": (0, 2)}, "z add.*not all of them come before"),
    "number": ({"id": 5}, "z add.*has the id 5 at index 2"),
    "storage": ({"storage": 0}, "z add.*storage"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_graph_that_cannot_be_computed_as_it_stands_is_refused(case):
    changes, words = BROKEN[case]
    b = Builder()
    x = leaf(b, "x", (3, 4))
    arithmetic.add(b, x, arithmetic.scale(b, x, 2.0), name="z")
    *before, z = b.graph().nodes
    with pytest.raises(GraphError, match=words):
        Builder(Graph((*before, replace(z, **changes)))).graph()


def test_an_update_through_a_view_whose_bytes_are_not_in_order_is_refused():
    b = Builder()
    turned = view.transpose(b, parameter(b, shape=(2, 3)))
    with pytest.raises(GraphError, match="descend cannot write through"):
        b.apply(update.Descend(0.1), turned, parameter(b, "g", (3, 2)))


def test_two_leaves_of_one_name_are_refused():
    b = Builder()
    parameter(b)
    parameter(b)
    with pytest.raises(GraphError, match="two leaves have the name W"):
        b.graph()


def test_a_size_of_zero_is_refused():
    with pytest.raises(GraphError, match=r"\[0\].*at least 1"):
        parameter(Builder(), shape=(0,))


def test_loading_a_name_that_is_no_leaf_is_refused():
    b = Builder()
    w = parameter(b)
    run = Run(make_schedule(b.graph(), [w]))
    with pytest.raises(GraphError, match="no leaf w; the leaves are W"):
        run.load({"w": np.zeros(3)})
