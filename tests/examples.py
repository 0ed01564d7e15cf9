"""One table with examples of every registered op, and for each op its formula in plain numpy.

An example is a function of ``Sizes``, so that it can be small (for central differences) or large (for
memory). It gives the op and, for each input, a shape or a ``Special`` kind of values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import images
import numpy as np
import sequences

from memtrain.graph.builder import Builder
from memtrain.graph.node import DType, Node, Role, Shape
from memtrain.graph.ops import (
    OPS,
    activation,
    arithmetic,
    gelu,
    loss,
    matmul,
    rectified,
    scaled_sum,
    softmax,
    source,
    swish,
    update,
    view,
)
from memtrain.graph.ops.base import Array, Op

INT64 = np.dtype(np.int64)


@dataclass(frozen=True)
class Sizes:
    """The sizes of an example: n rows of q elements, and the floating-point type."""

    n: int
    q: int
    dtype: DType = np.dtype(np.float64)  # noqa: RUF009 (a dtype is immutable)


SMALL = Sizes(3, 4)


@dataclass(frozen=True)
class Special:
    """An input whose values are not any numbers: labels below ``classes``, a count, or squares."""

    kind: str
    shape: Shape = ()
    classes: int = 0


COUNT = Special("count")
Draw = Callable[[np.random.Generator], Array]
"""An input whose values a function draws."""

Example = Callable[[Sizes], tuple[Any, ...]]


def labels(shape: Shape, classes: int) -> Special:
    return Special("labels", shape, classes)


def elementwise(op: Op, inputs: int = 1) -> list[Example]:
    return [lambda s: (op, *[(s.n, s.q)] * inputs)]


EXAMPLES: dict[str, list[Example]] = {
    "leaf": [lambda s: (source.Leaf(Role.INPUT, (s.n, s.q), s.dtype),)],
    "fill": [lambda s: (source.Fill(0.5, (s.n, s.q), s.dtype),)],
    "add": [
        lambda s: (arithmetic.Add(), (s.n, s.q), (s.n, s.q)),
        lambda s: (arithmetic.Add(), (s.n, s.q), (s.q,)),  # a bias
        lambda s: (arithmetic.Add(), (s.n, 1), (s.n, s.q)),  # a column
        lambda s: (arithmetic.Add(), (s.n, 1), (1, s.q)),
        lambda s: (arithmetic.Add(), (), (s.n, s.q)),
        lambda s: (arithmetic.Add(), (s.q,), (s.n, 2, s.q)),
        lambda s: (arithmetic.Add(), (s.n, 1, s.q), (2, 1)),
    ],
    "multiply": [
        lambda s: (arithmetic.Multiply(), (s.n, s.q), (s.n, s.q)),
        lambda s: (arithmetic.Multiply(), (s.n, s.q), (s.q,)),
        lambda s: (arithmetic.Multiply(), (s.n, 1), (s.n, s.q)),
        lambda s: (arithmetic.Multiply(), (s.n, 1), (1, s.q)),
        lambda s: (arithmetic.Multiply(), (s.n, s.q), ()),
        lambda s: (arithmetic.Multiply(), (2, 1), (s.n, 1, s.q)),
        lambda s: (arithmetic.Multiply(), (s.n, 2, s.q), (s.n, 1, 1)),
    ],
    "scale": elementwise(arithmetic.Scale(-1.5)),
    "shift": elementwise(arithmetic.Shift(0.75)),
    "exp": elementwise(arithmetic.Exp()),
    "add_scaled": [lambda s: (scaled_sum.AddScaled(0.3), (s.n, s.q), (), (s.n, s.q))],
    "sum_to": [
        lambda s: (arithmetic.SumTo((s.q,)), (s.n, s.q)),
        lambda s: (arithmetic.SumTo((s.n, 1)), (s.n, s.q)),
        lambda s: (arithmetic.SumTo(()), (s.n, s.q)),
        lambda s: (arithmetic.SumTo((2, 1)), (s.n, 2, s.q)),
        lambda s: (arithmetic.SumTo((s.n, 1, s.q)), (s.n, 2, s.q)),
    ],
    "broadcast_to": [
        lambda s: (arithmetic.BroadcastTo((s.n, s.q)), (s.q,)),
        lambda s: (arithmetic.BroadcastTo((s.n, s.q)), (s.n, 1)),
        lambda s: (arithmetic.BroadcastTo((s.n, s.q)), ()),
        lambda s: (arithmetic.BroadcastTo((s.n, 2, s.q)), (2, 1)),
    ],
    "copy": elementwise(arithmetic.Copy()),
    "relu": elementwise(activation.Relu()),
    "relu_grad": elementwise(activation.ReluGrad(), 2),
    "tanh": elementwise(activation.Tanh()),
    "tanh_grad": elementwise(activation.TanhGrad(), 2),
    "sigmoid": elementwise(activation.Sigmoid()),
    "sigmoid_grad": elementwise(activation.SigmoidGrad(), 2),
    "gelu": elementwise(gelu.Gelu()),
    "gelu_grad": elementwise(gelu.GeluGrad(), 2),
    "gelu_tanh": elementwise(gelu.GeluTanh()),
    "gelu_tanh_grad": elementwise(gelu.GeluTanhGrad(), 2),
    "leaky_relu": elementwise(rectified.LeakyRelu()),
    "leaky_relu_grad": elementwise(rectified.LeakyReluGrad(), 2),
    "elu": elementwise(rectified.Elu()),
    "elu_grad": elementwise(rectified.EluGrad(), 2),
    "softplus": elementwise(rectified.Softplus()),
    "softplus_grad": elementwise(rectified.SoftplusGrad(), 2),
    "silu": elementwise(swish.Silu()),
    "silu_grad": elementwise(swish.SiluGrad(), 2),
    "hard_swish": elementwise(swish.HardSwish()),
    "hard_swish_grad": elementwise(swish.HardSwishGrad(), 2),
    "mish": elementwise(swish.Mish()),
    "mish_grad": elementwise(swish.MishGrad(), 2),
    "log_softmax": [
        lambda s: (softmax.LogSoftmax(), (s.n, s.q)),
        lambda s: (softmax.LogSoftmax(), (2, s.n, s.q)),
        lambda s: (softmax.LogSoftmax(), (s.q,)),
    ],
    "log_softmax_grad": [
        lambda s: (softmax.LogSoftmaxGrad(), (s.n, s.q), (s.n, s.q)),
        lambda s: (softmax.LogSoftmaxGrad(), (2, s.n, s.q), (2, s.n, s.q)),
    ],
    "nll": [
        lambda s: (loss.Nll(), (s.n, s.q), labels((s.n,), s.q)),
        lambda s: (loss.Nll(), (2, s.n, s.q), labels((2, s.n), s.q)),
    ],
    "nll_grad": [
        lambda s: (loss.NllGrad((s.n, s.q)), (), labels((s.n,), s.q)),
        lambda s: (loss.NllGrad((2, s.n, s.q)), (), labels((2, s.n), s.q)),
    ],
    "mse": elementwise(loss.Mse(), 2),
    "mse_grad": [lambda s: (loss.MseGrad(), (), (s.n, s.q), (s.n, s.q))],
    "squared_norm": elementwise(loss.SquaredNorm()),
    "matmul": [
        lambda s: (matmul.MatMul(False, False), (s.n, s.q), (s.q, 5)),
        lambda s: (matmul.MatMul(False, True), (s.n, s.q), (5, s.q)),
        lambda s: (matmul.MatMul(True, False), (s.n, 5), (s.n, s.q)),
        lambda s: (matmul.MatMul(True, True), (s.q, s.n), (5, s.q)),
        lambda s: (matmul.MatMul(False, True), (2, s.n, s.q), (5, s.q)),
        lambda s: (matmul.MatMul(True, False), (s.q, 5), (2, s.q, s.n)),
        lambda s: (matmul.MatMul(False, False), (2, 1, 5, s.q), (2, s.q, s.n)),
    ],
    "descend": elementwise(update.Descend(0.1), 2),
    "accumulate": elementwise(update.Accumulate(0.9), 2),
    "store": elementwise(update.Store(), 2),
    "average": elementwise(update.Average(0.9), 2),
    "average_square": elementwise(update.AverageSquare(0.999), 2),
    "adam_step": [
        lambda s: (
            update.AdamStep(0.01, 0.9, 0.999, 1e-8),
            *[(s.n, s.q)] * 2,
            Special("squares", (s.n, s.q)),
            COUNT,
        )
    ],
    "transpose": [
        lambda s: (view.Transpose((1, 0)), (s.n, s.q)),
        lambda s: (view.Transpose((2, 0, 1)), (s.n, 2, s.q)),
    ],
    "reshape": [lambda s: (view.Reshape((s.q, s.n)), (s.n, s.q)), lambda s: (view.Reshape(()), (1, 1))],
    "identity": elementwise(view.Identity()),
    "slice": [lambda s: (view.Slice((1, 0), (s.n, s.q - 1)), (s.n, s.q))],
    "pad": [lambda s: (view.Pad((1, 0), (s.n, s.q - 1), (s.n, s.q)), (s.n - 1, s.q - 1))],
    **images.EXAMPLES,
    **sequences.EXAMPLES,
}

CASES = [(name, place) for name, found in EXAMPLES.items() for place in range(len(found))]
"""All examples: the name of the op, and the position in the list of examples of this op."""


def make(name: str, place: int = 0, sizes: Sizes = SMALL) -> tuple[Op, list[Array]]:
    """The op of an example and its inputs: seeded, and at least 0.2 away from the kink at 0."""
    op, *inputs = EXAMPLES[name][place](sizes)
    rng = np.random.default_rng([sorted(EXAMPLES).index(name), place])
    arrays: list[Array] = []
    for wanted in inputs:
        is_mean = isinstance(wanted, images.Means)
        found = wanted.of(arrays[0]) if is_mean else _values(rng, wanted, sizes.dtype)
        arrays.append(found)
    return op, arrays


def _values(rng: np.random.Generator, wanted: Shape | Special | Draw, dtype: DType) -> Array:
    if callable(wanted):
        return wanted(rng)
    kind = wanted.kind if isinstance(wanted, Special) else "any"
    shape = wanted.shape if isinstance(wanted, Special) else wanted
    if kind == "count":
        return np.array(3, INT64)
    if kind == "labels":
        return rng.integers(wanted.classes, size=shape)
    far = 0.2 + rng.random(shape)
    return np.asarray(far if kind == "squares" else far * rng.choice([-1, 1], shape), dtype)


def leaf(b: Builder, name: str, shape: Shape, dtype: str | DType = "float64") -> Node:
    """A leaf on which a test builds a graph."""
    return b.apply(source.Leaf(Role.INPUT, shape, np.dtype(dtype)), name=name)


def leaves(b: Builder, arrays: Sequence[Array]) -> list[Node]:
    """A leaf x0, x1, … for each array."""
    return [leaf(b, f"x{i}", x.shape, x.dtype) for i, x in enumerate(arrays)]


def buffers(op: Op, arrays: Sequence[Array]) -> tuple[Array, list[Array]]:
    """The output (for an update, the written input) and the workspace that the op declares.

    New arrays are full of NaN (or −1), so that a kernel which reads uninitialised memory is noticed.
    """
    nodes = leaves(Builder(), arrays)
    out = _garbage(*op.result(*nodes)) if op.writes is None else arrays[op.writes]
    return out, [_garbage((count,), dtype) for count, dtype in op.workspace(*nodes)]


def compute(op: Op, arrays: Sequence[Array]) -> Array:
    """The result of the op on ``arrays``, in a new buffer or in the input that the op writes."""
    if op.is_view:
        return op.view(arrays[0])
    out, work = buffers(op, arrays)
    op.kernel(out, *arrays, work=work)
    return out


def _garbage(shape: Shape, dtype: DType) -> Array:
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8).fill(255)
    return array


def has_kernel(name: str) -> bool:
    return OPS[name].kernel is not Op.kernel


def is_differentiable(name: str) -> bool:
    constants = ("leaf", "fill", "max_pool2d_index", "random_mask", "packed_mask")
    return name not in constants and OPS[name].writes is None


def has_free_inputs(name: str) -> bool:
    """Whether central differences of the op alone are its gradient: no input depends on another."""
    return is_differentiable(name) and not OPS[name].reads_statistics


def _swap(x: Array, swapped: bool) -> Array:
    return np.swapaxes(x, -1, -2) if swapped else x


def _logsumexp(x: Array) -> Array:
    return np.log(np.exp(x).sum(-1, keepdims=True))


def _one_hot(places: Array, classes: int) -> Array:
    return places[..., None] == np.arange(classes)


def _sum_to(op: arithmetic.SumTo, x: Array) -> Array:
    kept = (1,) * (x.ndim - len(op.shape)) + op.shape
    return x.sum(tuple(i for i in range(x.ndim) if kept[i] == 1), keepdims=True).reshape(op.shape)


def _window(op: view.Slice | view.Pad) -> tuple[slice, ...]:
    return tuple(map(slice, op.starts, op.stops))


def _adam(op: update.AdamStep, w: Array, m: Array, v: Array, t: Array) -> Array:
    return w - op.rate * (m / (1 - op.beta1**t)) / (np.sqrt(v / (1 - op.beta2**t)) + op.epsilon)


_erf = np.vectorize(math.erf, otypes=[float])
_T, _C = math.sqrt(2 / math.pi), 0.044715


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def _gate(z: Array) -> Array:
    return np.tanh(np.log(1 + np.exp(z)))


def _phi(z: Array) -> Array:
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _integral(z: Array) -> Array:
    return (1 + _erf(z / math.sqrt(2))) / 2


def _gelu_tanh_slope(z: Array) -> Array:
    t = np.tanh(_T * (z + _C * z**3))
    return (1 + t) / 2 + z * (1 - t * t) * _T * (1 + 3 * _C * z * z) / 2


FORMULAS: dict[str, Callable[..., Any]] = {
    "fill": lambda op: np.full(op.shape, op.value),
    "add": lambda op, a, b: a + b,
    "multiply": lambda op, a, b: a * b,
    "scale": lambda op, x: op.factor * x,
    "shift": lambda op, x: x + op.amount,
    "exp": lambda op, x: np.exp(x),
    "add_scaled": lambda op, a, c, w: a + op.factor * c * w,
    "sum_to": _sum_to,
    "broadcast_to": lambda op, x: np.broadcast_to(x, op.shape),
    "copy": lambda op, x: x,
    "relu": lambda op, z: np.where(z > 0, z, 0),
    "relu_grad": lambda op, g, h: np.where(h > 0, g, 0),
    "tanh": lambda op, z: np.tanh(z),
    "tanh_grad": lambda op, g, h: g * (1 - h**2),
    "sigmoid": lambda op, z: 1 / (1 + np.exp(-z)),
    "sigmoid_grad": lambda op, g, h: g * h * (1 - h),
    "gelu": lambda op, z: z * _integral(z),
    "gelu_grad": lambda op, g, z: g * (_integral(z) + z * _phi(z)),
    "gelu_tanh": lambda op, z: z * (1 + np.tanh(_T * (z + _C * z**3))) / 2,
    "gelu_tanh_grad": lambda op, g, z: g * _gelu_tanh_slope(z),
    "leaky_relu": lambda op, z: np.where(z > 0, z, z / 100),
    "leaky_relu_grad": lambda op, g, h: np.where(h > 0, g, g / 100),
    "elu": lambda op, z: np.where(z > 0, z, np.exp(z) - 1),
    "elu_grad": lambda op, g, h: np.where(h > 0, g, g * (h + 1)),
    "softplus": lambda op, z: np.log(1 + np.exp(z)),
    "softplus_grad": lambda op, g, h: g * (1 - np.exp(-h)),
    "silu": lambda op, z: z * _sigmoid(z),
    "silu_grad": lambda op, g, z: g * (_sigmoid(z) + z * _sigmoid(z) * _sigmoid(-z)),
    "hard_swish": lambda op, z: np.where(z < -3, 0, np.where(z > 3, z, z * (z + 3) / 6)),
    "hard_swish_grad": lambda op, g, z: g * np.where(z < -3, 0, np.where(z > 3, 1, z / 3 + 0.5)),
    "mish": lambda op, z: z * np.tanh(np.log(1 + np.exp(z))),
    "mish_grad": lambda op, g, z: g * (_gate(z) + z * (1 - _gate(z) ** 2) * _sigmoid(z)),
    "log_softmax": lambda op, x: x - _logsumexp(x),
    "log_softmax_grad": lambda op, g, p: g - np.exp(p) * g.sum(-1, keepdims=True),
    "nll": lambda op, p, y: -np.mean(np.sum(p * _one_hot(y, p.shape[-1]), -1)),
    "nll_grad": lambda op, g, y: -g / y.size * _one_hot(y, op.shape[-1]),
    "mse": lambda op, o, y: np.mean((o - y) ** 2),
    "mse_grad": lambda op, g, o, y: 2 * g * (o - y) / o.size,
    "squared_norm": lambda op, w: np.sum(w * w),
    "matmul": lambda op, a, b: np.matmul(_swap(a, op.transpose_a), _swap(b, op.transpose_b)),
    "descend": lambda op, w, g: w - op.rate * g,
    "accumulate": lambda op, v, g: op.decay * v + g,
    "store": lambda op, kept, g: g,
    "average": lambda op, m, g: op.decay * m + (1 - op.decay) * g,
    "average_square": lambda op, v, g: op.decay * v + (1 - op.decay) * g * g,
    "adam_step": _adam,
    "transpose": lambda op, x: np.transpose(x, op.axes),
    "reshape": lambda op, x: x.reshape(op.shape),
    "identity": lambda op, x: x,
    "slice": lambda op, x: x[_window(op)],
    "pad": lambda op, x: np.pad(
        x, [(a, size - e) for a, e, size in zip(op.starts, op.stops, op.shape, strict=True)]
    ),
    **images.FORMULAS,
    **sequences.FORMULAS,
}
"""The formula of every op with a kernel, in plain numpy: ``FORMULAS[name](op, *inputs)``."""


def parameter(b, name="W", shape=(3,)):
    """A parameter leaf of float64."""
    return b.apply(source.Leaf(Role.PARAMETER, shape, np.dtype(np.float64)), name=name)
