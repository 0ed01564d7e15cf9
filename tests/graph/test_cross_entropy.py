"""Softmax and the fused cross-entropy: extreme logits, what they keep, and beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import evaluate
from examples import compute, leaf, leaves
from sequences import softmax

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Role
from memtrain.graph.ops.cross_entropy import CrossEntropy, CrossEntropyGrad
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.probabilities import Softmax
from memtrain.graph.ops.source import Leaf
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule

DTYPES = ("float32", "float64")
FAR = np.array([[1000.0, 999, -1000], [-900, -901, -902], [0, 1, 2]])
"""Rows whose largest values are far apart."""


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_far_below_the_largest_value_keep_their_digits(dtype):
    x, y = FAR.astype(dtype), np.array([1, 2, 0])
    expected = softmax(FAR)
    np.testing.assert_allclose(compute(Softmax(), [x]), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        compute(Softmax(causal=True), [x]), softmax(FAR, causal=True), rtol=1e-6, atol=1e-9
    )
    loss = compute(CrossEntropy(), [x, y])
    assert loss == pytest.approx(np.mean(np.logaddexp.reduce(FAR, axis=1) - FAR[[0, 1, 2], y]), rel=1e-6)
    slope = compute(CrossEntropyGrad(), [np.array(1, dtype), x, y])
    np.testing.assert_allclose(slope, (expected - np.eye(3)[y]) / 3, rtol=1e-6, atol=1e-9)


def test_a_wrong_label_that_is_very_unlikely_has_a_finite_loss():
    x = np.array([[0.0, -2000.0]], np.float32)
    assert compute(CrossEntropy(), [x, np.array([1])]) == 2000


def test_a_nan_spoils_its_own_row_only():
    x = np.array([[np.nan, 1.0], [2.0, 1.0]])
    p = compute(Softmax(), [x])
    assert np.isnan(p).tolist() == [[True, True], [False, False]]


def test_softmax_refuses_other_queries_than_keys_and_the_loss_other_labels():
    b = Builder()
    with pytest.raises(GraphError, match="as many queries as keys"):
        b.apply(Softmax(causal=True), leaf(b, "x", (3, 4)))
    with pytest.raises(GraphError, match="int64 labels"):
        b.apply(CrossEntropy(), leaf(b, "z", (3, 4)), leaf(b, "y", (3,)))


def test_the_loss_keeps_the_logits_alone_and_its_gradient_takes_their_buffer():
    b, f4 = Builder(), np.dtype(np.float32)
    h = b.apply(Leaf(Role.INPUT, (64, 32), f4), name="h")
    y = b.apply(Leaf(Role.INPUT, (64,), np.dtype(np.int64)), name="y")
    weight = b.apply(Leaf(Role.PARAMETER, (1000, 32), f4), name="W")
    logits = matmul(b, h, weight, transpose_b=True, name="o")
    loss = b.apply(CrossEntropy(), logits, y, name="L")
    asked = [loss, *gradient(b, loss, [weight])]
    schedule = make_schedule(b.graph(), asked)
    assert [node.name for node in analyse(schedule).retained] == ["o"]
    (slope,) = [step for step in schedule.steps if b[step.node].op.name == "cross_entropy_grad"]
    assert slope.reuse == logits.id


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7)])
def test_loss_and_gradient_are_pytorchs_and_keep_no_more(shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, y = 5 * rng.standard_normal(shape), rng.integers(7, size=shape[:-1])
    b = Builder()
    logits, labels = leaves(b, [x, y])
    loss = b.apply(CrossEntropy(), logits, labels, name="L")
    found = evaluate(b, [loss, *gradient(b, loss, [logits])], {"x0": x, "x1": y})
    given, saved = torch.tensor(x, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        theirs = torch.nn.functional.cross_entropy(given.reshape(-1, 7), torch.tensor(y).reshape(-1))
    theirs.backward()
    np.testing.assert_allclose(found[0], theirs.item(), rtol=1e-9)
    np.testing.assert_allclose(found[1], given.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert x.nbytes <= sum(t.numel() * t.element_size() for t in saved if t.is_floating_point())
