"""A transformer decoder with norms before its layers (Vaswani et al. 2017; Radford et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import ClassVar, Self

import numpy as np

from memtrain.errors import SpecError, check_integer, unknown_choice
from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.ops.attention import attention
from memtrain.graph.ops.attention_blocks import attention_in_blocks
from memtrain.graph.ops.dropout import dropout
from memtrain.graph.ops.embedding import embedding
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.view import reshape
from memtrain.graph.size import Dim, part, product
from memtrain.models.declared import LAYER_NORM, RMS_NORM, Layers
from memtrain.models.network import KEY, Feed, FeedKind
from memtrain.models.tokens import OfTokens

NORMS = (LAYER_NORM, RMS_NORM)
PARTS, BLOCKS = "parts", "blocks"
ATTENTIONS = (PARTS, BLOCKS)


@dataclass(frozen=True)
class Transformer(OfTokens):
    """Embeddings of tokens and positions, ``depth`` blocks, a norm and a linear layer to the vocabulary.

    A block adds causal attention to its input, and then a perceptron of 4 · ``width`` units. ``tied`` uses
    the table of embeddings as the weight of the last layer. ``dropout`` is the share of values set to zero
    after the embedding and after both parts of a block. Attention by parts also drops some of its
    probabilities; attention in blocks has none.
    """

    depth: int = 2
    width: int = 128
    activation: str = "gelu"
    heads: int = 4
    norm: str = LAYER_NORM
    dropout: float = 0.0
    attention: str = PARTS
    tied: bool = False

    family: ClassVar[str] = "transformer"
    noun: ClassVar[str] = "transformer"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "heads"):
            check_integer(name, getattr(self, name), 1)
        if self.width % self.heads:
            raise SpecError(
                f"width {self.width} cannot be divided among {self.heads} heads",
                "give a width that is a multiple of --heads",
            )
        for name, choices in (("norm", NORMS), ("attention", ATTENTIONS)):
            if getattr(self, name) not in choices:
                raise unknown_choice(name, getattr(self, name), choices)
        if not isinstance(self.tied, bool):
            raise SpecError(f"tied {self.tied!r} cannot be used", "give True or False")
        share = self.dropout
        if not (isinstance(share, (int, float)) and isfinite(share) and 0 <= share < 1):
            raise SpecError(f"dropout {share!r} cannot be used", "give a share from 0 to below 1")

    def feeds(self, batch: int) -> tuple[Feed, ...]:
        key = Feed(KEY, FeedKind.KEY, (2,), np.dtype(np.uint64))
        return (*super().feeds(batch), *([key] if self.dropout else []))

    def output(self, layers: Layers, x: Node) -> Node:
        b, m = layers.b, Dim(self.width, "m")
        table = layers.parameter("E", (self.classes, m), 0.02)
        positions = layers.parameter("P", (x.shape[1], m), 0.02)
        e = layers.named(embedding(b, table, x), "e")
        h = add(b, e, positions, name="e + P")
        h = self._dropped(layers, reshape(b, h, (product(x.shape), m), "h"), "h")
        for number in range(1, self.depth + 1):
            with b.block("block", number):
                h = self._block(layers, h, x.shape[0])
        u = layers.norm(self.norm, h, "u")
        if self.tied:
            return matmul(b, u, table, transpose_b=True, name="o")
        return layers.linear(u, self.classes, "o")

    def _block(self, layers: Layers, x: Node, n: int) -> Node:
        b, m, inner = layers.b, x.shape[1], sqrt(2 * self.depth)
        with b.block("norm"):
            u = layers.norm(self.norm, x, "u", suffix="1")
        with b.block("attention"):
            q, k, v = (self._heads(layers, layers.linear(u, m, label, suffix=label), n) for label in "qkv")
            c = reshape(b, self._attended(layers, q, k, v), x.shape)
            a = layers.linear(layers.named(c, "c"), m, "a", suffix="a", gain=1 / inner**2)
            r = layers.add(x, self._dropped(layers, a, "a"), "r")
        with b.block("norm"):
            u = layers.norm(self.norm, r, "w", suffix="2")
        with b.block("perceptron"):
            z = layers.linear(u, product((4, m)), "z", suffix="1")
            h = layers.activate(self.activation, z, "h")
            f = layers.linear(h, m, "f", suffix="2", gain=1 / inner**2)
            return layers.add(r, self._dropped(layers, f, "f"), "y")

    def _attended(self, layers: Layers, q: Node, k: Node, v: Node) -> Node:
        b = layers.b
        if self.attention == BLOCKS:
            return layers.named(attention_in_blocks(b, q, k, v, causal=True), "c by heads")

        def dropped(p: Node) -> Node:
            layers.named(b[p.inputs[0]], "S")
            return self._dropped(layers, layers.named(p, "P"), "P")

        return layers.named(attention(b, q, k, v, causal=True, dropped=dropped), "c by heads")

    def _heads(self, layers: Layers, x: Node, n: int) -> Node:
        """(n·t, m) as (n, t, heads, m/heads)."""
        heads = Dim(self.heads, "a")
        shape = (n, Dim(self.sequence, "t"), heads, part(x.shape[1], heads))
        return layers.b.rename(reshape(layers.b, x, shape), f"{x.name} by heads", f"{x.label} by heads")

    def _dropped(self, layers: Layers, x: Node, label: str) -> Node:
        if not self.dropout or layers.key is None:
            return x
        found = dropout(layers.b, x, layers.key, self.dropout, layers.next_mask())
        layers.b.rename(layers.b[found.inputs[1]], f"mask({layers.called(label)})", f"mask({label})")
        return layers.named(found, f"{label}′")

    def small(self) -> Self:
        return self.changed(depth=1, width=8 * self.heads, sequence=8)
