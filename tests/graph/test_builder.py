"""The contexts of a builder: phase and block end with them."""

from __future__ import annotations

import pytest
from examples import leaf

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Phase
from memtrain.graph.ops.activation import Tanh
from memtrain.graph.ops.loss import SquaredNorm
from memtrain.graph.ops.source import Fill
from memtrain.graph.ops.update import Accumulate


def test_a_phase_ends_with_its_context():
    b = Builder()
    x = leaf(b, "x", (3,))
    with b.phase(Phase.BACKWARD):
        inside = b.apply(Tanh(), x)
        with b.phase(Phase.UPDATE):
            deeper = b.apply(Tanh(), x)
        after = b.apply(Tanh(), x)
    outside = b.apply(Tanh(), x)
    phases = [node.phase for node in (x, inside, deeper, after, outside)]
    assert phases == [Phase.FORWARD, Phase.BACKWARD, Phase.UPDATE, Phase.BACKWARD, Phase.FORWARD]


def test_a_phase_and_a_scope_end_when_a_rule_refuses():
    b = Builder()
    x = leaf(b, "x", (3,))
    with b.block("block", 1):
        kept = b.apply(Accumulate(0.9), x, b.apply(Fill(1.0, (3,), x.dtype)))
    target = b.apply(SquaredNorm(), kept)
    with pytest.raises(GraphError, match="not differentiable with respect to input 0"):
        gradient(b, target, [x])
    after = b.apply(Tanh(), kept)
    assert (after.phase, after.scope) == (Phase.FORWARD, ())
