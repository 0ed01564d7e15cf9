"""The multilayer perceptron of Dive into Deep Learning 5.3, with any number of hidden layers.

    z = W1 x (+ b1), h = φ(z), …, o = W h, L = l(o, y), s = λ/2 Σ‖W‖², J = L + s

A batch has n rows, so that Z = X Wᵀ; W is stored as in the book, (outputs × inputs).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from memtrain.errors import SpecError, unknown_choice
from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Role
from memtrain.graph.ops import ACTIVATIONS
from memtrain.graph.ops.arithmetic import add, scale
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.loss import LogSoftmax, Mse, Nll, SquaredNorm
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.source import Leaf
from memtrain.graph.size import Dim

LOSSES = ("cross_entropy", "mean_squared_error")
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class MLP:
    """What network, on how many examples at a time. ``hidden`` lists the widths of the hidden layers."""

    batch: int
    input_size: int
    hidden: tuple[int, ...]
    output_size: int
    activation: str = "relu"
    bias: bool = False
    l2: float = 1e-4
    dtype: str = "float32"
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        for name in ("batch", "input_size", "output_size"):
            check_integer(name, getattr(self, name), 1)
        for width in self.hidden:
            check_integer("width", width, 1)
        for name, choices in (("activation", ACTIVATIONS), ("dtype", DTYPES), ("loss", LOSSES)):
            if getattr(self, name) not in choices:
                raise unknown_choice(name, getattr(self, name), choices)
        if not (isinstance(self.l2, (int, float)) and isfinite(self.l2) and self.l2 >= 0):
            raise SpecError(f"l2 {self.l2!r}", "allowed: a finite number ≥ 0", "give 0 for no regulariser")

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.hidden)


@dataclass(frozen=True)
class Model:
    """The forward graph of a network and the nodes that the outside speaks of."""

    builder: Builder
    inputs: Node
    labels: Node
    parameters: tuple[Node, ...]
    output: Node
    objective: Node


def build(spec: MLP) -> Model:
    """The forward graph of ``spec``, up to the objective J (L itself when λ is 0)."""
    b = Builder()
    leaves = make_leaves(b, spec)
    output, loss = forward(b, spec, leaves, leaves.inputs, leaves.labels)
    total = regulariser(b, spec, leaves)
    objective = add(b, loss, total, name="J") if total else loss
    return Model(b, leaves.inputs, leaves.labels, leaves.parameters, output, objective)


@dataclass(frozen=True)
class Leaves:
    """The leaves of a network: a batch with its labels, and of each layer the weight and the bias."""

    inputs: Node
    labels: Node
    layers: tuple[tuple[Node, Node | None], ...]

    @property
    def parameters(self) -> tuple[Node, ...]:
        """Weights and biases, layer by layer."""
        return tuple(node for layer in self.layers for node in layer if node is not None)


def make_leaves(b: Builder, spec: MLP) -> Leaves:
    """Append the leaves of ``spec``."""
    dtype = np.dtype(spec.dtype)
    n, q = Dim(spec.batch, "n"), Dim(spec.output_size, "q")
    sizes = [Dim(spec.input_size, "d"), *_hidden_dims(spec.hidden), q]
    x = b.apply(Leaf(Role.INPUT, (n, sizes[0]), dtype), name="x")
    y = (
        b.apply(Leaf(Role.INPUT, (n,), np.dtype(np.int64)), name="y")
        if spec.loss == "cross_entropy"
        else b.apply(Leaf(Role.INPUT, (n, q), dtype), name="y")
    )
    layers = [_parameters(b, k, sizes[k - 1], sizes[k], dtype, spec.bias) for k in range(1, len(sizes))]
    return Leaves(x, y, tuple(layers))


def forward(
    b: Builder, spec: MLP, leaves: Leaves, inputs: Node, labels: Node, suffix: str = ""
) -> tuple[Node, Node]:
    """Append the network on ``inputs``: its output o and the mean loss L; names end with ``suffix``."""
    value, value_name = inputs, inputs.name
    for k, (weight, bias) in enumerate(leaves.layers, start=1):
        last = k == len(leaves.layers)
        name = f"o{suffix}" if last else f"z{k}{suffix}"
        product_name = f"{weight.name} {value_name}" if bias else name
        value = matmul(b, value, weight, transpose_b=True, name=product_name)
        if bias:
            value = add(b, value, bias, name=name)
        if not last:
            value_name = f"h{k}{suffix}"
            value = b.apply(ACTIVATIONS[spec.activation](), value, name=value_name)
    return value, _loss(b, spec.loss, value, labels, suffix)


def regulariser(b: Builder, spec: MLP, leaves: Leaves) -> Node | None:
    """Append s = λ/2 · Σ‖W‖²; nothing when λ is 0."""
    if spec.l2 == 0:
        return None
    weights = [weight for weight, _ in leaves.layers]
    total = b.apply(SquaredNorm(), weights[0], name=f"‖{weights[0].name}‖²")
    for weight in weights[1:]:
        norm = b.apply(SquaredNorm(), weight, name=f"‖{weight.name}‖²")
        total = add(b, total, norm, name=f"‖W1…{weight.name}‖²")
    return scale(b, total, spec.l2 / 2, name="s", symbol="λ/2")


def initial_values(spec: MLP, seed: int) -> dict[str, Array]:
    """Seeded start values by parameter name: normal weights, scaled by activation; biases 0."""
    sizes = [spec.input_size, *spec.hidden, spec.output_size]
    values: dict[str, Array] = {}
    for k in range(1, len(sizes)):
        fan_in, fan_out = sizes[k - 1], sizes[k]
        rectified = k < len(sizes) - 1 and ACTIVATIONS[spec.activation].halves_variance
        deviation = sqrt(2 / fan_in) if rectified else sqrt(2 / (fan_in + fan_out))
        weight = np.random.default_rng([seed, k]).standard_normal((fan_out, fan_in), np.dtype(spec.dtype))
        weight *= deviation
        values[f"W{k}"] = weight
        if spec.bias:
            values[f"b{k}"] = np.zeros(fan_out, spec.dtype)
    return values


def _hidden_dims(hidden: tuple[int, ...]) -> list[Dim]:
    if len(set(hidden)) <= 1:
        return [Dim(width, "h") for width in hidden]
    return [Dim(width, f"w{k}") for k, width in enumerate(hidden, start=1)]


def _parameters(
    b: Builder, k: int, fan_in: Dim, fan_out: Dim, dtype: DType, bias: bool
) -> tuple[Node, Node | None]:
    weight = b.apply(Leaf(Role.PARAMETER, (fan_out, fan_in), dtype), name=f"W{k}")
    return weight, b.apply(Leaf(Role.PARAMETER, (fan_out,), dtype), name=f"b{k}") if bias else None


def _loss(b: Builder, loss: str, output: Node, labels: Node, suffix: str) -> Node:
    if loss == "mean_squared_error":
        return b.apply(Mse(), output, labels, name=f"L{suffix}")
    return b.apply(Nll(), b.apply(LogSoftmax(), output, name=f"logp{suffix}"), labels, name=f"L{suffix}")


def check_integer(name: str, value: object, least: int) -> None:
    """Raise ``SpecError`` unless ``value`` is a whole number, ``least`` or more."""
    if type(value) is not int or value < least:
        raise SpecError(f"{name} {value!r}", f"allowed: a whole number ≥ {least}", f"give at least {least}")
