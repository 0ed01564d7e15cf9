"""The language models in PyTorch, with values by the names of our leaves."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional


def loss(network, t, x, y):
    """The mean cross-entropy over all tokens."""
    output = {"transformer": transformer, "rnn": rnn}[network.family](network, t, x)
    return F.cross_entropy(output.reshape(-1, network.vocabulary), y.reshape(-1))


def norm(network, t, x, key):
    size = x.shape[-1:]
    if network.norm == "rms":
        return F.rms_norm(x, size, t[f"γ{key}"], 1e-5)
    return F.layer_norm(x, size, t[f"γ{key}"], t[f"β{key}"])


def transformer(network, t, x):
    n, length = x.shape
    h = t["E"][x] + t["P"]
    for k in range(1, network.depth + 1):
        u = norm(network, t, h, f"1{k}")
        parts = (F.linear(u, t[f"W{part}{k}"], t.get(f"b{part}{k}")) for part in "qkv")
        q, key, v = (part.reshape(n, length, network.heads, -1).transpose(1, 2) for part in parts)
        c = F.scaled_dot_product_attention(q, key, v, is_causal=True).transpose(1, 2).reshape(h.shape)
        h = h + F.linear(c, t[f"Wa{k}"], t.get(f"ba{k}"))
        z = F.gelu(F.linear(norm(network, t, h, f"2{k}"), t[f"W1{k}"], t.get(f"b1{k}")))
        h = h + F.linear(z, t[f"W2{k}"], t.get(f"b2{k}"))
    u = norm(network, t, h, "")
    return F.linear(u, t["E"]) if network.tied else F.linear(u, t["W"], t.get("b"))


def rnn(network, t, x):
    values = t["E"][x]
    n, length, m = values.shape
    gates = {"tanh": "h", "lstm": "ifgo", "gru": "rug"}[network.unit]
    for k in range(1, network.depth + 1):
        h = c = torch.zeros(n, m, dtype=values.dtype)
        found = []
        for s in range(length):
            into = {g: F.linear(values[:, s], t[f"W{g}{k}"]) for g in gates}
            seen = {g: F.linear(h, t[f"U{g}{k}"], t[f"b{g}{k}"]) for g in gates}
            if network.unit == "tanh":
                h = torch.tanh(into["h"] + seen["h"])
            elif network.unit == "lstm":
                i, f, o = (torch.sigmoid(into[g] + seen[g]) for g in "ifo")
                c = f * c + i * torch.tanh(into["g"] + seen["g"])
                h = o * torch.tanh(c)
            else:
                r, u = (torch.sigmoid(into[g] + seen[g]) for g in "ru")
                new = torch.tanh(into["g"] + r * seen["g"])
                h = (1 - u) * new + u * h
            found.append(h)
        values = torch.stack(found, 1)
    return F.linear(values, t["W"], t["b"])
