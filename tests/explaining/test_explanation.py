"""The explanation: formulas of the book, reasons, footprint in symbols, timeline, second order."""

from __future__ import annotations

import math
import re
from itertools import islice, product

import pytest
from networks import KINDS, initial_values

from memtrain.cells.cell import BOTH, Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.explaining import differences
from memtrain.explaining.cost import Work, flops, recomputation, work_of
from memtrain.explaining.evidence import can_run, measured
from memtrain.explaining.explanation import explain
from memtrain.explaining.folding import fold, fold_names, of_parameters
from memtrain.explaining.footprint import footprint
from memtrain.explaining.second import second_order
from memtrain.explaining.timeline import Moment, runner_up, stretches
from memtrain.graph import size
from memtrain.graph.node import Block, Name, Role
from memtrain.graph.ops.activation import ReluGrad, SigmoidGrad, TanhGrad
from memtrain.graph.ops.arithmetic import multiply
from memtrain.graph.ops.gelu import GeluGrad, GeluTanhGrad
from memtrain.graph.ops.softmax import LogSoftmaxGrad
from memtrain.measure.workload import batches
from memtrain.models.mlp import ACTIVATIONS
from memtrain.planning.cost import Rates
from memtrain.planning.liveness import analyse
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger

MLPS = [
    pytest.param(
        cell_of(depth=depth, batch=batch, activation=name, bias=bias), id=f"{name}-{bias}-{depth}-{batch}"
    )
    for name in ACTIVATIONS
    for bias in (False, True)
    for depth in (range(1, 7) if name in KINDS else (2 + bias,))
    for batch in (8, 512)
]

DIGIT = {"⁰": 0, "¹": 1, "²": 2, "³": 3}


def evaluate(formula, sizes):
    """The value of ``4·(ℓ − 1)·m² + 8·n``, computed from its text by Python's own parser."""
    text = re.sub(r"([A-Za-z]\d*)([²³])", lambda match: f"{match[1]}**{DIGIT[match[2]]}", formula)
    plain = text.replace("·", "*").replace("−", "-").replace("⌈", "ceil(").replace("⌉", ")")
    return eval(plain.replace("ℓ", "l"), {"min": min, "ceil": math.ceil}, sizes | {"l": sizes.get("ℓ")})


def test_the_gradients_of_one_hidden_layer_are_those_of_the_book():
    formulas = [str(formula) for formula in explain(cell_of()).gradients]
    assert formulas[-5:] == [
        "∂L/∂o = ∂L/∂logp − exp(logp) ⊙ Σ_q ∂L/∂logp",
        "∂J/∂W2 = ∂L/∂o hᵀ + λ W2",
        "∂L/∂h = W2ᵀ ∂L/∂o",
        "∂L/∂z = ∂L/∂h ⊙ φ′(z)",
        "∂J/∂W1 = ∂L/∂z xᵀ + λ W1",
    ]


def test_the_forward_pass_of_one_hidden_layer_is_that_of_the_book():
    formulas = [str(formula) for formula in explain(cell_of()).forward]
    assert formulas[:3] == ["z = W1 x", "h = φ(z)", "o = W2 h"]
    assert formulas[-2:] == ["s = λ/2 ‖W1…W2‖²", "J = L + s"]


def test_a_bias_adds_its_formulas():
    explanation = explain(cell_of(bias=True))
    assert "z = W1 x + b1" in [str(formula) for formula in explanation.forward]
    assert "∂L/∂b1 = Σ_n ∂L/∂z" in [str(formula) for formula in explanation.gradients]


@pytest.mark.parametrize("cell", MLPS[::5])
def test_the_dimension_of_every_gradient_is_that_of_its_variable(cell):
    explanation = explain(cell)
    graph = explanation.train.schedule.graph
    shapes = {node.name: node.shape for node in graph}
    for node in graph:
        variable = node.name.rpartition("/∂")[2]
        if node.name.startswith("∂") and variable in shapes:
            assert node.shape == shapes[variable], node.name


@pytest.mark.no_cover
@pytest.mark.parametrize("cell", MLPS)
def test_the_footprint_in_symbols_is_the_predicted_peak_to_the_byte(cell):
    sizes = {"n": cell.batch, "d": 64, "m": cell["width"], "q": 10, "ℓ": cell["depth"]}
    for mode in BOTH:
        liveness = analyse(cell.schedule(mode))
        entries = footprint(cell, mode, liveness)
        assert {entry.role: entry.bytes for entry in entries} == {
            role: count for role, count in liveness.peak_role_bytes.items() if count
        }
        for entry in entries:
            assert evaluate(entry.formula, sizes) == entry.bytes, entry.formula
        assert sum(entry.bytes for entry in entries) == liveness.peak_bytes


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_formula_holds_at_other_sizes_too_while_the_peak_is_at_the_same_step(activation, bias):
    """A block of workspace has 64 × 256 elements by chance, and no formula may write this as n·m."""
    cell = cell_of(activation=activation, bias=bias)
    here = analyse(cell.schedule(Mode.TRAIN))
    formulas = {entry.role: entry.formula for entry in footprint(cell, Mode.TRAIN, here)}
    found = 0
    for batch, width in ((1, 256), (65, 256), (128, 256), (500, 256), (64, 300), (700, 40)):
        there = analyse(cell.changed(batch=batch, width=width).schedule(Mode.TRAIN))
        if there.peak_step == here.peak_step:
            sizes = {"n": batch, "d": 64, "m": width, "q": 10, "ℓ": 1}
            for role, count in there.peak_role_bytes.items():
                assert evaluate(formulas.get(role, "0"), sizes) == count, (batch, width, formulas[role])
            found += 1
    assert found >= 2


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_size_of_one_keeps_its_symbol(mode, depth):
    """n·q equals n if q = 1. A formula must hold for other sizes, too, as long as the peak stays."""
    found = set()
    for sizes in product((1, 40), (1, 4), (1, 3), (1, 7)):
        for bias, scale in product((False, True), (2, 5)):
            here, there = (
                cell_of(
                    depth=depth, batch=n, input_size=d, width=h, output_size=q, data="synthetic", bias=bias
                )
                for n, d, h, q in (sizes, [scale * size for size in sizes])
            )
            peaks = [analyse(cell.schedule(mode)) for cell in (here, there)]
            if peaks[0].peak_step == peaks[1].peak_step:
                formulas = {entry.role: entry.formula for entry in footprint(here, mode, peaks[0])}
                names = dict(
                    zip(
                        "ndmqℓ",
                        (there.batch, there["input_size"], there["width"], there["output_size"], depth),
                        strict=True,
                    )
                )
                for role, count in peaks[1].peak_role_bytes.items():
                    assert evaluate(formulas.get(role, "0"), names) == count, (here, there, formulas[role])
                found.add(sizes[3])
    assert found == {1, 7}


def test_the_loss_of_a_large_batch_is_said_in_examples_and_not_in_outputs():
    """Beyond a block of examples, formulas with n and with n·q give the same number. Only one is right."""
    cell = cell_of(depth=0, batch=20_000, input_size=1, output_size=3, data="synthetic")
    (loss,) = (node for node in cell.keep_all(Mode.TRAIN).graph if node.name == "L")
    inputs = [cell.keep_all(Mode.TRAIN).graph[index] for index in loss.inputs]
    assert [size.text(count) for count, _ in loss.op.workspace(*inputs)] == ["min(16384, n)"] * 2


def test_a_batch_of_one_is_a_batch():
    assert [str(f) for f in explain(cell_of(batch=1, bias=True)).gradients] == [
        str(f) for f in explain(cell_of(batch=9, bias=True)).gradients
    ]


def test_a_formula_in_the_depth_holds_for_deeper_networks_too():
    cell = cell_of(depth=6, batch=512)
    formulas = {e.role: e.formula for e in footprint(cell, Mode.TRAIN, analyse(cell.schedule(Mode.TRAIN)))}
    assert formulas[Role.RETAINED] == "4·(ℓ − 1)·n·m"
    deep = cell_of(depth=40, batch=512)
    at_peak = analyse(deep.schedule(Mode.TRAIN)).peak_role_bytes
    sizes = {"n": 512, "d": 64, "m": 256, "q": 10, "ℓ": 40}
    assert {role: evaluate(formula, sizes) for role, formula in formulas.items()} == {
        role: count for role, count in at_peak.items() if count
    }


@pytest.mark.no_cover
@pytest.mark.parametrize("cell", MLPS)
def test_the_retained_bytes_are_those_of_the_row_and_each_has_a_reader(cell):
    explanation = explain(cell)
    assert (
        sum(entry.bytes for entry in explanation.retained)
        == predicted_row(cell, Mode.TRAIN)["retained_bytes"]
    )
    for entry in explanation.retained:
        assert entry.read_by
        assert entry.born_step < entry.freed_step
        assert evaluate(entry.formula, {"n": cell.batch, "m": 256, "q": 10}) == entry.bytes


def test_the_reasons_of_the_books_network():
    explanation = explain(cell_of())
    h, logp = explanation.retained
    assert (h.name, h.formula, h.producer) == ("h", "4·n·m", "h = φ(z)")
    assert [(reader.gradient, reader.purpose) for reader in h.read_by] == [
        ("∂J/∂W2", "needs the factor hᵀ"),
        ("∂L/∂z", "needs φ′(z): relu's rule reads its output h"),
    ]
    assert [reader.gradient for reader in logp.read_by] == ["∂L/∂o"]
    dropped = {entry.name: entry.reason for entry in explanation.dropped}
    assert dropped["z"] == "relu's backward rule reads its output h instead, and h takes over z's buffer"
    assert "logp" in dropped["o"]


def test_gelu_keeps_its_input_and_says_so():
    reasons = {entry.name: entry.read_by[0].purpose for entry in explain(cell_of(activation="gelu")).retained}
    assert reasons["z"] == "needs φ′(z): gelu's rule reads its input z"


@pytest.mark.no_cover
@pytest.mark.parametrize("cell", MLPS)
def test_the_footprint_is_what_real_arrays_hold_to_the_byte(cell):
    for mode in BOTH:
        schedule = cell.schedule(mode)
        ledger = Ledger()
        run = Run(schedule, ledger)
        run.load(initial_values(cell.network, cell.seed))
        for batch in islice(batches(cell), 2):
            run.feed(batch)
            run.iterate()
        entries = footprint(cell, mode, analyse(schedule))
        assert sum(entry.bytes for entry in entries) == ledger.peak_bytes
        assert {e.role: e.bytes for e in entries} == {r: n for r, n in ledger.peak_role_bytes.items() if n}


@pytest.mark.parametrize("cell", MLPS[::7])
def test_the_timeline_adds_up_to_the_live_bytes_of_every_step(cell):
    explanation = explain(cell)
    for account in (explanation.train, explanation.infer):
        assert [moment.total_bytes for moment in account.timeline] == list(account.liveness.live_bytes)
        assert account.peak.live_bytes == account.liveness.peak_role_bytes


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ([1, 5, 2, 4, 1], (3, 1)),
        ([1, 5, 4, 3], (2, 1)),  # not only at the peak
        ([1, 5, 2, 5, 1, 3], (3, 0)),
        ([5], None),
    ],
)
def test_the_runner_up_is_the_highest_other_step(totals, expected):
    moments = [Moment(i, "forward", "x", {Role.TRANSIENT: total}) for i, total in enumerate(totals)]
    found = runner_up(moments, totals.index(5))
    assert expected == (None if found is None else (found.moment.step, found.margin_bytes))


def test_stretches_cover_all_steps_keep_the_peak_and_join_what_is_folded():
    totals, names = [1, 5, 2, 9, 1, 1, 3], ["z", "h", "n1", "n2", "s", "o", "J"]
    moments = [
        Moment(step, "forward", name, {Role.TRANSIENT: total})
        for step, (total, name) in enumerate(zip(totals, names, strict=True))
    ]
    assert [line.name for line in stretches(moments, 9)] == names
    folded = stretches(moments, 9, {"n1", "n2", "s"})
    assert [(line.name, line.highest.step) for line in folded] == [
        ("z", 0),
        ("h", 1),
        ("n1 … s", 3),
        ("o", 5),
        ("J", 6),
    ]
    assert [(line.name, line.highest.step) for line in stretches(moments, 2)] == [("n2", 3), ("J", 6)]


def test_the_steps_of_the_regulariser_are_the_numbers_made_of_parameters_alone():
    graph = cell_of(depth=2, bias=True).schedule(Mode.TRAIN).graph
    assert of_parameters(graph) == {"‖W1‖²", "‖W2‖²", "‖W3‖²", "‖W1…W2‖²", "‖W1…W3‖²", "s"}
    assert of_parameters(cell_of(l2=0.0).schedule(Mode.TRAIN).graph) == set()


def test_the_work_of_a_schedule_is_the_sum_of_its_steps():
    schedule = cell_of(batch=2, width=3, depth=0, l2=0.0).schedule(Mode.INFER)
    assert work_of(schedule, None) == Work(2 * 2 * 10 * 64, None)
    assert work_of(schedule, Rates(1280.0, 1.0, {})) == Work(2560, 2.0)


def test_shapes_are_oriented_as_the_formulas_are():
    h, logp = explain(cell_of(batch=8)).retained
    assert (h.shape, h.book_sizes, h.book_shape) == ((8, 256), (256, 8), "m×n")
    assert (logp.book_sizes, logp.book_shape) == ((10, 8), "q×n")


def test_recomputing_everything_costs_what_can_be_counted_by_hand():
    cell = cell_of(batch=2, width=3)
    schedule = cell.schedule(Mode.TRAIN)
    graph = schedule.graph
    assert flops(graph, graph.named("z")) == 2 * 2 * 3 * 64
    to_h = 2 * 2 * 3 * 64 + 2 * 3
    to_logp = to_h + 2 * 2 * 10 * 3 + 2 * 10
    assert recomputation(schedule).extra_flops == to_logp + 2 * to_h  # ∂L/∂o, ∂L/∂W2 and ∂L/∂z


@pytest.mark.parametrize("count", [2, 4])
def test_micro_batches_recompute_together_what_the_whole_batch_would(count):
    """Each micro-batch recomputes from its own x, not from the x of the first."""
    whole, parts = (
        recomputation(cell_of(depth=3, batch=64, accumulate=n).schedule(Mode.TRAIN)) for n in (1, count)
    )
    assert parts.forward_flops == pytest.approx(whole.forward_flops, rel=1e-4)
    assert parts.extra_flops == whole.extra_flops


def line(label, *numbers):
    scope = tuple(Block("block", number) for number in numbers)
    return Name(f"{label}{'.'.join(map(str, numbers))}", label, scope)


def test_repeated_layers_fold_to_the_first_and_the_last():
    lines = [line(label, k) for k in range(1, 9) for label in "zh"]
    found = fold(lines, lambda item: None)
    assert found == [(lines[0], 0), (lines[1], 0), (None, 6), (lines[14], 0), (lines[15], 0)]
    again = [line(label, 1) for _ in range(4) for label in "ab"]
    assert [item for item, _ in fold(again, lambda item: None)] == again
    differing = fold(lines, lambda item: item.scope[-1].number in (3, 6))
    assert [item for item, _ in differing] == lines
    formulas = explain(cell_of(depth=500)).forward
    assert len(fold(formulas, lambda formula: formula.shape)) < 25


def test_names_fold_by_the_last_block_within_the_ones_around_it():
    lines = [line("h", part, k) for part in (1, 2) for k in (1, 2, 3, 5)]
    assert fold_names([*lines, Name("o", "o", ())]) == "h1.1…h1.3, h1.5, h2.1…h2.3, h2.5, o"


@pytest.mark.parametrize("depth", [1, 3, 8])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_the_second_order_is_that_of_central_differences_and_keeps_more(activation, depth):
    second = second_order(cell_of(activation=activation, bias=True, width=32, depth=depth))
    assert second.relative_error < 1e-6
    assert second.ok
    assert second.second.peak_bytes > second.first.peak_bytes
    assert {n.name for n in second.first_kept} <= {n.name for n in second.second_kept}


@pytest.mark.parametrize("seed", range(10))
def test_a_unit_that_stands_at_its_kink_makes_no_right_product_wrong(seed):
    """Biases start at 0. So for a unit without a positive input z is exactly 0, the kink of ReLU."""
    second = second_order(cell_of(depth=2, width=3, batch=50, bias=True, seed=seed))
    assert second.ok
    assert second.relative_error < 1e-6


def without_mask(self, b, node, cotangent, wanted):
    if 0 in wanted:
        yield 0, cotangent


def without_factor(self, b, node, cotangent, wanted):
    for position in wanted:
        yield position, multiply(b, cotangent, b[node.inputs[position]])


@pytest.mark.parametrize(
    ("activation", "op", "rule"),
    [
        ("relu", ReluGrad, without_mask),
        ("tanh", TanhGrad, without_factor),
        ("sigmoid", SigmoidGrad, without_factor),
        ("gelu", GeluGrad, without_factor),
        ("gelu_tanh", GeluTanhGrad, without_factor),
        ("identity", LogSoftmaxGrad, without_factor),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_wrong_rule_of_second_order_is_found(activation, op, rule, bias, monkeypatch):
    monkeypatch.setattr(op, "vjp", rule)
    for seed in range(5):
        cell = cell_of(depth=2, width=3, batch=50, activation=activation, bias=bias, seed=seed)
        second = second_order(cell)
        assert second.relative_error > 1e-3
        assert not second.ok


def test_a_product_that_cannot_be_checked_says_so(monkeypatch):
    """Steps as long as the parameters always move some unit across its kink."""
    monkeypatch.setattr(differences, "_STEPS", (1.0,))
    second = second_order(cell_of(depth=2, width=8, bias=True))
    assert second.relative_error is None
    assert "a unit crosses its kink" in second.unchecked
    assert second.ok


def test_what_is_too_large_is_explained_and_not_run():
    explanation = explain(cell_of(depth=50, width=4096, batch=2**20))
    assert not can_run(explanation)
    assert second_order(cell_of(depth=3, width=2048, batch=2**20)).relative_error is None


@pytest.mark.measure
def test_the_footprint_is_what_the_ledger_finds_and_the_heap_too():
    cell = cell_of(depth=3, batch=200, activation="gelu", bias=True)
    explanation = explain(cell)
    for mode, row in measured(cell).items():
        account = explanation.train if mode is Mode.TRAIN else explanation.infer
        for entry in account.footprint:
            assert row[f"peak_{entry.role}_bytes"] == entry.bytes
        ledger = row["ledger_peak_bytes"]
        assert abs(row["heap_peak_bytes"] - ledger) <= max(0.001 * ledger, 16 * 1024)
