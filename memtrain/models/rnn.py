"""Recurrent language models: tanh (Elman 1990), LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014).

The network is unrolled over the sequence, so backpropagation through time retains the values of each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from memtrain.errors import check_integer, unknown_choice
from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add, multiply, scale
from memtrain.graph.ops.embedding import embedding
from memtrain.graph.ops.source import Fill
from memtrain.graph.ops.steps import Stack, Step
from memtrain.graph.ops.view import reshape
from memtrain.graph.size import Dim, product
from memtrain.models.declared import Layers
from memtrain.models.tokens import OfTokens

TANH, LSTM, GRU = "tanh", "lstm", "gru"
GATES = {TANH: ("h",), LSTM: ("i", "f", "g", "o"), GRU: ("r", "u", "g")}
"""By unit: its gates, each with a weight for the input and one for the state."""


@dataclass(frozen=True)
class RNN(OfTokens):
    """An embedding, ``depth`` recurrent layers of ``width`` units, and a linear layer to the vocabulary."""

    width: int = 128
    sequence: int = 64
    unit: str = LSTM

    family: ClassVar[str] = "rnn"
    noun: ClassVar[str] = "recurrent network"
    block_word: ClassVar[str] = "recurrent layer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("width", self.width, 1)
        if self.unit not in GATES:
            raise unknown_choice("unit", self.unit, GATES)

    def output(self, layers: Layers, x: Node) -> Node:
        b, m, (n, t) = layers.b, Dim(self.width, "m"), x.shape
        table = layers.parameter("E", (self.classes, m), 1.0)
        values = []
        for s in range(1, t + 1):
            with b.block("step", s):
                tokens = layers.named(b.apply(Step(s - 1), x), "x")
                values.append(layers.named(embedding(b, table, tokens), "e"))
        for number in range(1, self.depth + 1):
            with b.block("layer", number):
                values = RecurrentLayer(layers, self.unit, m, m).over(values, n)
        stacked = layers.named(b.apply(Stack(t), *values), "h")
        return layers.linear(reshape(b, stacked, (product((n, t)), m), "h flat"), self.classes, "o")

    def small(self) -> Self:
        return self.changed(depth=1, width=8, sequence=3)


class RecurrentLayer:
    """A recurrent layer: its weights, and its steps one after the other."""

    def __init__(self, layers: Layers, unit: str, inputs: int, width: int) -> None:
        """A layer of ``width`` units of a kind in `GATES`, which reads ``inputs`` values at each step."""
        self._layers, self._unit, self._width = layers, unit, width
        self._weights = {
            gate: tuple(
                layers.weight(f"{kind}{gate}", (width, size)) for kind, size in (("W", inputs), ("U", width))
            )
            for gate in GATES[unit]
        }
        self._biases = {gate: layers.bias(f"b{gate}", width) for gate in GATES[unit]}

    def over(self, values: list[Node], n: int) -> list[Node]:
        """The states h after each of the ``values``, for a batch of ``n``."""
        b, found = self._layers.b, []
        h = c = b.apply(Fill(0.0, (n, self._width), values[0].dtype), name=self._layers.called("h0."))
        for s, x in enumerate(values, start=1):
            with b.block("step", s):
                if self._unit == TANH:
                    h = self._layers.named(self._gate("h", x, h, "tanh"), "h")
                elif self._unit == LSTM:
                    h, c = self._lstm(x, h, c)
                else:
                    h = self._gru(x, h)
            found.append(h)
        return found

    def _gate(self, gate: str, x: Node, h: Node, activation: str) -> Node:
        """φ(W x + U h + b) of a gate."""
        layers = self._layers
        of_input, of_state = self._weights[gate]
        z = layers.add(layers.product(x, of_input), layers.product(h, of_state), f"z{gate}")
        bias = self._biases[gate]
        if bias is not None:
            z = layers.add(z, bias, f"z{gate}+b")
        return layers.activate(activation, z, gate)

    def _lstm(self, x: Node, h: Node, c: Node) -> tuple[Node, Node]:
        """h = o ⊙ tanh(c) with c = f ⊙ c + i ⊙ g."""
        layers, b = self._layers, self._layers.b
        i, f, o = (self._gate(gate, x, h, "sigmoid") for gate in "ifo")
        g = self._gate("g", x, h, "tanh")
        kept, new = multiply(b, f, c), multiply(b, i, g)
        c = layers.add(kept, new, "c")
        seen = layers.activate("tanh", c, "tanh c")
        return layers.named(multiply(b, o, seen), "h"), c

    def _gru(self, x: Node, h: Node) -> Node:
        """h = u ⊙ h + (1 − u) ⊙ g, where r masks what g sees of the state (with r inside, as in PyTorch)."""
        layers, b = self._layers, self._layers.b
        r, u = (self._gate(gate, x, h, "sigmoid") for gate in "ru")
        of_input, of_state = self._weights["g"]
        seen = layers.product(h, of_state)
        bias = self._biases["g"]
        if bias is not None:
            seen = layers.add(seen, bias, "Ug+b")
        z = layers.add(layers.product(x, of_input), multiply(b, r, seen), "zg")
        g = layers.activate("tanh", z, "g")
        difference = add(b, h, scale(b, g, -1.0))
        return layers.add(g, multiply(b, u, difference), "h")
