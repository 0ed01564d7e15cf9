"""Retained bytes by layer, and formulas of networks whose blocks have parts."""

from __future__ import annotations

import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.explaining.explanation import explain
from memtrain.explaining.folding import fold_names
from memtrain.explaining.footprint import footprint
from memtrain.explaining.polynomial import Monomial, bytes_formula, polynomial_text
from memtrain.graph.node import Block, Name, Role, numbered
from memtrain.graph.size import Dim, part, product, total
from memtrain.planning.liveness import analyse
from memtrain.report.picture import repeated_blocks

N, M, A = Dim(50, "n"), Dim(8, "m"), Dim(2, "a")
POWERS = {"²": "**2", "³": "**3", "·": "*", "−": "-"}


def evaluate(formula, sizes):
    """The value of ``2·(33·ℓ − 8)·n·m·t``, computed from its text by Python's own parser."""
    for sign, plain in POWERS.items():
        formula = formula.replace(sign, plain)
    return eval(formula.replace("ℓ", "l"), {"min": min}, sizes)


def cell(depth=4, **columns):
    given = {"batch": 2, "width": 128, "heads": 4, "sequence": 64, "dropout": 0.1, "bias": True} | columns
    return cell_of(model="transformer", depth=depth, **given)


@pytest.mark.parametrize(
    "given",
    [
        cell(),
        cell(depth=2, accumulate=2, norm="rms", tied=True),
        cell(attention="blocks", dropout=0.0),
        cell_of(model="cnn", depth=4, batch=2, norm="batch"),
        cell_of(model="rnn", depth=2, batch=2, sequence=5, unit="gru"),
        cell_of(depth=3, activation="gelu", policy="sqrt"),
    ],
    ids=lambda given: f"{given['model']} {given.policy}",
)
def test_the_bytes_of_all_layers_are_what_is_retained_and_the_formulas_give_them(given):
    explanation = explain(given)
    entries = explanation.retained_by_layer
    assert sum(entry.bytes for entry in entries) == sum(entry.bytes for entry in explanation.retained)
    if given["model"] == "transformer" and given["accumulate"] == 1:
        sizes = {"n": 2, "t": 64, "m": 128, "a": 4, "v": given["vocabulary"]}
        assert [evaluate(entry.formula, sizes) for entry in entries] == [entry.bytes for entry in entries]


def test_a_footprint_of_a_transformer_holds_for_other_depths_and_sizes():
    entries = footprint(cell(), Mode.TRAIN, analyse(cell().schedule(Mode.TRAIN)))
    formulas = {entry.role: entry.formula for entry in entries}
    assert formulas[Role.RETAINED] == "2·(33·ℓ − 8)·n·m·t + 9·ℓ·n·a·t² + 16·ℓ·n·t"
    other = cell(depth=9, batch=3, width=160, heads=5, sequence=72)
    sizes = {"n": 3, "t": 72, "m": 160, "a": 5, "v": other["vocabulary"], "l": 9}
    found = analyse(other.schedule(Mode.TRAIN)).peak_role_bytes
    assert {role: evaluate(formula, sizes) for role, formula in formulas.items()} == {
        role: count for role, count in found.items() if count
    }


def test_parts_of_blocks_fold_and_are_drawn_with_their_blocks():
    attention = [Name(f"q{k}", "q", (Block("block", k), Block("attention"))) for k in range(1, 7)]
    assert fold_names([*attention, Name("o", "o", ())]) == "q1…q6, o"
    assert numbered(attention[0].scope) == (Block("block", 1),)
    assert numbered((Block("stem"),)) == ()
    schedule = cell(depth=6).schedule(Mode.TRAIN)
    nodes = [schedule.graph[step.node] for step in schedule.steps]
    (run,) = repeated_blocks(schedule.graph, nodes)
    assert [scope[-1].number for scope in run] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("shape", "formula"),
    [
        ((N, M), "4·n·m"),
        ((N, 3, M, M), "12·n·m²"),
        ((total([product([N, M]), N]),), "4·n·m + 4·n"),
        ((N, total([M, 3])), "4·n·m + 12·n"),
        ((N, part(M, 2), part(M, 2)), "4·n·(m/2)²"),
        ((N, A, part(M, A)), "4·n·m"),
        ((2, 3), "24"),
        ((), "4"),
    ],
)
def test_bytes_are_a_sum_of_products_of_sizes(shape, formula):
    assert bytes_formula(shape, 4, {"n": 50, "m": 8, "a": 2}) == formula


def test_coefficients_of_the_depth_have_their_common_factor_in_front():
    one, other = Monomial(("n", "m"), 400), Monomial(("m",), 8)
    assert polynomial_text({one: 248, other: 8}, {one: 66}, 4) == "2·(33·ℓ − 8)·n·m + 8·m"
    assert polynomial_text({one: 4}, {one: 1}, 4) == "ℓ·n·m"
    assert polynomial_text({one: 5}, {one: 1}, 4) == "(ℓ + 1)·n·m"
