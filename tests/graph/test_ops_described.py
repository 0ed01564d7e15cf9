"""The descriptions of every registered op: FLOPs, formula, purpose, glyph, and what its vjp rule reads."""

from __future__ import annotations

import numpy as np
import pytest
from examples import CASES, SMALL, has_free_inputs, leaf, leaves, make

from memtrain.explaining.formulas import Book
from memtrain.graph.builder import Builder
from memtrain.graph.node import Role
from memtrain.graph.ops import ACTIVATIONS, OPS
from memtrain.graph.ops.activation import Relu, ReluGrad, Tanh, TanhGrad
from memtrain.graph.ops.arithmetic import Add, Multiply, Scale, Shift, SumTo
from memtrain.graph.ops.base import Op, Speed
from memtrain.graph.ops.gelu import Gelu, GeluGrad
from memtrain.graph.ops.loss import Mse, MseGrad, Nll, NllGrad, SquaredNorm
from memtrain.graph.ops.matmul import MatMul
from memtrain.graph.ops.scaled_sum import AddScaled
from memtrain.graph.ops.softmax import LogSoftmax, LogSoftmaxGrad
from memtrain.graph.ops.source import Fill, Leaf
from memtrain.graph.size import Dim, text
from memtrain.planning.cost import Rates, flops, moved_bytes

F8, I8 = np.dtype(np.float64), np.dtype(np.int64)
N, M, Q = Dim(6, "n"), Dim(4, "m"), Dim(3, "q")


def applied(name, place=0, sizes=SMALL):
    """A graph in which the op of an example is applied to leaves, and the node of the op."""
    op, arrays = make(name, place, sizes)
    b = Builder()
    node = b.apply(op, *leaves(b, arrays), name="r")
    return b, node


@pytest.mark.parametrize(("name", "place"), CASES)
def test_every_op_says_what_it_costs_how_it_is_written_and_what_it_needs_its_inputs_for(name, place):
    b, node = applied(name, place)
    graph = b.graph()
    book = Book(graph, 1e-4)
    formula = book.formula(node)
    read = [graph[index] for index in node.inputs]
    factors = [words.rstrip("ᵀ").removeprefix("φ′(").rstrip(")") for words, _ in formula.factors]
    assert set(factors) <= {given.name for given in read}
    if name not in (
        "nll_grad",
        "mse_grad",
        "add_scaled",
        "cross_entropy_grad",
    ):  # in these, a number precedes the factors
        assert set(factors) == {given.name for given in read}
    assert all(given.name in formula.right for given in read)
    for given in read:
        purpose = book.purpose(node, given)
        assert purpose.startswith("needs ")
        assert given.name in purpose
    work = flops(graph, node)
    assert work == 0 if OPS[name].is_view else work >= node.size
    assert node.op.drawn
    assert node.op.speed in Speed
    assert node.role == (Role.INPUT if name == "leaf" else None)


@pytest.mark.parametrize("name", [name for name in OPS if has_free_inputs(name)])
def test_an_op_says_whether_its_rule_reads_its_output_and_no_input(name):
    b, node = applied(name)
    cotangent = leaf(b, "g", node.shape, node.dtype)
    before = len(b.nodes)
    wanted = [position for position, index in enumerate(node.inputs) if b[index].dtype.kind == "f"]
    assert [position for position, _ in node.op.vjp(b, node, cotangent, wanted)] in (wanted, wanted[:1])
    read = {index for built in b.nodes[before:] for index in built.inputs}
    assert OPS[name].reads_output == (node.id in read and read.isdisjoint(node.inputs))


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.speed is Speed.OWN])
def test_an_op_with_a_rate_of_its_own_can_be_made_and_measured_without_attributes(name):
    b = Builder()
    shapes = [(3, 4)] * OPS[name].input_count
    node = b.apply(OPS[name](), *[leaf(b, f"x{i}", shape) for i, shape in enumerate(shapes)])
    rates = Rates(1e9, 1e6, {name: 5e5})
    bytes_ = 12 * 8 * (1 + OPS[name].input_count)
    assert moved_bytes(b.graph(), node) == bytes_
    assert rates.seconds(b.graph(), node) == bytes_ / 5e5
    assert Rates(1e9, 1e6, {}).seconds(b.graph(), node) == bytes_ / 1e6


def test_matrix_products_take_their_flops_at_the_rate_of_products():
    b = Builder()
    for op, x, y in (
        (MatMul(), (6, 4), (4, 3)),
        (MatMul(True, False), (4, 6), (4, 3)),
        (MatMul(False, True), (6, 4), (3, 4)),
        (MatMul(True, True), (4, 6), (3, 4)),
    ):
        node = b.apply(op, leaf(b, f"x{len(b.nodes)}", x), leaf(b, f"y{len(b.nodes)}", y))
        assert flops(b.graph(), node) == 2 * 6 * 4 * 3
        assert Rates(1e9, 1.0, {"matmul": 1.0}).seconds(b.graph(), node) == 144 / 1e9
    stack = b.apply(MatMul(), leaf(b, "s", (5, 6, 4)), leaf(b, "t", (4, 3)))
    assert flops(b.graph(), stack) == 5 * 144
    total = b.apply(SumTo(()), leaf(b, "u", (6, 4)))
    assert flops(b.graph(), total) == 24


class Page:
    """A graph with a few named values, of which a test writes formulas."""

    def __init__(self):
        self.b = Builder()
        shapes = {
            "x": (N, M),
            "g": (N, M),
            "W": (Q, M),
            "o": (N, Q),
            "p": (N, Q),
            "c": (),
            "b1": (M,),
            "v": (M, Q),
        }
        self.named = {name: leaf(self.b, name, shape) for name, shape in shapes.items()}
        self.named["y"] = self.b.apply(Leaf(Role.INPUT, (N,), I8), name="y")
        self.named["one"] = self.b.apply(Fill(1.0, (), F8), name="one")
        self.named["part"] = self.b.apply(Scale(0.25), self.named["one"], name="part")
        self.named["z"] = self.b.apply(Multiply(), self.named["x"], self.named["g"], name="z")
        self.named["h"] = self.b.apply(Tanh(), self.named["z"], name="h")

    def right(self, op, *names, l2=0.0):
        node = self.b.apply(op, *[self.named[name] for name in names])
        return Book(self.b.graph(), l2).formula(node).right


@pytest.mark.parametrize(
    ("op", "names", "right"),
    [
        (MatMul(False, True), ("x", "W"), "W x"),
        (MatMul(True, False), ("o", "x"), "o xᵀ"),
        (MatMul(False, False), ("o", "W"), "Wᵀ o"),
        (MatMul(False, False), ("W", "v"), "W v"),
        (MatMul(True, True), ("v", "W"), "vᵀ Wᵀ"),
        (Add(), ("x", "b1"), "x + b1"),
        (Multiply(), ("x", "g"), "x ⊙ g"),
        (Multiply(), ("x", "c"), "x c"),
        (Scale(0.5), ("x",), "0.5 x"),
        (Scale(5e-5), ("x",), "5e-05 x"),
        (Scale(0.5, "λ/2"), ("x",), "λ/2 x"),
        (Shift(2.0), ("x",), "x + 2"),
        (AddScaled(2.0), ("x", "c", "g"), "x + 2 c g"),
        (AddScaled(1.0), ("x", "c", "g"), "x + c g"),
        (AddScaled(1.0), ("x", "one", "g"), "x + g"),
        (AddScaled(2.0), ("x", "part", "g"), "x + λ g"),
        (SumTo((M,)), ("x",), "Σ_n x"),
        (SumTo((N, 1)), ("x",), "Σ x"),
        (Relu(), ("x",), "φ(x)"),
        (Gelu(), ("x",), "φ(x)"),
        (TanhGrad(), ("g", "h"), "g ⊙ φ′(z)"),
        (ReluGrad(), ("g", "x"), "g ⊙ φ′(x)"),  # x is a leaf, so its input is not known
        (GeluGrad(), ("g", "z"), "g ⊙ φ′(z)"),
        (LogSoftmax(), ("o",), "log softmax(o)"),
        (LogSoftmaxGrad(), ("o", "p"), "o − exp(p) ⊙ Σ_q o"),
        (Nll(), ("p", "y"), "−mean p[y]"),
        (NllGrad((N, Q)), ("one", "y"), "−onehot(y)/n"),
        (NllGrad((N, Q)), ("part", "y"), "−0.25 onehot(y)/n"),
        (NllGrad((N, Q)), ("c", "y"), "−c onehot(y)/n"),
        (Mse(), ("o", "p"), "mean (o − p)²"),
        (MseGrad(), ("one", "o", "p"), "2 (o − p)/(n·q)"),
        (MseGrad(), ("part", "o", "p"), "λ (o − p)/(n·q)"),
        (SquaredNorm(), ("W",), "‖W‖²"),
        (Fill(1.0, (), F8), (), "1"),
    ],
)
def test_a_formula_is_written_as_the_book_does(op, names, right):
    assert Page().right(op, *names, l2=0.5) == right


@pytest.mark.parametrize(
    ("op", "drawn"),
    [
        (Scale(0.5), "0.5"),
        (Scale(0.5, "λ/2"), "λ/2"),
        (Shift(2.0), "+2"),
        (Fill(0.0, (), F8), "0"),
        (MatMul(), "×"),
        (Gelu(), "φ"),
        (GeluGrad(), "⊙φ′"),
        (OPS["descend"](0.1), "descend"),
    ],
)
def test_a_circle_shows_what_the_op_does(op, drawn):
    assert op.drawn == drawn


def test_purposes_name_what_is_read():
    page = Page()
    named, b = page.named, page.b
    for op, names, read, words in (
        (MatMul(True, False), ("o", "x"), "x", "needs the factor xᵀ"),
        (MatMul(False, False), ("o", "W"), "W", "needs the factor Wᵀ"),
        (TanhGrad(), ("g", "h"), "h", "needs φ′(z): tanh's rule reads its output h"),
        (GeluGrad(), ("g", "z"), "z", "needs φ′(z): gelu's rule reads its input z"),
        (LogSoftmaxGrad(), ("o", "p"), "p", "needs the probabilities exp(p)"),
        (MseGrad(), ("one", "o", "p"), "o", "needs the difference o − p"),
        (Multiply(), ("x", "g"), "g", "needs the operand g"),
    ):
        node = b.apply(op, *[named[name] for name in names])
        assert Book(b.graph(), 0.0).purpose(node, named[read]) == words


def test_workspace_is_declared_in_symbols():
    page = Page()
    found = {
        OPS["gelu"](): (("x",), ["min(16384, n·m)"] * 3),
        LogSoftmax(): (("o",), ["min(5461, n)", "min(5461, n)·q"]),
        Add(): (("x", "b1"), ["min(4096, ⌈n/8⌉)·m"]),
        Nll(): (("p", "y"), ["min(16384, n)"] * 2),
        NllGrad((N, Q)): (("c", "y"), ["min(16384, n)"]),
        Mse(): (("o", "p"), ["min(16384, n·q)"]),
        OPS["descend"](0.1): (("W", "W"), ["min(16384, q·m)"]),
    }
    for op, (names, words) in found.items():
        declared = op.workspace(*[page.named[name] for name in names])
        assert [text(count) for count, _ in declared] == words


def test_activations_are_those_that_say_so_and_initial_values_ask_them():
    assert set(ACTIVATIONS) == {
        "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "identity",
        "leaky_relu", "elu", "softplus", "silu", "hard_swish", "mish",
    }  # fmt: skip
    halving = {name for name, op in ACTIVATIONS.items() if op.halves_variance}
    assert halving == {"relu", "gelu", "gelu_tanh", "leaky_relu", "elu", "silu", "hard_swish", "mish"}
    assert all(isinstance(op(), Op) for op in ACTIVATIONS.values())
