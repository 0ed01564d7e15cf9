"""Dropout: three ways to keep its mask give the same bits, and what each keeps; streams and rates."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import evaluate
from examples import leaf, leaves

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.ops.arithmetic import multiply, sum_to
from memtrain.graph.ops.dropout import KINDS, dropout
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule

KEY = np.array([7, 1], np.uint64)


def dropped(kind, x, key=KEY, number=0, rate=0.25):
    """The values, the gradient of Σ x ⊙ dropout(x) with x as the other factor, and the retained nodes."""
    b = Builder()
    given, keys = leaves(b, [x, key])
    value = dropout(b, given, keys, rate, number, kind=kind, name="d")
    target = sum_to(b, multiply(b, value, leaf(b, "r", x.shape, x.dtype)), ())
    asked = [value, *gradient(b, target, [given])]
    found = evaluate(b, asked, {"x0": x, "x1": key, "r": x})
    return *found, analyse(make_schedule(b.graph(), [target, asked[1]])).retained


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_kinds_give_the_same_bits_and_differ_in_what_they_keep(dtype):
    x = np.random.default_rng(0).standard_normal((33, 1001)).astype(dtype)
    found = {kind: dropped(kind, x) for kind in KINDS}
    for value, slope, _ in found.values():
        np.testing.assert_array_equal(value, found["mask"][0], strict=True)
        np.testing.assert_array_equal(slope, value, strict=True)
    kept = {kind: sum(node.nbytes for node in nodes) for kind, (*_, nodes) in found.items()}
    assert kept == {"mask": x.size, "packed": -(-x.size // 8), "recomputed": 0}


def test_a_share_of_the_values_is_dropped_and_the_mean_is_kept():
    value, *_ = dropped("mask", np.ones((500, 500)), rate=0.1)
    assert set(np.unique(value)) == {0.0, 1 / 0.9}
    assert value.mean() == pytest.approx(1, abs=0.004)


def test_seed_iteration_and_number_select_different_masks():
    x = np.ones(4000)
    one = [
        dropped("packed", x, np.array(key, np.uint64), number)[0] > 0
        for key, number in (((7, 1), 0), ((7, 2), 0), ((8, 1), 0), ((7, 1), 1))
    ]
    for place, mask in enumerate(one):
        for other in one[:place]:
            assert np.mean(mask == other) == pytest.approx(0.75**2 + 0.25**2, abs=0.05)


def test_in_inference_dropout_is_its_input():
    b = Builder()
    x, key = leaf(b, "x", (3, 4)), leaf(b, "key", (2,), "uint64")
    for kind in KINDS:
        node = dropout(b, x, key, 0.5, 1, kind=kind)
        assert node.op.inference(b, x, key) is x


def test_a_rate_a_key_and_a_kind_that_cannot_be_used_are_refused():
    b = Builder()
    x, key = leaf(b, "x", (3, 4)), leaf(b, "key", (2,), "uint64")
    with pytest.raises(GraphError, match=r"less than 1, not 1\.5"):
        dropout(b, x, key, 1.5, 1)
    with pytest.raises(GraphError, match="seed and an iteration"):
        dropout(b, x, leaf(b, "other", (2,)), 0.5, 1)
    with pytest.raises(GraphError, match="one of mask, packed, recomputed"):
        dropout(b, x, key, 0.5, 1, kind="none")
