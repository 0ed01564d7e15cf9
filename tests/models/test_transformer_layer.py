"""What a transformer layer retains, beside Korthikanti et al. 2022 (term by term) and beside PyTorch."""

from __future__ import annotations

from collections import Counter

import pytest
from transformer_layer import TERMS, UNITS, layers, totals, value_of

from memtrain.cells.cell import Mode
from memtrain.explaining.explanation import explain
from memtrain.graph.node import Phase
from memtrain.models.transformer import BLOCKS, PARTS
from memtrain.planning.liveness import analyse

SIZES = ((16, 2, 32, 4), (24, 2, 32, 4), (16, 3, 32, 4), (16, 2, 48, 4), (16, 2, 32, 8), (40, 5, 24, 2))
"""s, b, h and a."""

IN_BLOCKS = {"sbh": 64, "asb": 4, "sb": 16}
"""What memtrain and PyTorch retain in a layer without dropout, with attention in blocks."""


def added(sizes, dropout, attention):
    """The bytes that a third layer adds to what two layers retain."""
    schedules = (layers(depth, sizes, dropout, attention).schedule(Mode.TRAIN) for depth in (2, 3))
    two, three = (sum(node.nbytes for node in analyse(schedule).retained) for schedule in schedules)
    return three - two


def read_by_second_layer(schedule):
    """The retained bytes that backward of the second layer reads first, by part of the layer and label."""
    graph, readers, found = schedule.graph, {}, Counter()
    for step in schedule.steps:
        node = graph[step.node]
        for index in node.inputs if step.phase is not Phase.FORWARD else ():
            readers.setdefault(graph[index].storage, node)
    for node in analyse(schedule).retained:
        scope = readers[node.id].scope
        if scope and scope[0].number == 2:
            found[scope[-1].kind, node.label] += node.nbytes
    return found


def test_the_terms_of_the_paper_add_up_to_its_formula_and_ours_are_no_more_than_those_of_pytorch():
    assert totals("paper") == {"sbh": 34, "as²b": 5}
    assert totals("ours") == {"sbh": 66, "as²b": 9, "sb": 16}
    assert totals("pytorch") == {"sbh": 72, "as²b": 12, "sb": 16, "s²": 1}
    by_part = {
        part: sum(term.paper for term in TERMS if (term.part, term.unit) == (part, "sbh"))
        for part in ("norm", "attention", "perceptron")
    }
    assert by_part == {"norm": 4, "attention": 11, "perceptron": 19}
    assert all(term.ours == term.pytorch or (term.ours < term.pytorch and term.why) for term in TERMS)
    values = [term for term in TERMS if term.paper]
    assert all(term.ours == term.paper * (1 if "mask" in term.value else 2) for term in values)


@pytest.mark.parametrize("sizes", SIZES)
def test_a_layer_retains_these_terms_and_nothing_else(sizes):
    wanted = {(term.part, term.label): term.ours * UNITS[term.unit](*sizes) for term in TERMS if term.ours}
    assert read_by_second_layer(layers(3, sizes, 0.1, PARTS).schedule(Mode.TRAIN)) == wanted
    assert added(sizes, 0.1, PARTS) == sum(wanted.values()) == value_of(totals("ours"), sizes)


@pytest.mark.parametrize("sizes", SIZES)
def test_a_layer_with_attention_in_blocks_retains_no_square_of_the_sequence(sizes):
    assert added(sizes, 0.0, BLOCKS) == value_of(IN_BLOCKS, sizes)


def test_explain_shows_the_terms_of_each_part_in_symbols():
    explanation = explain(layers(3, SIZES[0], 0.1, PARTS))
    formulas = {entry.name: entry.formula for entry in explanation.retained_by_layer}
    for number in (1, 2, 3):
        assert formulas[f"block{number} norm"] == "8·n·m·t + 16·n·t"
        assert set(formulas[f"block{number} attention"].split(" + ")) == {"21·n·m·t", "9·n·a·t²"}
        assert formulas[f"block{number} perceptron"] == "37·n·m·t"
    assert sum(entry.bytes for entry in explanation.retained_by_layer) == sum(
        entry.bytes for entry in explanation.retained
    )


@pytest.mark.oracle
@pytest.mark.parametrize(("attention", "counts"), [(PARTS, totals("pytorch")), (BLOCKS, IN_BLOCKS)])
@pytest.mark.parametrize("sizes", SIZES)
def test_pytorch_saves_the_terms_that_are_said_of_it(sizes, attention, counts):
    torch = pytest.importorskip("torch")
    from torch_saved import saved_bytes

    s, b, h, a = sizes
    rate = 0.1 if attention == PARTS else 0.0
    linear = torch.nn.ModuleList([torch.nn.Linear(h, h) for _ in "qkvo"])
    norms = torch.nn.ModuleList([torch.nn.LayerNorm(h) for _ in range(2)])
    wide, narrow = torch.nn.Linear(h, 4 * h), torch.nn.Linear(4 * h, h)
    x, hidden = torch.randn(b, s, h), torch.ones(s, s, dtype=torch.bool).triu(1)
    functional = torch.nn.functional

    def forward():
        u = norms[0](x)
        q, k, v = (layer(u).view(b, s, a, -1).transpose(1, 2) for layer in linear[:3])
        if attention == BLOCKS:
            c = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-1, -2) * (h // a) ** -0.5).masked_fill(hidden, -torch.inf)
            c = functional.dropout(scores.softmax(-1), rate) @ v
        r = x + functional.dropout(linear[3](c.transpose(1, 2).reshape(b, s, h)), rate)
        z = wide(norms[1](r))
        return r + functional.dropout(narrow(functional.gelu(z)), rate)

    parameters = [p for module in (linear, norms, wide, narrow) for p in module.parameters()]
    assert saved_bytes(forward, parameters) == value_of(counts, sizes)
