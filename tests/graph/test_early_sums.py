"""Sums that are made early against sums that are made late: what they hold."""

from __future__ import annotations

from random import Random

import pytest
from examples import leaf
from late_sums import late_gradient, reached

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.ops.activation import Tanh
from memtrain.graph.ops.arithmetic import add, multiply, sum_to
from memtrain.graph.ops.matmul import matmul
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule

UNIT = 8 * 6 * 6
"""Bytes of a 6 by 6 matrix of float64."""


def peak_of(b, asked):
    return analyse(make_schedule(b.graph(), asked)).peak_bytes


def fan(seed, size, kinds, build_gradient):
    """The peak of the gradient of Σ over all ends of a random tree of 6 by 6 values; ``kinds`` of nodes."""
    rng, b = Random(seed), Builder()
    x, *others = leaves = [leaf(b, name, (6, 6)) for name in "xvw"]
    pool = [b.apply(Tanh(), x)]
    for _ in range(size):
        value, kind = rng.choice(pool[-3:] if rng.random() < 0.6 else pool), rng.choice(kinds)
        if kind == "tanh":
            pool.append(b.apply(Tanh(), value))
        elif kind == "product":
            pool.append(b.apply(Tanh(), matmul(b, value, rng.choice(others))))
        else:
            pool.append(multiply(b, value, rng.choice(others)))
    read = {i for node in b.nodes for i in node.inputs}
    first, *ends = [node for node in pool if node.id not in read]
    total = sum_to(b, first, ())
    for end in ends:
        total = add(b, total, sum_to(b, end, ()))
    return peak_of(b, build_gradient(b, total, [node for node in leaves if node.id in reached(b, total)]))


def excesses(kinds):
    """How much more early sums hold than late ones, over random trees."""
    return [
        fan(seed, 3 + seed % 25, kinds, gradient) - fan(seed, 3 + seed % 25, kinds, late_gradient)
        for seed in range(200)
    ]


def test_where_a_part_takes_the_buffer_of_what_its_rule_reads_early_sums_never_hold_more():
    """A part then costs nothing when it is made, and one sum stands where late one array a reader does."""
    found = excesses(["tanh"])
    assert max(found) <= 0
    assert sum(excess < 0 for excess in found) > 150


@pytest.mark.parametrize("kinds", [["product"], ["times"], ["tanh", "product", "times"]])
def test_elsewhere_early_sums_seldom_hold_more_and_never_more_than_two_arrays(kinds):
    """A part is made while more of forward is still kept: there part and sum may stand at the peak."""
    found = excesses(kinds)
    assert max(found) <= 2 * UNIT
    assert sum(excess > 0 for excess in found) < 0.06 * len(found)
    assert sum(found) < -UNIT * len(found)
