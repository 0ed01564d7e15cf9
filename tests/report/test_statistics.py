"""What sweeps and explanations say about running statistics."""

from __future__ import annotations

import pytest

from memtrain.cells.cell import BOTH, cell_of
from memtrain.cells.row import predicted_row
from memtrain.explaining.explanation import explain
from memtrain.models.families import FAMILIES
from memtrain.report.findings import findings
from memtrain.report.peaks import summary

ONCE = (
    "Forward updates the running statistics once in each iteration. Recomputation does not update them again."
)
SMALL = {"depth": 2, "width": 4, "image": 8, "batch": 6}


@pytest.mark.parametrize(
    ("family", "norm"),
    [*((family, None) for family in FAMILIES), ("cnn", "batch"), ("cnn", "group"), ("resnet", "group")],
)
def test_a_network_knows_whether_it_has_running_statistics(family, norm):
    network = cell_of(model=family, depth=1, **({"norm": norm} if norm else {})).network
    assert network.updates_statistics == bool(network.build(1).frozen)


def test_an_explanation_shows_the_update_as_a_formula_and_says_how_often_it_runs():
    explanation = explain(cell_of(model="cnn", norm="batch", **SMALL))
    formulas = {formula.left: formula.right for formula in explanation.forward}
    assert formulas["mean1′"] == "0.9 mean1 + 0.1 [μ(u1)]"
    assert summary(explanation)[-1] == ONCE
    assert ONCE not in summary(explain(cell_of(model="cnn", norm="group", **SMALL)))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, []),
        ({"policy": "sqrt"}, [ONCE]),
        ({"accumulate": 3}, [ONCE.replace("in each iteration", "for each micro-batch")]),
    ],
)
def test_a_sweep_says_it_where_values_are_computed_more_than_once(columns, expected):
    rows = [predicted_row(cell_of(model="resnet", **SMALL, **columns), mode) for mode in BOTH]
    assert [said for said in findings(rows, []) if "running statistics" in said] == expected
