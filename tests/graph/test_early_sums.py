"""The peaks of early sums of cotangents, compared with late sums."""

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
    """The peak of a gradient: of the sum of all leaves of a random tree with 6 by 6 values.

    ``kinds`` are the kinds of its nodes.
    """
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
    """The bytes by which the peak of early sums exceeds that of late sums, for random trees."""
    return [
        fan(seed, 3 + seed % 25, kinds, gradient) - fan(seed, 3 + seed % 25, kinds, late_gradient)
        for seed in range(200)
    ]


def test_where_a_part_takes_the_buffer_of_what_its_rule_reads_early_sums_never_hold_more():
    """Then a new part needs no memory, and one sum is held instead of one array per reader."""
    found = excesses(["tanh"])
    assert max(found) <= 0
    assert sum(excess < 0 for excess in found) > 150


@pytest.mark.no_cover
@pytest.mark.parametrize("kinds", [["product"], ["times"], ["tanh", "product", "times"]])
def test_elsewhere_early_sums_seldom_hold_more_and_never_more_than_two_arrays(kinds):
    """An early part is computed while more of forward is still kept, so part and sum may be at the peak."""
    found = excesses(kinds)
    assert max(found) <= 2 * UNIT
    assert sum(excess > 0 for excess in found) < 0.06 * len(found)
    assert sum(found) < -UNIT * len(found)
