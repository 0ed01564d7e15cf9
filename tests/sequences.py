"""Examples and plain formulas of the ops for sequences, which `examples` merges into its tables.

An input is a shape of any values, or a function of a generator that draws the values.
"""

from __future__ import annotations

import numpy as np

from memtrain.graph.ops.attention_blocks import AttentionBlocks
from memtrain.graph.ops.attention_blocks_grad import AttentionBlocksGrad
from memtrain.graph.ops.concat import Concat
from memtrain.graph.ops.cross_entropy import CrossEntropy, CrossEntropyGrad
from memtrain.graph.ops.dropout import Dropout, PackedDropout, RecomputedDropout
from memtrain.graph.ops.embedding import AddRows, Embedding
from memtrain.graph.ops.heads import Mix, Scores
from memtrain.graph.ops.probabilities import Lower, Softmax, SoftmaxGrad
from memtrain.graph.ops.random_mask import PackedMask, RandomMask
from memtrain.graph.ops.steps import Stack, Step
from memtrain.graph.ops.swiglu import Swiglu


def tokens(shape, vocabulary):
    """Random whole numbers below ``vocabulary``."""
    return lambda rng: rng.integers(vocabulary, size=shape)


def key(rng):
    """A seed and an iteration."""
    return rng.integers(1 << 40, size=2).astype(np.uint64)


def flags(shape):
    return lambda rng: rng.random(shape) < 0.5


def bits(count):
    return lambda rng: rng.integers(256, size=-(-count // 8)).astype(np.uint8)


def _square(s):
    """The size of a square matrix of about as many elements as the example."""
    return min(s.n, s.q) if s.n * s.q < 100 else round((s.n * s.q / 2) ** 0.5)


def _time(s):
    return min(s.n, 64)


def _head(s):
    return min(s.q, 33)


def _qkv(s):
    """The shape of queries, keys and values: one small head, or more than one block of queries."""
    return (1, 3, 1, 2) if s.n * s.q < 100 else (1, 150, 2, 32)


def _packed(s):
    n, t, heads, d = _qkv(s)
    return (n * t * heads * (d + 1),)


EXAMPLES = {
    "concat": [
        lambda s: (Concat(0), (s.n, s.q), (1, s.q), (3, s.q)),
        lambda s: (Concat(1), (2, s.n, s.q), (2, 3, s.q)),
    ],
    "stack": [lambda s: (Stack(3), (s.n, s.q), (s.n, s.q), (s.n, s.q))],
    "step": [lambda s: (Step(1), (s.n, 3, s.q))],
    "attention_blocks": [
        lambda s: (AttentionBlocks(0.5), *[_qkv(s)] * 3),
        lambda s: (AttentionBlocks(0.5, True), *[_qkv(s)] * 3),
    ],
    "attention_blocks_grad": [
        lambda s: (AttentionBlocksGrad(0.5), _packed(s), *[_qkv(s)] * 3, _packed(s)),
        lambda s: (AttentionBlocksGrad(0.5, True), _packed(s), *[_qkv(s)] * 3, _packed(s)),
    ],
    "embedding": [lambda s: (Embedding(), (s.n, s.q), tokens((2, s.n), s.n))],
    "add_rows": [lambda s: (AddRows(), (s.n, s.q), (2, s.n, s.q), tokens((2, s.n), s.n))],
    "swiglu": [lambda s: (Swiglu(), (s.n, s.q), (s.n, s.q))],
    "random_mask": [lambda s: (RandomMask(3, 0.25, (s.n, s.q)), key)],
    "packed_mask": [lambda s: (PackedMask(3, 0.25, (s.n, s.q)), key)],
    "dropout": [lambda s: (Dropout(0.25), (s.n, s.q), flags((s.n, s.q)))],
    "packed_dropout": [lambda s: (PackedDropout(0.25), (s.n, s.q), bits(s.n * s.q))],
    "recomputed_dropout": [lambda s: (RecomputedDropout(0.25, 3), (s.n, s.q), key)],
    "lower": [lambda s: (Lower(), (2, _square(s), _square(s)))],
    "scores": [
        lambda s: (Scores(0.5), (2, _time(s), 2, _head(s)), (2, _time(s), 2, _head(s))),
        lambda s: (Scores(), (2, 3, 2, _head(s)), (2, _time(s), 2, _head(s))),
    ],
    "mix": [
        lambda s: (Mix(False, 0.5), (2, 2, 3, _time(s)), (2, _time(s), 2, _head(s))),
        lambda s: (Mix(), (2, 2, _time(s), _time(s)), (2, _time(s), 2, _head(s))),
        lambda s: (Mix(True), (2, 2, _time(s), 3), (2, _time(s), 2, _head(s))),
    ],
    "softmax": [
        lambda s: (Softmax(), (s.n, s.q)),
        lambda s: (Softmax(), (2, s.n, s.q)),
        lambda s: (Softmax(causal=True), (2, _square(s), _square(s))),
        lambda s: (Softmax(causal=True), (s.n, 5, 5)),
    ],
    "softmax_grad": [lambda s: (SoftmaxGrad(), (2, s.n, s.q), (2, s.n, s.q))],
    "cross_entropy": [
        lambda s: (CrossEntropy(), (s.n, s.q), tokens((s.n,), s.q)),
        lambda s: (CrossEntropy(), (2, s.n, s.q), tokens((2, s.n), s.q)),
    ],
    "cross_entropy_grad": [
        lambda s: (CrossEntropyGrad(), (), (s.n, s.q), tokens((s.n,), s.q)),
        lambda s: (CrossEntropyGrad(), (), (2, s.n, s.q), tokens((2, s.n), s.q)),
    ],
}


def softmax(x, causal=False):
    if causal:
        x = np.where(np.tri(x.shape[-1], dtype=bool), x, -np.inf)
    p = np.exp(x - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def _scores(op, q, k):
    scores = op.scale * np.einsum("nihd,njhd->nhij", q, k)
    return np.where(np.tri(q.shape[1], dtype=bool) | (not op.causal), scores, -np.inf)


def _attention(op, q, k, v):
    scores = _scores(op, q, k)
    context = np.einsum("nhij,njhd->nihd", softmax(scores), v)
    return np.concatenate([context.ravel(), np.log(np.exp(scores).sum(-1)).ravel()])


def _attention_grad(op, g, q, k, v, packed):
    (g, g_lse), (context, lse) = [(x[: q.size].reshape(q.shape), x[q.size :]) for x in (g, packed)]
    p = np.exp(_scores(op, q, k) - lse.reshape(*np.swapaxes(q, 1, 2).shape[:3], 1))
    delta = np.einsum("nihd,nihd->nhi", g, context) - g_lse.reshape(p.shape[:3])
    ds = op.scale * p * (np.einsum("nihd,njhd->nhij", g, v) - delta[..., None])
    return np.stack(
        [
            np.einsum("nhij,njhd->nihd", ds, k),
            np.einsum("nhij,nihd->njhd", ds, q),
            np.einsum("nhij,nihd->njhd", p, g),
        ]
    )


def _one_hot(places, classes):
    return places[..., None] == np.arange(classes)


def _add_rows(op, table, g, y):
    result = np.array(table)
    np.add.at(result, y, g)
    return result


def drawn(op, key, shape):
    generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, op.number]))
    return generator.random(shape, np.float32) >= op.rate


FORMULAS = {
    "concat": lambda op, *values: np.concatenate(values, op.axis),
    "stack": lambda op, *values: np.stack(values, 1),
    "step": lambda op, x: x[:, op.number],
    "random_mask": lambda op, key: drawn(op, key, op.shape),
    "packed_mask": lambda op, key: np.packbits(drawn(op, key, op.shape), bitorder="little"),
    "dropout": lambda op, x, mask: x * mask / (1 - op.rate),
    "packed_dropout": lambda op, x, bits: (
        x * np.unpackbits(bits, count=x.size, bitorder="little").reshape(x.shape) / (1 - op.rate)
    ),
    "recomputed_dropout": lambda op, x, key: x * drawn(op, key, x.shape) / (1 - op.rate),
    "embedding": lambda op, table, y: table[y],
    "add_rows": _add_rows,
    "swiglu": lambda op, a, c: a / (1 + np.exp(-a)) * c,
    "attention_blocks": _attention,
    "attention_blocks_grad": _attention_grad,
    "lower": lambda op, x: np.tril(x),
    "scores": lambda op, x, y: op.scale * np.einsum("nihd,njhd->nhij", x, y),
    "mix": lambda op, p, v: (
        op.scale * np.einsum("nhij,njhd->nihd", np.swapaxes(p, -1, -2) if op.transpose else p, v)
    ),
    "softmax": lambda op, x: softmax(x, op.causal),
    "softmax_grad": lambda op, g, p: p * (g - (g * p).sum(-1, keepdims=True)),
    "cross_entropy": lambda op, x, y: -np.mean(np.log(np.sum(softmax(x) * _one_hot(y, x.shape[-1]), -1))),
    "cross_entropy_grad": lambda op, g, x, y: g / y.size * (softmax(x) - _one_hot(y, x.shape[-1])),
}
