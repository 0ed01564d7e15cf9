"""What the networks of tokens have in common: their feeds, and the vocabulary that a text gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from memtrain.errors import check_integer
from memtrain.graph.builder import Builder
from memtrain.graph.node import Node
from memtrain.graph.ops.cross_entropy import CrossEntropy
from memtrain.graph.ops.view import reshape
from memtrain.graph.size import BATCH, Dim
from memtrain.models.layered import Layered
from memtrain.models.network import Feed, FeedKind


@dataclass(frozen=True)
class OfTokens(Layered):
    """A language model: for each of ``sequence`` tokens, it predicts the next one."""

    sequence: int = 128
    vocabulary: int = 256

    reads: ClassVar[FeedKind] = FeedKind.TOKENS
    sizes_from_data: ClassVar[tuple[str, ...]] = ("vocabulary",)
    usual_axes: ClassVar[Mapping[str, Sequence[int]]] = {"depth": (1, 2, 4), "batch": (4, 16)}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sequence", "vocabulary"):
            check_integer(name, getattr(self, name), 1)

    @classmethod
    def sizes_of(cls, input_count: int, class_count: int) -> dict[str, Any]:
        return {"vocabulary": class_count}

    def feeds(self, batch: int) -> tuple[Feed, ...]:
        n = batch if isinstance(batch, Dim) else Dim(batch, BATCH)
        shape, whole = (n, Dim(self.sequence, "t")), np.dtype(np.int64)
        tokens = Feed("x", FeedKind.TOKENS, shape, whole, self.vocabulary)
        return tokens, Feed("y", FeedKind.LABELS, shape, whole, self.vocabulary)

    def loss_of(self, b: Builder, output: Node, y: Node) -> Node:
        labels = reshape(b, y, output.shape[:1], "y flat")
        return b.apply(CrossEntropy(), output, labels, name="L")

    @property
    def classes(self) -> int:
        """The size of the vocabulary with its symbol."""
        return Dim(self.vocabulary, "v")
