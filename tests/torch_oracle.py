"""The network of the book in PyTorch, with values by the names of our leaves.

A test that imports this module is skipped if PyTorch is not installed.
"""

from __future__ import annotations

import numpy as np
import pytest
from networks import Arrays, Sized

torch = pytest.importorskip("torch")
F = torch.nn.functional

ACTIVATIONS = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "identity": lambda z: z,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "softplus": lambda z: F.softplus(z, threshold=1e9),
    "silu": F.silu,
    "hard_swish": F.hardswish,
    "mish": F.mish,
}


def tensors_of(values: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, requires_grad=name not in ("x", "y")) for name, value in values.items()}


def objective(spec: Sized, t: dict[str, torch.Tensor]) -> torch.Tensor:
    """J computed by PyTorch, from tensors by the names of our leaves."""
    value = t["x"]
    for k in range(1, spec.depth + 2):
        value = F.linear(value, t[f"W{k}"], t.get(f"b{k}"))
        if k <= spec.depth:
            value = ACTIVATIONS[spec.activation](value)
    loss = F.cross_entropy if spec.loss == "cross_entropy" else F.mse_loss
    j = loss(value, t["y"])
    if spec.l2:
        j = j + spec.l2 / 2 * sum((t[f"W{k}"] ** 2).sum() for k in range(1, spec.depth + 2))
    return j


def parameters_of(t: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensor for tensor in t.values() if tensor.requires_grad]


def assert_close(found: np.ndarray, tensor: torch.Tensor, tolerance: float) -> None:
    """Fail unless the two are equal to ``tolerance`` of the largest entry."""
    expected = tensor.detach().numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
