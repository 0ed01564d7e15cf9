"""The notation of formulas, that of Dive into Deep Learning 5.3: an example is a column."""

from __future__ import annotations

from typing import Protocol

from memtrain.graph.node import Node


class Writer(Protocol):
    """Writes values in the notation of the book, and notes the factors that a formula names."""

    def term(self, node: Node, transposed: bool = False) -> str:
        """A value as a formula writes it: its name, or its own formula where it is only a term of a sum."""

    def factor(self, words: str, value: Node) -> str:
        """``words`` as they are, for a factor of the shape of ``value``."""

    def coefficient(self, factor: float, number: Node) -> str:
        """factor · number as what stands before a factor: ``"λ "``, and nothing for 1."""

    def constant(self, node: Node) -> float | None:
        """A value that is the same number in every run; ``None`` where it depends on the leaves."""

    def inputs(self, node: Node) -> list[Node]:
        """The inputs of the node that computes a value."""
