"""Embeddings: repeated tokens, a table that is also the output weight, and beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import check_gradient, evaluate
from examples import leaf, leaves

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.ops.arithmetic import multiply, sum_to
from memtrain.graph.ops.embedding import embedding
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.swiglu import swiglu
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule


def test_the_gradient_of_a_tied_table_is_one_array_into_which_the_rows_are_added():
    y, table = np.array([[1, 1], [3, 0]]), np.random.default_rng(0).standard_normal((5, 3))

    def tied(b, table, tokens):
        return matmul(b, embedding(b, table, tokens), table, transpose_b=True)

    check_gradient(tied, [table, y], order=2)
    b = Builder()
    given = leaves(b, [table, y])
    target = sum_to(b, tied(b, *given), ())
    asked = gradient(b, target, given[:1])
    schedule = make_schedule(b.graph(), asked)
    (added,) = [step for step in schedule.steps if b[step.node].op.name == "add_rows"]
    assert added.reuse is not None
    made = [b[step.node] for step in schedule.steps]
    assert not [node for node in made if node.op.name == "fill" and node.shape == table.shape]


def test_tokens_must_be_integers():
    b = Builder()
    with pytest.raises(GraphError, match="int64 tokens"):
        embedding(b, leaf(b, "E", (5, 3)), leaf(b, "y", (2,)))


@pytest.mark.oracle
def test_values_and_gradients_are_pytorchs_and_no_more_is_kept():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    table, y, r = rng.standard_normal((50, 4)), rng.integers(50, size=(6, 9)), rng.standard_normal((6, 9, 4))
    b = Builder()
    given = leaves(b, [table, y, r])
    rows = embedding(b, given[0], given[1], name="e")
    gated = swiglu(b, rows, given[2])
    target = sum_to(b, multiply(b, gated, given[2]), ())
    asked = [gated, *gradient(b, target, [given[0]])]
    found = evaluate(b, asked, {"x0": table, "x1": y, "x2": r})
    theirs = torch.tensor(table, requires_grad=True)
    e = torch.nn.functional.embedding(torch.tensor(y), theirs)
    out = torch.nn.functional.silu(e) * torch.tensor(r)
    (out * torch.tensor(r)).sum().backward()
    np.testing.assert_allclose(found[0], out.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(found[1], theirs.grad.numpy(), rtol=1e-9, atol=1e-12)
    kept = analyse(make_schedule(b.graph(), [target, asked[1]])).retained
    assert [node.name for node in kept] == ["e"]
