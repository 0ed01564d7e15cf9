"""The activations of the networks, as PyTorch's users write them."""

from __future__ import annotations

from typing import Any

ACTIVATIONS = {
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "gelu": "gelu",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "softplus": "softplus",
    "silu": "silu",
    "hard_swish": "hardswish",
    "mish": "mish",
}
"""PyTorch's name of each activation."""


IN_PLACE = ("relu", "leaky_relu", "elu", "silu", "hard_swish", "mish", "identity")
"""The activations whose modules can overwrite their inputs (``inplace=True``)."""


def activate(f: Any, name: str, x: Any) -> Any:
    """φ(x)."""
    if name == "identity":
        return x
    if f.inplace:
        return getattr(f, ACTIVATIONS[name])(x, inplace=True)
    if name == "gelu_tanh":
        return f.gelu(x, approximate="tanh")
    return getattr(f, ACTIVATIONS[name])(x)
