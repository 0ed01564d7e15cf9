"""The notation of formulas. It is that of Dive into Deep Learning 5.3, where an example is a column."""

from __future__ import annotations

from typing import Protocol

from memtrain.graph.node import Node


class Writer(Protocol):
    """Writes values in the notation of the book, and records the factors that a formula names."""

    def term(self, node: Node, transposed: bool = False) -> str:
        """The text of a value in a formula: its name, or its own formula if it is only a term of a sum."""

    def factor(self, words: str, value: Node) -> str:
        """``words`` unchanged. They are recorded as a factor with the shape of ``value``."""

    def coefficient(self, factor: float, number: Node) -> str:
        """The text of factor · number before another factor: ``"λ "``, or ``""`` for 1."""

    def constant(self, node: Node) -> float | None:
        """A value as a number if it is the same in every run; ``None`` if it depends on the leaves."""

    def inputs(self, node: Node) -> list[Node]:
        """The inputs of the node that computes a value."""
