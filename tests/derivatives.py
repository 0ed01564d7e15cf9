"""Central differences: the oracle of every gradient."""

from __future__ import annotations

import numpy as np
from examples import (
    leaf,
    leaves,
)

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.ops import arithmetic
from memtrain.planning.schedule import make_schedule
from memtrain.run.executor import Run


def check_gradient(apply, arrays, order=1):
    """Assert that the derivative of ``order`` that the graph gives equals central differences, in float64.

    The target is Σ f(x) ⊙ r for a random r. For each higher order, the target is the derivative of the last
    target along a random direction of all inputs.
    """
    rng = np.random.default_rng(order)
    b, values = Builder(), {}
    xs = leaves(b, arrays)
    values.update({x.name: array for x, array in zip(xs, arrays, strict=True)})
    floating = [x for x in xs if x.dtype.kind == "f"]

    def projected(value):
        r = leaf(b, f"r{len(values)}", value.shape)
        values[r.name] = rng.standard_normal(value.shape)
        return arithmetic.sum_to(b, arithmetic.multiply(b, value, r), ())

    target = projected(apply(b, *xs))
    for _ in range(order - 1):
        target, *others = [projected(g) for g in gradient(b, target, floating)]
        for other in others:
            target = arithmetic.add(b, target, other)
    gradients = gradient(b, target, floating)
    found = evaluate(b, gradients, values)
    run = Run(make_schedule(b.graph(), [target]))
    run.load(values)
    for x, from_graph in zip(floating, found, strict=True):
        numeric = np.empty(x.shape)
        for place in np.ndindex(x.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = np.array(values[x.name])
                moved[place] += step
                run.feed({x.name: moved})
                ends.append(run.iterate()[0].item())
            run.feed({x.name: values[x.name]})
            numeric[place] = (ends[0] - ends[1]) / 2e-5
        assert from_graph.shape == x.shape
        np.testing.assert_allclose(from_graph, numeric, rtol=1e-6, atol=1e-8, err_msg=str(x))


def evaluate(b, asked, values):
    """The values of the nodes ``asked``, for ``values`` by leaf name."""
    run = Run(make_schedule(b.graph(), asked))
    run.load(values)
    found = dict(zip(run.schedule.asked, run.iterate(), strict=True))  # two gradients can be the same node
    return [np.array(found[node.id]) for node in asked]
