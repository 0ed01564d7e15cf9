"""Matrix products of any rank."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from derivatives import check_gradient, evaluate
from examples import (
    leaf,
    leaves,
)

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.ops import arithmetic, matmul

LEADS = {1: [()], 2: [()], 3: [(2,), (1,)], 4: [(3, 2), (3, 1)]}


@pytest.mark.parametrize(("ta", "tb"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize(("rank_x", "rank_y"), list(product(LEADS, repeat=2)))
def test_matmul_of_any_ranks_is_that_of_numpy_and_differentiable(rank_x, rank_y, ta, tb):
    rng = np.random.default_rng(0)
    for lead_x, lead_y in product(LEADS[rank_x], LEADS[rank_y]):
        x = rng.standard_normal((*lead_x, *((4, 3) if ta else (3, 4)))) if rank_x > 1 else rng.random(4)
        y = rng.standard_normal((*lead_y, *((5, 4) if tb else (4, 5)))) if rank_y > 1 else rng.random(4)
        expected = np.matmul(
            x.swapaxes(-1, -2) if ta and rank_x > 1 else x, y.swapaxes(-1, -2) if tb and rank_y > 1 else y
        )

        def apply(b, x, y):
            return matmul.matmul(b, x, y, transpose_a=ta, transpose_b=tb, name="p")

        b = Builder()
        value = apply(b, *leaves(b, [x, y]))
        assert value.name == "p"
        assert b.graph().named("p") is value
        (found,) = evaluate(b, [value], {"x0": x, "x1": y})
        assert found.shape == value.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
        check_gradient(apply, [x, y])


def test_a_stack_times_a_matrix_is_one_product_and_its_gradient_needs_no_stack():
    b = Builder()
    x, w = leaf(b, "x", (2, 3, 4)), leaf(b, "W", (5, 4))
    value = matmul.matmul(b, x, w, transpose_b=True)
    (dw,) = gradient(b, arithmetic.sum_to(b, value, ()), [w])
    products = [node for node in b.nodes if node.op.name == "matmul"]
    assert [node.shape for node in products] == [(6, 5), (5, 4)]
    assert products[-1].id == dw.id
