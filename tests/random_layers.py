"""Random layers of networks, for the random graphs of `brute_force`: images, norms, attention, sequences."""

from __future__ import annotations

import numpy as np

from memtrain.graph.node import Node, Role
from memtrain.graph.ops import ACTIVATIONS
from memtrain.graph.ops.attention import attention
from memtrain.graph.ops.attention_blocks import attention_in_blocks
from memtrain.graph.ops.concat import concat
from memtrain.graph.ops.conv import conv2d
from memtrain.graph.ops.cross_entropy import CrossEntropy
from memtrain.graph.ops.dropout import KINDS, dropout
from memtrain.graph.ops.embedding import embedding
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.norm import batch_norm, group_norm, layer_norm, rms_norm
from memtrain.graph.ops.pool_average import avg_pool2d, global_avg_pool2d
from memtrain.graph.ops.pool_max import max_pool2d
from memtrain.graph.ops.probabilities import Lower, Softmax
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.steps import Stack, Step
from memtrain.graph.ops.swiglu import swiglu
from memtrain.graph.ops.view import reshape


def layer(grower, x: Node) -> Node:
    """One random layer that reads ``x``, a value of any shape with at least one axis."""
    return grower.rng.choice(LAYERS)(grower, x if x.shape else reshape(grower.b, x, (1,)))


def _factors(grower, size, count):
    """``count`` random numbers whose product is ``size``."""
    found = []
    for _ in range(count - 1):
        found.append(grower.rng.choice([k for k in range(1, min(size, 8) + 1) if size % k == 0]))
        size //= found[-1]
    return (*found, size)


def _with_axes(grower, x, count):
    """``x`` under a shape with ``count`` axes."""
    if len(x.shape) == count and grower.coin():
        return x
    return reshape(grower.b, x, _factors(grower, x.size, count))


def _vector(grower, size):
    return grower.leaf((size,))


def _given(grower, shape, dtype, role=Role.INPUT):
    """A leaf that no other op reads, and of which no gradient is asked for."""
    b = grower.b
    return b.apply(Leaf(role, shape, np.dtype(dtype)), name=f"given{len(b.nodes)}")


def _window(grower, sides):
    """A random size, stride and padding, with at least one window in images with these sides."""
    padding = grower.rng.randint(0, 1)
    size = tuple(grower.rng.randint(1 + padding, min(3, side) + padding) for side in sides)
    stride = (grower.rng.randint(1, 2), grower.rng.randint(1, 2))
    return size, stride, (padding, padding)


def _conv(grower, x):
    x = _with_axes(grower, x, 4)
    size, stride, padding = _window(grower, x.shape[1:3])
    channels = int(x.shape[3])
    groups = grower.rng.choice([k for k in (1, 1, 2, channels) if channels % k == 0])
    kernel = grower.leaf((groups * grower.rng.randint(1, 2), *size, channels // groups))
    return conv2d(grower.b, x, kernel, stride=stride, padding=padding, groups=groups)


def _pool(grower, x):
    x = _with_axes(grower, x, 4)
    if grower.rng.random() < 0.2:
        return global_avg_pool2d(grower.b, x)
    size, stride, padding = _window(grower, x.shape[1:3])
    pool = grower.rng.choice((max_pool2d, max_pool2d, avg_pool2d))
    return pool(grower.b, x, size, stride=stride, padding=padding)


def _norm(grower, x):
    b, channels = grower.b, int(x.shape[-1])
    gamma = _vector(grower, channels)
    kind = grower.rng.choice(("layer", "rms", "group", "batch"))
    if kind == "rms":
        return rms_norm(b, x, gamma)
    beta = _vector(grower, channels)
    if kind == "layer":
        return layer_norm(b, x, gamma, beta)
    if kind == "group":
        x = _with_axes(grower, x, 4)
        channels = int(x.shape[-1])
        groups = grower.rng.choice([k for k in range(1, channels + 1) if channels % k == 0])
        return group_norm(b, x, _vector(grower, channels), _vector(grower, channels), groups)
    running = [_given(grower, (channels,), grower.dtype, Role.PARAMETER) for _ in range(2)]
    return batch_norm(b, x, gamma, beta, *running)


def _softmax(grower, x):
    if len(x.shape) > 1 and x.shape[-1] == x.shape[-2]:
        lower = grower.b.apply(Lower(), x)
        return grower.b.apply(Softmax(causal=True), grower.rng.choice((x, lower)))
    return grower.b.apply(Softmax(), x)


def _attention(grower, x):
    x = _with_axes(grower, x, 4)
    q, k, v = (x if grower.coin() else grower.leaf(x.shape) for _ in range(3))
    attend = grower.rng.choice((attention, attention_in_blocks))
    return attend(grower.b, q, k, v, causal=grower.coin())


def _dropout(grower, x):
    key = _given(grower, (2,), np.uint64)
    return dropout(grower.b, x, key, 0.3, grower.rng.randint(1, 9), kind=grower.rng.choice(KINDS))


def _embedding(grower, x):
    """Some rows of a table; if it is tied, also the product of these rows and the table."""
    table = _with_axes(grower, x, 2)
    if table.shape[0] < 2:
        table = grower.leaf((2, table.shape[1]))
    found = embedding(grower.b, table, _given(grower, (grower.rng.randint(1, 3), 2), np.int64))
    return matmul(grower.b, found, table, transpose_b=True) if grower.coin() else found


def _swiglu(grower, x):
    same = [y for y in grower.pool if y.shape == x.shape]
    return swiglu(grower.b, x, grower.rng.choice(same) if same else x)


def _concat(grower, x):
    axis = grower.rng.randrange(len(x.shape))
    other = grower.leaf(tuple(2 if k == axis else int(size) for k, size in enumerate(x.shape)))
    return concat(grower.b, (x, other), axis)


def _steps(grower, x):
    if len(x.shape) > 1 and grower.coin():
        return grower.b.apply(Step(grower.rng.randrange(int(x.shape[1]))), x)
    same = [y for y in grower.pool if y.shape == x.shape] or [x]
    return grower.b.apply(Stack(2), x, grower.rng.choice(same))


def _cross_entropy(grower, x):
    if x.shape[-1] < 2:
        return _swiglu(grower, x)
    return grower.b.apply(CrossEntropy(), x, _given(grower, x.shape[:-1], np.int64))


def _activation(grower, x):
    return grower.b.apply(grower.rng.choice(list(ACTIVATIONS.values()))(), x)


LAYERS = (
    _conv,
    _conv,
    _pool,
    _pool,
    _norm,
    _norm,
    _softmax,
    _attention,
    _attention,
    _dropout,
    _embedding,
    _swiglu,
    _concat,
    _steps,
    _cross_entropy,
    _activation,
)
