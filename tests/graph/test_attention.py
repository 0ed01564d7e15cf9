"""Attention by parts and in blocks: what it keeps, and beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import check_gradient, evaluate
from examples import leaf

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Role
from memtrain.graph.ops.arithmetic import multiply, sum_to
from memtrain.graph.ops.attention import attention
from memtrain.graph.ops.attention_blocks import attention_in_blocks
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import reshape
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger

WAYS = {"parts": attention, "blocks": attention_in_blocks}


def layer(way, n, t, d, heads, dtype="float32", causal=False):
    """Self-attention of x (n·t, d) with its four projections, the sum of its output, and the gradients."""
    b = Builder()
    x = leaf(b, "x", (n * t, d), dtype)
    weights = [b.apply(Leaf(Role.PARAMETER, (d, d), np.dtype(dtype)), name=f"W{c}") for c in "qkvo"]
    q, k, v = [
        reshape(b, matmul(b, x, w, transpose_b=True, name=c), (n, t, heads, d // heads))
        for c, w in zip("qkv", weights, strict=False)
    ]
    context = reshape(b, WAYS[way](b, q, k, v, causal=causal, name="context"), (n * t, d))
    output = matmul(b, context, weights[3], transpose_b=True, name="o")
    target = sum_to(b, multiply(b, output, leaf(b, "r", (n * t, d), dtype)), ())
    return b, [output, target, *gradient(b, target, [x, *weights])]


@pytest.mark.parametrize(("t", "kept"), [(64, 262_144), (128, 786_432), (256, 2_621_440)])
def test_parts_keep_one_array_of_probabilities_per_head(t, kept):
    b, asked = layer("parts", 2, t, 64, 4)
    retained = analyse(make_schedule(b.graph(), asked[1:])).retained
    assert sum(node.nbytes for node in retained) == kept == 16 * 2 * t * 64 + 4 * 2 * 4 * t * t
    assert [node.name for node in retained if len(node.shape) == 4 and node.shape[-1] == t] == ["P"]


@pytest.mark.parametrize(("t", "kept"), [(64, 133_120), (128, 266_240), (256, 532_480)])
def test_blocks_keep_no_probabilities_but_one_number_per_query_and_head(t, kept):
    b, asked = layer("blocks", 2, t, 64, 4)
    retained = analyse(make_schedule(b.graph(), asked[1:])).retained
    assert sum(node.nbytes for node in retained) == kept
    assert [node.name for node in retained] == ["q", "k", "v", "context and lse"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_no_value_is_copied_and_the_ledger_reads_what_was_predicted(way, causal):
    b, asked = layer(way, 2, 24, 16, 4, causal=causal)
    assert "copy" not in {node.op.name for node in b.nodes}
    schedule, ledger = make_schedule(b.graph(), asked[1:]), Ledger()
    run = Run(schedule, ledger)
    run.load({})
    run.iterate()
    assert ledger.peak_bytes == analyse(schedule).peak_bytes


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_derivatives_are_those_of_central_differences(way, causal, order):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((1, 3, 2, 2)) for _ in "qkv"]
    check_gradient(lambda b, q, k, v: WAYS[way](b, q, k, v, causal=causal, scale=0.7), arrays, order)


def test_heads_of_other_shapes_are_refused():
    b = Builder()
    q, k = leaf(b, "q", (2, 3, 2, 4)), leaf(b, "k", (2, 5, 2, 3))
    with pytest.raises(GraphError, match=r"q leaf.*k leaf"):
        attention(b, q, k, k)
    with pytest.raises(GraphError, match="as many queries as keys"):
        attention(b, q, leaf(b, "k2", (2, 5, 2, 4)), leaf(b, "v2", (2, 5, 2, 4)), causal=True)


@pytest.mark.oracle
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_values_and_gradients_are_pytorchs_and_no_more_is_kept(way, causal):
    torch = pytest.importorskip("torch")
    n, t, d, heads = 2, 130, 8, 2
    rng = np.random.default_rng(1)
    values = {"x": rng.standard_normal((n * t, d)), "r": rng.standard_normal((n * t, d))}
    values |= {f"W{c}": rng.standard_normal((d, d)) for c in "qkvo"}
    b, asked = layer(way, n, t, d, heads, "float64", causal)
    found = evaluate(b, asked, values)
    kept = sum(node.nbytes for node in analyse(make_schedule(b.graph(), asked[1:])).retained)

    given = {name: torch.tensor(value, requires_grad=name != "r") for name, value in values.items()}
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda s: saved.update({s.untyped_storage().data_ptr(): s.untyped_storage().nbytes()}) or s,
        lambda s: s,
    ):
        q, k, v = [
            torch.nn.functional.linear(given["x"], given[f"W{c}"]).view(n, t, heads, -1).transpose(1, 2)
            for c in "qkv"
        ]
        hidden = torch.ones(t, t, dtype=torch.bool).triu(1) & causal
        scores = (q @ k.transpose(-1, -2) / (d // heads) ** 0.5).masked_fill(hidden, -torch.inf)
        if way == "parts":
            context = torch.softmax(scores, -1) @ v
        else:
            context = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        output = torch.nn.functional.linear(context.transpose(1, 2).reshape(n * t, d), given["Wo"])
    target = (output * given["r"]).sum()
    names = ["x", *[f"W{c}" for c in "qkvo"]]
    theirs = [output, target, *torch.autograd.grad(target, [given[name] for name in names])]
    for have, want in zip(found, theirs, strict=True):
        want = want.detach().numpy()
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9 * np.abs(want).max())
    weights = sum(value.nbytes for name, value in values.items() if name != "r")
    assert kept <= sum(saved.values()) - weights
