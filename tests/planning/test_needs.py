"""The smallest memory of a chain, and the plan for it."""

from __future__ import annotations

import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.planning.cost import flops
from memtrain.planning.remat.chain import chains
from memtrain.planning.remat.needs import needs_of
from memtrain.planning.remat.replay import replay
from memtrain.planning.remat.stage import stages


def chain_of(**columns):
    schedule = cell_of(width=64, batch=512, **columns).keep_all(Mode.TRAIN)
    (found,) = stages(schedule, chains(schedule), flops)
    return found


@pytest.mark.parametrize(
    ("activation", "depth", "most"),
    [("relu", 40, 3.5), ("relu", 100, 3.6), ("gelu", 40, 5.1), ("gelu", 100, 4.5)],
)
def test_a_plan_of_the_least_bytes_is_cut_near_the_middle_of_segments(activation, depth, most):
    """With cuts at the first possible stage, up to 8 stages are computed per stage of the chain; with cuts at
    the last possible stage, up to 100."""
    chain = chain_of(depth=depth, activation=activation)
    needs = needs_of(chain)
    outcome = replay(chain, needs.moves(needs.least_bytes))
    assert outcome.peak_bytes == needs.least_bytes
    assert outcome.forward_count <= most * len(chain)
