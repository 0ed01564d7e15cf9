"""The values of a graph as formulas in the notation of the book (Dive into Deep Learning 5.3).

The book writes an example as a column, the graph stores a batch of them as rows. So a value that carries the
batch is printed transposed: Z = X W1ᵀ in the graph is z = W1 x in the book.
"""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.graph import size
from memtrain.graph.node import Graph, Node, Phase, Scope, Shape


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
        """The name of the value that the formula defines."""
        return self.left

    def __str__(self) -> str:
        return f"{self.left} = {self.right}"


class Book:
    """Writes the nodes of a graph as the book does. ``l2`` is printed as λ."""

    def __init__(self, graph: Graph, l2: float) -> None:
        self._graph = graph
        self._l2 = l2
        self.sizes = symbols(graph)
        """The size of each symbol of the graph."""
        self._consumers: dict[int, list[int]] = {}
        for node in graph:
            for index in node.inputs:
                self._consumers.setdefault(index, []).append(node.id)

    def formula(self, node: Node) -> Formula:
        """The formula of ``node`` in the values that it reads."""
        sentence = _Sentence(self, node)
        right = node.op.formula(sentence, node, *self.inputs(node))
        shape, factors = self.shape(node), tuple(sentence.factors)
        return Formula(node.name, node.label, node.scope, shape, right, factors)

    def shape(self, node: Node, transposed: bool = False) -> str:
        """The shape in symbols as the book orients it: ``q×m``; ``1`` for a number."""
        return "×".join(map(size.text, self.oriented(node, transposed))) or "1"

    def oriented(self, node: Node, transposed: bool = False) -> Shape:
        """The shape as the book orients it: an example is a column. ``transposed`` swaps the two axes."""
        swapped = len(node.shape) == 2 and size.carries_batch(node.shape) != transposed
        return node.shape[::-1] if swapped else node.shape

    def purpose(self, reader: Node, read: Node) -> str:
        """What ``reader`` needs its input ``read`` for: ``needs the factor hᵀ``."""
        return reader.op.purpose(_Sentence(self, reader), read, reader, *self.inputs(reader))

    def inputs(self, node: Node) -> list[Node]:
        """The nodes that ``node`` reads."""
        return [self._graph[index] for index in node.inputs]

    def constant(self, node: Node) -> float | None:
        """The number that a node has in every run; ``None`` if its value depends on the leaves."""
        return node.op.constant(_Sentence(self, node), *self.inputs(node))

    def number(self, value: float) -> str:
        """The text of a factor: λ, or digits."""
        return "λ" if self._l2 and value == self._l2 else f"{value:g}"

    def completed(self, node: Node) -> Node:
        """The sum of which ``node`` is a part, or ``node`` itself."""
        while len(consumers := self._consumers.get(node.id, [])) == 1:
            heir = self._graph[consumers[0]]
            if not self.is_part(node, heir):
                break
            node = heir
        return node

    def is_part(self, read: Node, reader: Node) -> bool:
        """Whether ``read`` is a term of the gradient that ``reader`` adds up, and no other node reads it."""
        return (
            read.phase is reader.phase is Phase.BACKWARD
            and self._consumers.get(read.id) == [reader.id]
            and any(reader.inputs[position] == read.id for position in reader.op.summands)
        )


class _Sentence:
    """The right side of one formula; an op writes it (`memtrain.graph.ops.notation.Writer`)."""

    def __init__(self, book: Book, node: Node) -> None:
        self._book = book
        self._node = node
        self.factors: list[tuple[str, str]] = []
        self.inputs = book.inputs
        self.constant = book.constant

    def term(self, node: Node, transposed: bool = False) -> str:
        """The text of a value in a formula: its name, or its own formula if it is only a term of a sum."""
        if self._book.is_part(node, self._node):
            part = self._book.formula(node)
            self.factors += part.factors
            return part.right
        words = node.name + ("ᵀ" if transposed else "")
        self.factors.append((words, self._book.shape(node, transposed)))
        return words

    def factor(self, words: str, value: Node) -> str:
        """``words`` unchanged; records them as a factor with the shape of ``value``."""
        self.factors.append((words, self._book.shape(value)))
        return words

    def coefficient(self, factor: float, number: Node) -> str:
        """The text of factor · number in front of another factor: ``"λ "``; empty if the product is 1."""
        value = self.constant(number)
        words = self._book.number(factor if value is None else factor * value)
        words = "" if words == "1" else f"{words} "
        return words if value is not None else f"{words}{number.name} "


def symbols(graph: Graph) -> dict[str, int]:
    """The size of each symbol of the graph, in the order in which the symbols appear."""
    return {name: value for node in graph for axis in node.shape for name, value in size.symbols(axis)}
