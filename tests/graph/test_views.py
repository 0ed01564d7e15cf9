"""Views: nodes without storage."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import check_gradient, evaluate
from examples import (
    leaf,
)

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.ops import activation, arithmetic, loss, view
from memtrain.graph.ops.concat import concat
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger


def test_views_have_no_storage_and_a_reshape_of_a_transposed_view_copies():
    b = Builder()
    x = leaf(b, "x", (3, 4))
    flipped = view.transpose(b, x)
    part = b.apply(view.Slice((0, 1), (2, 3)), x)
    flat = view.reshape(b, x, (12,), name="flat")
    for node in (flipped, part, flat):
        assert node.storage == x.id
        assert not node.owns_storage
    assert (flipped.contiguous, part.contiguous, flat.contiguous) == (False, False, True)
    assert len(b.nodes) == 4
    copied = view.reshape(b, flipped, (12,))
    assert b[copied.inputs[0]].op.name == "copy"
    assert copied.storage == copied.inputs[0] != x.id
    array = np.arange(12.0).reshape(3, 4)
    found = evaluate(b, [flipped, part, flat, copied], {"x": array})
    for have, want in zip(found, [array.T, array[:2, 1:3], array.ravel(), array.T.ravel()], strict=True):
        np.testing.assert_array_equal(have, want, strict=True)
    assert np.shares_memory(flipped.op.view(array), array)


@pytest.mark.parametrize("seed", range(40))
def test_any_chain_of_views_is_that_of_numpy_and_knows_whether_its_bytes_lie_in_order(seed):
    rng = np.random.default_rng(seed)
    b = Builder()
    array = wanted = rng.standard_normal((2, 3, 1, 4))
    value = leaf(b, "x", wanted.shape)
    for _ in range(5):
        kind = rng.integers(3)
        if kind == 0:
            axes = tuple(map(int, rng.permutation(wanted.ndim)))
            value, wanted = view.transpose(b, value, axes), wanted.transpose(axes)
        elif kind == 1:
            starts = tuple(int(rng.integers(size)) for size in wanted.shape)
            stops = tuple(
                int(rng.integers(a + 1, size + 1)) for a, size in zip(starts, wanted.shape, strict=True)
            )
            value, wanted = (
                b.apply(view.Slice(starts, stops), value),
                wanted[tuple(map(slice, starts, stops))],
            )
        else:
            shape = (1, *wanted.shape[:-2], wanted.shape[-1] * wanted.shape[-2])
            value, wanted = view.reshape(b, value, shape), wanted.reshape(shape)
        run = Run(make_schedule(b.graph(), [value]))
        run.load({"x": array})
        (found,) = run.iterate()
        np.testing.assert_array_equal(found, wanted, strict=True)
        assert found.flags.c_contiguous or not value.contiguous


def test_an_old_view_does_not_outlive_the_buffer_that_another_value_took_over():
    b = Builder()
    first = b.apply(activation.Relu(), leaf(b, "x", (100, 10)))
    flat = b.apply(loss.SquaredNorm(), view.reshape(b, first, (1000,)))
    second = b.apply(activation.Relu(), first)  # takes over the buffer of the first
    spread = b.apply(arithmetic.BroadcastTo((100, 20)), b.apply(loss.SquaredNorm(), second))
    target = arithmetic.add(b, b.apply(loss.SquaredNorm(), spread), flat)
    schedule = make_schedule(b.graph(), [target])
    assert [step.reuse for step in schedule.steps if step.node == second.id] == [first.id]
    ledger = Ledger()
    run = Run(schedule, ledger)
    run.load({})
    run.iterate()
    assert ledger.peak_bytes == analyse(schedule).peak_bytes == 8000 + 16000 + 8 + 8


def test_a_concatenation_has_the_parts_of_its_cotangent_as_gradients():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, size, 3)) for size in (1, 4, 2)]
    for order in (1, 2):
        check_gradient(lambda b, *values: concat(b, values, 1), arrays, order)
    b = Builder()
    x, y = leaf(b, "x", (2, 3)), leaf(b, "y", (2, 4))
    assert concat(b, [x, y], 1).shape == (2, 7)
    with pytest.raises(GraphError, match=r"concat along axis 0 does not fit x leaf.*, y leaf"):
        concat(b, [x, y], 0)
    with pytest.raises(GraphError, match="along axis 2"):
        concat(b, [x], 2)
