"""Every registered kernel, compared with its formula in plain numpy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from examples import (
    CASES,
    FORMULAS,
    SMALL,
    Sizes,
    buffers,
    compute,
    make,
)

from memtrain.graph.ops import OPS
from memtrain.graph.ops.base import BLOCK, SHARED, Op

COMPUTED = [(name, place) for name, place in CASES if name != "leaf"]
BIG = {
    "square": (131, 257),  # several blocks of rows, the last one shorter
    "tall": (20011, 2),  # more rows than a block has elements
    "wide": (2, 20001),  # a row is longer than a block
}
DTYPES = ("float32", "float64")
SUMS = (
    "matmul",
    "sum_to",
    "row_norm_gamma_grad",
    "conv2d",
    "conv2d_weight_grad",
    "embedding_grad",
    "add_rows",
    "attention_blocks_grad",
    "softmax_grad",
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", ["small", *BIG])
@pytest.mark.parametrize(("name", "place"), COMPUTED)
def test_the_kernel_computes_its_formula(name, place, size, dtype):
    n, q = BIG.get(size, (SMALL.n, SMALL.q))
    op, arrays = make(name, place, Sizes(n, q, np.dtype(dtype)))
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in arrays]
    found = compute(op, arrays)
    expected = FORMULAS[name](op, *wide)
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    rounding = 200 if name == "attention_blocks_grad" else 60  # sums of 20,000 numbers near 1, or of exp
    long_sum = rounding if name in SUMS and n * q > BLOCK else 1
    assert found.dtype == (dtype if expected.dtype.kind == "f" else expected.dtype)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * long_sum)


PAIRS = [
    ((7, 5), (5,)),
    ((7, 5), (7, 1)),
    ((7, 1), (1, 5)),
    ((7, 5), ()),
    ((), ()),
    ((1,), ()),
    ((1,), (3, 1, 2)),
    ((3, 1, 2), (4, 1)),
    ((2, 1, 3, 1), (5, 1, 4)),
    ((1, 1), (1, 6)),
    ((20001, 1), (1, 3)),
    ((20001, 3), (3,)),
    ((20001, 3), (20001, 1)),
    ((3, 20001), (20001,)),
    ((3, 20001), (3, 1)),
    ((1, 20001), (1, 1)),
    ((70, 1, 300), (3, 1)),
    ((70, 3, 300), (70, 1, 300)),
    ((BLOCK + 1,), (1,)),
]


@pytest.mark.parametrize("ufunc", [np.add, np.multiply])
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_operands_are_broadcast_as_numpy_does_to_the_bit(left, right, ufunc):
    for shapes, dtype in product(((left, right), (right, left)), DTYPES):
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        found = compute(OPS[ufunc.__name__](), arrays)
        np.testing.assert_array_equal(found, ufunc(*arrays), strict=True)


SHARING = [(name, place) for name, place in COMPUTED if OPS[name].shares is not Op.shares]
LARGE = Sizes(2051, 257, np.dtype(np.float32))
"""Enough elements to be shared out, in shares of unequal lengths."""


def shared_out(out: np.ndarray, work: list[np.ndarray]) -> bool:
    return out.size >= SHARED and not work


@pytest.mark.parametrize(("name", "place"), SHARING)
def test_the_shares_of_a_kernel_give_its_bits_in_any_order(name, place):
    op, arrays = make(name, place, LARGE)
    expected = compute(op, [x.copy() for x in arrays]).tobytes()
    for count in (1, 2, 3):
        given = [x.copy() for x in arrays]
        out, work = buffers(op, given)
        calls = op.shares(count, out, *given, work=work)
        assert len(calls) == (count if shared_out(out, work) else 1)
        for call in reversed(calls):
            call()
        assert out.tobytes() == expected
