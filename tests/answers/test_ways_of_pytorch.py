"""Ways to make PyTorch's training fit: levers only, since plans are made for memtrain's own engine."""

from __future__ import annotations

import pytest
from command_line import called

from memtrain.answers.option import Kind
from memtrain.answers.trial import measure_ways
from memtrain.answers.ways import find_ways
from memtrain.cells.cell import Mode, cell_of
from memtrain.errors import InputError
from memtrain.measure.host import Host
from memtrain.planning.liveness import analyse
from memtrain.report.ways_findings import answer_sentences

CELL = cell_of(depth=8, batch=512, optimizer="adam", data="synthetic", engine="torch")


def test_the_levers_of_pytorch_are_predicted_and_no_plan_is_made():
    peak = analyse(CELL.keep_all(Mode.TRAIN)).peak_bytes
    ways = find_ways(CELL, peak - 1, points=5)
    assert ways.points == ways.rules == ()
    assert ways.obstacle is None
    assert ways.chosen.kind is Kind.LEVER
    assert ways.chosen.cell == CELL.changed(accumulate=2, cost="flops", steps=2)
    assert [option.name for option in ways.levers] == ["--fused", "--optimizer sgd", "--accumulate 2"]
    for option in ways.levers:
        assert option.predicted_peak_bytes == analyse(option.cell.keep_all(Mode.TRAIN)).peak_bytes
        assert option.least_bytes == option.predicted_peak_bytes
    (said,) = answer_sentences(ways)
    assert "Plans of recomputation are made for memtrain's own engine, and not for PyTorch." in said


def test_a_fused_optimiser_is_chosen_where_the_temporaries_are_the_peak():
    cell = cell_of(depth=2, batch=1, optimizer="adam", data="synthetic", engine="torch")
    peak = analyse(cell.keep_all(Mode.TRAIN)).peak_bytes
    fused = analyse(cell.changed(fused=True).keep_all(Mode.TRAIN)).peak_bytes
    assert find_ways(cell, peak - 1).chosen.name == "--fused"
    nothing = find_ways(cell.changed(optimizer="sgd", l2=0.0), fused // 100)
    assert nothing.chosen is None
    assert "with all options combined, training needs" in answer_sentences(nothing)[0]


def test_a_cell_that_retains_its_graph_has_no_plan():
    with pytest.raises(InputError, match="a plan frees what --retain-graph keeps"):
        find_ways(cell_of(depth=2, batch=8, retain_graph=True), 2**30)


@pytest.mark.oracle
def test_the_levers_of_pytorch_are_measured():
    pytest.importorskip("torch")
    peak = analyse(CELL.keep_all(Mode.TRAIN)).peak_bytes
    with Host() as host:
        ways = measure_ways(host, find_ways(CELL, peak - 1), timeout_s=120)
    for option in ways.options:
        assert option.failure == ""
        assert option.ledger_peak_bytes == option.predicted_peak_bytes
        assert option.differing is None  # two runs of PyTorch are not compared
    assert all(option.time_ratio for option in ways.options if option.kind is not Kind.KEEP_ALL)


def test_the_command_says_what_it_plans_for_pytorch(tmp_path):
    line = [
        "plan",
        "--engine",
        "torch",
        "--depth",
        "8",
        "--batch",
        "512",
        "--optimizer",
        "adam",
        "--memory",
        "14MiB",
        "--no-measure",
    ]
    ran = called(*line, cwd=tmp_path)
    assert ran.code == 0
    assert "smallest" not in ran.out
    assert "memtrain train --depth 8" in ran.out
    assert "--engine torch" in ran.out
