"""The networks of images as PyTorch's users write them; images are (n, channels, rows, columns).

``f`` and ``t`` are those of `memtrain.engines.networks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrain.engines.activations import activate
from memtrain.models.layers import group_count


def lenet(network: Any, f: Any, t: Mapping[str, Any], x: Any) -> Any:
    """The output of LeNet."""
    for k in range(1, network.depth + 1):
        with f.block("layer", k):
            x = f.conv2d(x, t[f"K{k}"], t.get(f"b{k}"), padding=2 if k == 1 else 0)
            x = activate(f, network.activation, x)
            x = f.avg_pool2d(x, 2)
    x = x.flatten(1)
    for k in (network.depth + 1, network.depth + 2):
        with f.block("linear", k):
            x = activate(f, network.activation, f.linear(x, t[f"W{k}"], t.get(f"b{k}")))
    return f.linear(x, t["W"], t.get("b"))


def cnn(network: Any, f: Any, t: Mapping[str, Any], x: Any) -> Any:
    """The output of a plain convolutional network."""
    for k in range(1, network.depth + 1):
        with f.block("block", k):
            x = f.conv2d(x, t[f"K{k}"], t.get(f"b{k}"), padding=network.kernel // 2)
            x = activate(f, network.activation, _norm(network, f, t, x, str(k)))
            if k % network.pool == 0:
                x = f.max_pool2d(x, 2)
    return f.linear(x.mean((2, 3)), t["W"], t.get("b"))


def resnet(network: Any, f: Any, t: Mapping[str, Any], x: Any) -> Any:
    """The output of a residual network."""
    with f.block("stem"):
        x = f.conv2d(x, t["K0"], t.get("b0"), padding=1)
        x = activate(f, network.activation, _norm(network, f, t, x, "0"))
    for k in range(1, network.depth + 1):
        with f.block("block", k):
            x = _basic_block(network, f, t, x, k)
    return f.linear(x.mean((2, 3)), t["W"], t.get("b"))


def _basic_block(network: Any, f: Any, t: Mapping[str, Any], x: Any, k: int) -> Any:
    stride = 1 if x.shape[1] == t[f"K1{k}"].shape[0] else 2
    h = f.conv2d(x, t[f"K1{k}"], t.get(f"b1{k}"), stride=stride, padding=1)
    h = activate(f, network.activation, _norm(network, f, t, h, f"1{k}"))
    h = f.conv2d(h, t[f"K2{k}"], t.get(f"b2{k}"), padding=1)
    h = _norm(network, f, t, h, f"2{k}")
    if f"K3{k}" in t:
        x = f.conv2d(x, t[f"K3{k}"], t.get(f"b3{k}"), stride=stride)
        x = _norm(network, f, t, x, f"3{k}")
    return activate(f, network.activation, h + x)


def _norm(network: Any, f: Any, t: Mapping[str, Any], x: Any, key: str) -> Any:
    if network.norm == "none":
        return x
    weight, bias = t[f"γ{key}"], t[f"β{key}"]
    if network.norm == "batch":
        return f.batch_norm(x, t[f"mean{key}"], t[f"var{key}"], weight, bias, training=f.training)
    return f.group_norm(x, group_count(x.shape[1]), weight, bias)
