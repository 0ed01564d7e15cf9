"""Attention by parts: scores, softmax and context, of which the probabilities are kept.

Scaled dot-product attention with several heads (Vaswani et al. 2017, §3.2). The scores become probabilities
in place, so each head has one array (t, s).
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING

from memtrain.graph.node import Node
from memtrain.graph.ops.heads import Mix, Scores
from memtrain.graph.ops.probabilities import Softmax

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


def attention(
    b: Builder,
    q: Node,
    k: Node,
    v: Node,
    *,
    causal: bool = False,
    scale: float | None = None,
    dropped: Callable[[Node], Node] | None = None,
    name: str | None = None,
) -> Node:
    """softmax(scale · q kᵀ) v per head; by default the scale is 1/√d.

    The shapes are q: (n, t, heads, d), k and v: (n, s, heads, d), result: (n, t, heads, d). With ``causal``,
    t and s are equal, and position i reads the positions 0 to i. ``dropped`` appends a dropout to the
    probabilities (n, heads, t, s). Raises ``GraphError`` for other shapes.
    """
    factor = 1 / sqrt(q.shape[-1]) if scale is None and q.shape else scale or 1.0
    scores = b.apply(Scores(factor), q, k, name="S", label="S")
    p = b.apply(Softmax(causal), scores, name="P", label="P")
    return b.apply(Mix(), dropped(p) if dropped else p, v, name=name)
