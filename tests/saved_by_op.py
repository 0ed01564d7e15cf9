"""What each op keeps for backward in float32, beside what PyTorch saves for the same function.

The values that an op reads are results of other ops, which do not keep them. So a value counts if the rule of
the op reads it. Parameters and what is given (tokens, labels, keys, running statistics) do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from examples import leaf

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.inference import effects
from memtrain.graph.node import Node, Role
from memtrain.graph.ops import ACTIVATIONS
from memtrain.graph.ops.arithmetic import add, scale, sum_to
from memtrain.graph.ops.attention import attention
from memtrain.graph.ops.attention_blocks import attention_in_blocks
from memtrain.graph.ops.conv import conv2d
from memtrain.graph.ops.dropout import dropout
from memtrain.graph.ops.embedding import embedding
from memtrain.graph.ops.norm import batch_norm, group_norm, layer_norm, rms_norm
from memtrain.graph.ops.pool_average import avg_pool2d, global_avg_pool2d
from memtrain.graph.ops.pool_max import max_pool2d
from memtrain.graph.ops.probabilities import Softmax
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.swiglu import Swiglu
from memtrain.models.layers import cross_entropy, linear
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule

F4 = np.dtype(np.float32)
IMAGES, ROWS, HEADS = (4, 16, 16, 8), (32, 48), (2, 24, 4, 8)
RATE, GROUPS, CLASSES = 0.25, 4, 48
MASK = "PyTorch's mask of a dropout has the type of x"
CAUSAL = "our softmax needs no array for the causal mask"


class Case(NamedTuple):
    """A function that both compute, with the shapes of what it reads; images have their channels last."""

    name: str
    values: tuple[tuple[int, ...], ...]
    parameters: tuple[tuple[int, ...], ...]
    given: tuple[tuple[tuple[int, ...], str], ...]
    """Shape and type of each further input: integers are below ``CLASSES``."""
    ours: Callable[..., Node]
    """The value from a builder and nodes: values, parameters, given."""
    theirs: Callable[..., Any]
    """The value from torch and tensors, with channels where PyTorch has them."""
    why: str = ""
    """Why memtrain keeps less; empty if both keep the same."""


def _activation(name: str, theirs: Callable[..., Any]) -> Case:
    def ours(b: Builder, x: Node) -> Node:
        return b.apply(ACTIVATIONS[name](), x)

    return Case(name, (ROWS,), (), (), ours, theirs)


def _parts(b: Builder, q: Node, k: Node, v: Node, key: Node | None = None) -> Node:
    def dropped(p: Node) -> Node:
        return p if key is None else dropout(b, p, key, RATE, 1)

    return attention(b, q, k, v, causal=True, dropped=dropped)


def _their_parts(torch: Any, q: Any, k: Any, v: Any, rate: float = 0.0) -> Any:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    hidden = torch.ones(HEADS[1], HEADS[1], dtype=torch.bool).triu(1)
    p = (q @ k.transpose(-1, -2) * HEADS[3] ** -0.5).masked_fill(hidden, -torch.inf).softmax(-1)
    return torch.nn.functional.dropout(p, rate) @ v


def _flash(torch: Any, q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


CHANNELS, WIDTH, KEY = (IMAGES[3],), (ROWS[1],), (((2,), "uint64"),)
CASES = (
    Case(
        "conv2d, 3×3",
        (IMAGES,),
        ((12, 3, 3, 8), (12,)),
        (),
        lambda b, x, w, bias: add(b, conv2d(b, x, w, padding=1), bias),
        lambda torch, x, w, bias: torch.nn.functional.conv2d(x, w, bias, padding=1),
    ),
    Case(
        "linear",
        (ROWS,),
        ((64, 48), (64,)),
        (),
        lambda b, x, w, bias: linear(b, x, w, bias, name="y"),
        lambda torch, x, w, bias: torch.nn.functional.linear(x, w, bias),
    ),
    _activation("relu", lambda torch, x: torch.relu(x)),
    _activation("tanh", lambda torch, x: torch.tanh(x)),
    _activation("sigmoid", lambda torch, x: torch.sigmoid(x)),
    _activation("gelu", lambda torch, x: torch.nn.functional.gelu(x)),
    _activation("silu", lambda torch, x: torch.nn.functional.silu(x)),
    Case(
        "swiglu",
        (ROWS, ROWS),
        (),
        (),
        lambda b, x, y: b.apply(Swiglu(), x, y),
        lambda torch, x, y: torch.nn.functional.silu(x) * y,
        "backward computes silu(x) again from x",
    ),
    Case(
        "max-pool, 2×2",
        (IMAGES,),
        (),
        (),
        lambda b, x: max_pool2d(b, x, 2),
        lambda torch, x: torch.nn.functional.max_pool2d(x, 2),
        "an index in bytes; PyTorch saves x, for its shape, and an int64 index",
    ),
    Case(
        "max-pool, 2×2, of a ReLU",
        (IMAGES,),
        (),
        (),
        lambda b, x: max_pool2d(b, b.apply(ACTIVATIONS["relu"](), x), 2),
        lambda torch, x: torch.nn.functional.max_pool2d(torch.relu(x), 2),
        "the ReLU keeps x, so backward compares it with the maxima; PyTorch saves an int64 index",
    ),
    Case(
        "average pool, 2×2",
        (IMAGES,),
        (),
        (),
        lambda b, x: avg_pool2d(b, x, 2),
        lambda torch, x: torch.nn.functional.avg_pool2d(x, 2),
        "PyTorch saves x, for its shape",
    ),
    Case(
        "global average pool",
        (IMAGES,),
        (),
        (),
        lambda b, x: global_avg_pool2d(b, x),
        lambda torch, x: x.mean((2, 3)),
    ),
    Case(
        "batch norm",
        (IMAGES,),
        (CHANNELS, CHANNELS),
        ((CHANNELS, "float32"), (CHANNELS, "float32")),
        lambda b, x, gamma, beta, mean, variance: batch_norm(b, x, gamma, beta, mean, variance),
        lambda torch, x, gamma, beta, mean, variance: torch.nn.functional.batch_norm(
            x, mean, variance, gamma, beta, training=True
        ),
    ),
    Case(
        "group norm",
        (IMAGES,),
        (CHANNELS, CHANNELS),
        (),
        lambda b, x, gamma, beta: group_norm(b, x, gamma, beta, GROUPS),
        lambda torch, x, gamma, beta: torch.nn.functional.group_norm(x, GROUPS, gamma, beta),
    ),
    Case(
        "layer norm",
        (ROWS,),
        (WIDTH, WIDTH),
        (),
        lambda b, x, gamma, beta: layer_norm(b, x, gamma, beta),
        lambda torch, x, gamma, beta: torch.nn.functional.layer_norm(x, WIDTH, gamma, beta),
    ),
    Case(
        "RMS norm",
        (ROWS,),
        (WIDTH,),
        (),
        lambda b, x, gamma: rms_norm(b, x, gamma),
        lambda torch, x, gamma: torch.nn.functional.rms_norm(x, WIDTH, gamma, 1e-5),
        "backward computes x·r again from x",
    ),
    Case(
        "softmax",
        (ROWS,),
        (),
        (),
        lambda b, x: b.apply(Softmax(), x),
        lambda torch, x: torch.softmax(x, -1),
    ),
    Case(
        "dropout",
        (ROWS,),
        (),
        KEY,
        lambda b, x, key: dropout(b, x, key, RATE, 1),
        lambda torch, x, key: torch.nn.functional.dropout(x, RATE),
        MASK,
    ),
    Case(
        "embedding",
        (),
        ((CLASSES, 8),),
        (((32,), "int64"),),
        lambda b, table, tokens: embedding(b, table, tokens),
        lambda torch, table, tokens: torch.nn.functional.embedding(tokens, table),
    ),
    Case(
        "cross-entropy",
        (ROWS,),
        (),
        (((ROWS[0],), "int64"),),
        lambda b, x, labels: cross_entropy(b, x, labels),
        lambda torch, x, labels: torch.nn.functional.cross_entropy(x, labels),
        "PyTorch saves the sum of the weights of the labels, a number",
    ),
    Case("attention by parts", (HEADS,) * 3, (), (), _parts, _their_parts, CAUSAL),
    Case(
        "attention by parts, with dropout",
        (HEADS,) * 3,
        (),
        KEY,
        _parts,
        lambda torch, q, k, v, key: _their_parts(torch, q, k, v, RATE),
        f"{CAUSAL}; {MASK}",
    ),
    Case(
        "attention in blocks",
        (HEADS,) * 3,
        (),
        (),
        lambda b, q, k, v: attention_in_blocks(b, q, k, v, causal=True),
        _flash,
    ),
)


def our_bytes(case: Case) -> int:
    """The bytes that forward keeps for the gradients of all values and parameters."""
    b = Builder()
    made = [leaf(b, f"x{i}", shape, F4) for i, shape in enumerate(case.values)]
    values = [scale(b, x, 2.0) for x in made]
    parameters = [
        b.apply(Leaf(Role.PARAMETER, shape, F4), name=f"w{i}") for i, shape in enumerate(case.parameters)
    ]
    given = [leaf(b, f"given{i}", shape, dtype) for i, (shape, dtype) in enumerate(case.given)]
    result = case.ours(b, *values, *parameters, *given)
    found = gradient(b, sum_to(b, result, ()) if result.shape else result, [*made, *parameters])
    schedule = make_schedule(b.graph(), [*found, *effects(b.nodes)])
    return sum(node.nbytes for node in analyse(schedule).most_retained)


def their_bytes(case: Case) -> int:
    """The bytes that PyTorch saves for the same gradients. It must be installed."""
    import torch
    from torch_images import as_torch
    from torch_saved import saved_bytes

    rng = np.random.default_rng(0)

    def drawn(shape: tuple[int, ...]) -> torch.Tensor:
        value = rng.standard_normal(shape).astype(F4)
        is_image = len(shape) == 4 and shape != HEADS
        return torch.tensor(as_torch(value) if is_image else value, requires_grad=True)

    values = [drawn(shape) for shape in case.values]
    parameters = [drawn(shape) for shape in case.parameters]
    given = [torch.tensor(rng.integers(CLASSES, size=shape).astype(dtype)) for shape, dtype in case.given]
    return saved_bytes(lambda: case.theirs(torch, *values, *parameters, *given), [*parameters, *given])
