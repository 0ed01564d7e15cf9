"""The values of a graph as formulas in the notation of the book (Dive into Deep Learning 5.3).

The book writes an example as a column, the graph stores a batch of them as rows. So a value that carries the
batch is printed transposed: Z = X W1ᵀ in the graph is z = W1 x in the book.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memtrain.graph.node import Dim, Graph, Node, Scope, Shape
from memtrain.graph.ops.activation import Relu, ReluGrad, Sigmoid, SigmoidGrad, Tanh, TanhGrad
from memtrain.graph.ops.arithmetic import Add, AddScaled, Exp, Multiply, Scale, Shift, SumTo
from memtrain.graph.ops.gelu import Gelu, GeluGrad, GeluTanh, GeluTanhGrad
from memtrain.graph.ops.loss import LogSoftmax, LogSoftmaxGrad, Mse, MseGrad, Nll, NllGrad, SquaredNorm
from memtrain.graph.ops.matmul import MatMul
from memtrain.graph.ops.source import Fill
from memtrain.graph.ops.view import Identity

_ACTIVATIONS = (Relu, Tanh, Sigmoid, Gelu, GeluTanh, Identity)


@dataclass(frozen=True)
class Formula:
    """``left = right``, with the shape of the value and of each factor, as the book orients them."""

    left: str
    label: str
    scope: Scope
    shape: str
    right: str
    factors: tuple[tuple[str, str], ...]
    """Text and shape of each factor, in the order in which ``right`` names them."""

    @property
    def name(self) -> str:
        """The value that it gives."""
        return self.left

    def __str__(self) -> str:
        return f"{self.left} = {self.right}"


class Book:
    """Writes the nodes of a graph as the book does. ``l2`` is printed as λ."""

    def __init__(self, graph: Graph, l2: float) -> None:
        self._graph = graph
        self._l2 = l2
        self._single = not any(node.name in ("h2", "z2") for node in graph)
        self._consumers: dict[int, list[int]] = {}
        for node in graph:
            for index in node.inputs:
                self._consumers.setdefault(index, []).append(node.id)

    def name(self, node: Node) -> str:
        """The name of a value; a network with one hidden layer has no numbers at z and h."""
        return re.sub(r"\b([zh])1\b", r"\1", node.name) if self._single else node.name

    def formula(self, node: Node) -> Formula:
        """What ``node`` is, in terms of the values that it reads."""
        factors: list[tuple[str, str]] = []
        right = self._right(node, factors)
        return Formula(self.name(node), node.label, node.scope, self.shape(node), right, tuple(factors))

    def shape(self, node: Node, transposed: bool = False) -> str:
        """The shape in symbols as the book orients it: ``q×h``; ``1`` for a number."""
        sizes = node.shape
        if len(sizes) == 2 and carries_batch(node) != transposed:
            sizes = sizes[::-1]
        return "×".join(map(symbol, sizes)) or "1"

    def purpose(self, reader: Node, read: Node) -> str:
        """What the rule of ``reader`` needs the value for."""
        name = self.name(read)
        match reader.op:
            case MatMul():
                return f"as the factor {self._factors_of(reader, read)}"
            case ReluGrad() | TanhGrad() | SigmoidGrad():
                return f"for φ′, which {_forward_name(reader)}'s rule takes from its output {name}"
            case GeluGrad() | GeluTanhGrad():
                return f"for φ′, which {_forward_name(reader)}'s rule takes from its input {name}"
            case LogSoftmaxGrad():
                return f"for the probabilities exp({name})"
            case MseGrad():
                return f"for the difference {name} − y"
            case _:
                return f"as an operand of {reader.op.name}"

    def _factors_of(self, reader: Node, read: Node) -> str:
        factors: list[tuple[str, str]] = []
        self._right(reader, factors)
        name = self.name(read)
        return next((text for text, _ in factors if text in (name, f"{name}ᵀ")), name)

    def _right(self, node: Node, factors: list[tuple[str, str]]) -> str:
        inputs = [self._graph[index] for index in node.inputs]

        def term(read: Node, transposed: bool = False) -> str:
            if self._is_part_of(read, node):
                return self._right(read, factors)
            text = self.name(read) + ("ᵀ" if transposed else "")
            factors.append((text, self.shape(read, transposed)))
            return text

        match node.op:
            case MatMul(transpose_a=left, transpose_b=right):
                pairs = [(inputs[0], left), (inputs[1], right)]
                if carries_batch(node):
                    pairs = [(value, not flag) for value, flag in reversed(pairs)]
                return " ".join(term(value, flag != carries_batch(value)) for value, flag in pairs)
            case Add():
                return " + ".join(map(term, inputs))
            case AddScaled(factor=factor):
                added = term(inputs[0])
                return f"{added} + {self._constant(factor, inputs[1])}{term(inputs[2])}"
            case Multiply():
                return (" ⊙ " if all(value.shape for value in inputs) else " ").join(map(term, inputs))
            case Scale(factor=factor):
                return f"{self._number(factor)} {term(inputs[0])}"
            case Shift(amount=amount):
                return f"{term(inputs[0])} + {amount:g}"
            case ReluGrad() | TanhGrad() | SigmoidGrad():
                return self._slope(term(inputs[0]), self._graph[inputs[1].inputs[0]], factors)
            case GeluGrad() | GeluTanhGrad():
                return self._slope(term(inputs[0]), inputs[1], factors)
            case SumTo():
                over = "_n" if carries_batch(inputs[0]) and not carries_batch(node) else ""
                return f"Σ{over} {term(inputs[0])}"
            case Exp():
                return f"exp({term(inputs[0])})"
            case LogSoftmax():
                return f"log softmax({term(inputs[0])})"
            case LogSoftmaxGrad():
                incoming = term(inputs[0])
                last = symbol(inputs[0].shape[-1])
                return f"{incoming} − exp({term(inputs[1])}) ⊙ Σ_{last} {incoming}"
            case Nll():
                return f"−mean {term(inputs[0])}[{term(inputs[1])}]"
            case NllGrad():
                return f"−onehot({term(inputs[1])})/n"
            case Mse():
                return f"mean ({term(inputs[0])} − {term(inputs[1])})²"
            case MseGrad():
                return f"2 ({term(inputs[1])} − {term(inputs[2])})/(n·q)"
            case SquaredNorm():
                return f"‖{term(inputs[0])}‖²"
            case Fill(value=value):
                return f"{value:g}"
            case op if isinstance(op, _ACTIVATIONS):
                return f"φ({term(inputs[0])})"
            case op:
                return f"{op.name}({', '.join(map(term, inputs))})"

    def _slope(self, incoming: str, argument: Node, factors: list[tuple[str, str]]) -> str:
        slope = f"φ′({self.name(argument)})"
        factors.append((slope, self.shape(argument)))
        return f"{incoming} ⊙ {slope}"

    def completed(self, node: Node) -> Node:
        """The sum that ``node`` is only the first part of, or ``node`` itself."""
        consumers = self._consumers.get(node.id, [])
        heir = self._graph[consumers[0]] if len(consumers) == 1 else None
        return heir if heir is not None and self._is_part_of(node, heir) else node

    def _is_part_of(self, read: Node, reader: Node) -> bool:
        """Whether ``read`` is only the first part of the sum that ``reader`` completes: it has no name."""
        variable = read.name.rpartition("/∂")[2]
        return (
            read.name.startswith("∂")
            and isinstance(reader.op, (Add, AddScaled))
            and reader.name.endswith(f"/∂{variable}")
            and self._consumers.get(read.id) == [reader.id]
        )

    def _constant(self, factor: float, number: Node) -> str:
        """factor · number as a prefix, where the number is one that the graph fixes."""
        value = self._folded(number)
        if value is None:
            return f"{factor:g} {self.name(number)} "
        text = self._number(factor * value)
        return "" if text == "1" else f"{text} "

    def _folded(self, number: Node) -> float | None:
        scale = 1.0
        while isinstance(number.op, Scale):
            scale *= number.op.factor
            number = self._graph[number.inputs[0]]
        return scale * number.op.value if isinstance(number.op, Fill) else None

    def _number(self, value: float) -> str:
        if self._l2 and value == self._l2:
            return "λ"
        return "λ/2" if self._l2 and value == self._l2 / 2 else f"{value:g}"


def carries_batch(node: Node) -> bool:
    """Whether the first axis of a value is the batch."""
    return bool(node.shape) and symbol(node.shape[0]) == "n"


def symbol(size: int) -> str:
    """The symbol of a size, or its digits."""
    return size.symbol if isinstance(size, Dim) else str(size)


def symbols(graph: Graph) -> dict[str, int]:
    """The number behind each symbol of the graph, in the order in which they appear."""
    return {symbol(size): int(size) for node in graph for size in node.shape if isinstance(size, Dim)}


def bytes_formula(shape: Shape, itemsize: int) -> str:
    """Bytes as a product of symbols: ``4·n·h``."""
    return "·".join([str(itemsize), *map(symbol, shape)])


def _forward_name(reader: Node) -> str:
    return reader.op.name.removesuffix("_grad")
