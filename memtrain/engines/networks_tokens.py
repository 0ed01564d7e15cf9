"""The language models as PyTorch's users write them, as functions of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrain.engines.activations import activate

Tensors = Mapping[str, Any]


def transformer(network: Any, f: Any, t: Tensors, x: Any) -> Any:
    """The logits (n, t, vocabulary) of a transformer decoder."""
    length = x.shape[1]
    hidden = x.new_ones(length, length, dtype=f.bool).triu(1) if network.attention == "parts" else None
    h = _dropped(network, f, f.embedding(x, t["E"]) + t["P"])
    for k in range(1, network.depth + 1):
        with f.block("block", k):
            with f.block("norm"):
                u = _norm(network, f, t, f"1{k}", h)
            with f.block("attention"):
                h = h + _dropped(network, f, _attention(network, f, t, k, u, hidden))
            with f.block("norm"):
                u = _norm(network, f, t, f"2{k}", h)
            with f.block("perceptron"):
                h = h + _dropped(network, f, _perceptron(network, f, t, k, u))
    u = _norm(network, f, t, "", h)
    return f.linear(u, t["E"]) if network.tied else f.linear(u, t["W"], t.get("b"))


def _norm(network: Any, f: Any, t: Tensors, key: str, x: Any) -> Any:
    size = (network.width,)
    if network.norm == "rms":
        return f.rms_norm(x, size, t[f"γ{key}"], 1e-5)
    return f.layer_norm(x, size, t[f"γ{key}"], t[f"β{key}"])


def _dropped(network: Any, f: Any, x: Any) -> Any:
    return f.dropout(x, network.dropout, f.training)


def _attention(network: Any, f: Any, t: Tensors, k: int, x: Any, hidden: Any) -> Any:
    """Causal attention with its projection. ``hidden`` marks what a token does not see."""
    n, length, width = x.shape
    q, key, v = (
        f.linear(x, t[f"W{part}{k}"], t.get(f"b{part}{k}")).view(n, length, network.heads, -1).transpose(1, 2)
        for part in "qkv"
    )
    if network.attention == "blocks":
        c = f.scaled_dot_product_attention(q, key, v, is_causal=True)
    else:
        scores = q @ key.transpose(-2, -1) * (width // network.heads) ** -0.5
        p = f.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1)
        c = _dropped(network, f, p) @ v
    c = c.transpose(1, 2).reshape(n, length, width)
    return f.linear(c, t[f"Wa{k}"], t.get(f"ba{k}"))


def _perceptron(network: Any, f: Any, t: Tensors, k: int, x: Any) -> Any:
    x = f.linear(x, t[f"W1{k}"], t.get(f"b1{k}"))
    x = activate(f, network.activation, x)
    return f.linear(x, t[f"W2{k}"], t.get(f"b2{k}"))


def rnn(network: Any, f: Any, t: Tensors, x: Any) -> Any:
    """The logits (n, t, vocabulary) of a recurrent network, unrolled over the tokens."""
    values = f.embedding(x, t["E"])
    for k in range(1, network.depth + 1):
        with f.block("layer", k):
            values = _recurrent(network, f, t, k, values)
    return f.linear(values, t["W"], t.get("b"))


def _recurrent(network: Any, f: Any, t: Tensors, k: int, values: Any) -> Any:
    """The states of a recurrent layer after each token: (n, t, width)."""
    h = c = values.new_zeros(values.shape[0], network.width)
    states = []
    for s, x in enumerate(values.unbind(1), start=1):
        with f.block("step", s):
            if network.unit == "tanh":
                h = f.tanh(_gate(f, t, f"h{k}", x, h))
            elif network.unit == "lstm":
                h, c = _lstm(f, t, k, x, h, c)
            else:
                h = _gru(f, t, k, x, h)
        states.append(h)
    return f.stack(states, 1)


def _gate(f: Any, t: Tensors, key: str, x: Any, h: Any) -> Any:
    """W x + U h + b of a gate."""
    return f.linear(x, t[f"W{key}"]) + f.linear(h, t[f"U{key}"], t.get(f"b{key}"))


def _lstm(f: Any, t: Tensors, k: int, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
    i = f.sigmoid(_gate(f, t, f"i{k}", x, h))
    kept = f.sigmoid(_gate(f, t, f"f{k}", x, h))
    g = f.tanh(_gate(f, t, f"g{k}", x, h))
    o = f.sigmoid(_gate(f, t, f"o{k}", x, h))
    c = kept * c + i * g
    return o * f.tanh(c), c


def _gru(f: Any, t: Tensors, k: int, x: Any, h: Any) -> Any:
    r = f.sigmoid(_gate(f, t, f"r{k}", x, h))
    u = f.sigmoid(_gate(f, t, f"u{k}", x, h))
    seen = f.linear(h, t[f"Ug{k}"], t.get(f"bg{k}"))
    g = f.tanh(f.linear(x, t[f"Wg{k}"]) + r * seen)
    return (1 - u) * g + u * h
