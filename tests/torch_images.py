"""The networks of images in PyTorch, with values by the names of our leaves."""

from __future__ import annotations

import numpy as np
import pytest

from memtrain.models.network import Network

torch = pytest.importorskip("torch")
F = torch.nn.functional


def as_torch(value):
    """Images and kernels with their channels where PyTorch has them; other values as they are."""
    return np.moveaxis(value, 3, 1).copy() if value.ndim == 4 else value.copy()


def loss(network: Network, t, x, y):
    """The cross-entropy of a batch of images."""
    return F.cross_entropy(
        {"lenet": lenet, "cnn": cnn, "resnet": resnet}[network.family](network, t, x), torch.tensor(y)
    )


def lenet(network, t, x):
    for k in range(1, network.depth + 1):
        x = torch.sigmoid(F.conv2d(x, t[f"K{k}"], t[f"b{k}"], padding=2 if k == 1 else 0))
        x = F.avg_pool2d(x, 2)
    x = x.movedim(1, 3).flatten(1)  # our pixels have their channels last
    for k in (network.depth + 1, network.depth + 2):
        x = torch.sigmoid(F.linear(x, t[f"W{k}"], t[f"b{k}"]))
    return F.linear(x, t["W"], t["b"])


def norm(network, t, x, key):
    if network.norm == "none":
        return x
    gamma, beta = t[f"γ{key}"], t[f"β{key}"]
    if network.norm == "group":
        groups = next(count for count in range(min(8, x.shape[1]), 0, -1) if x.shape[1] % count == 0)
        return F.group_norm(x, groups, gamma, beta)
    return F.batch_norm(x, t[f"mean{key}"], t[f"var{key}"], gamma, beta, training=True)


def cnn(network, t, x):
    for k in range(1, network.depth + 1):
        x = F.conv2d(x, t[f"K{k}"], t.get(f"b{k}"), padding=network.kernel // 2)
        x = F.relu(norm(network, t, x, k))
        if k % network.pool == 0:
            x = F.max_pool2d(x, 2)
    return F.linear(x.mean((2, 3)), t["W"], t.get("b"))


def resnet(network, t, x):
    x = F.relu(norm(network, t, F.conv2d(x, t["K0"], t.get("b0"), padding=1), "0"))
    for k in range(1, network.depth + 1):
        first = t[f"K1{k}"]
        stride = 1 if x.shape[1] == first.shape[0] else 2
        h = F.relu(norm(network, t, F.conv2d(x, first, t.get(f"b1{k}"), stride=stride, padding=1), f"1{k}"))
        f = norm(network, t, F.conv2d(h, t[f"K2{k}"], t.get(f"b2{k}"), padding=1), f"2{k}")
        if f"K3{k}" in t:
            x = norm(network, t, F.conv2d(x, t[f"K3{k}"], t.get(f"b3{k}"), stride=stride), f"3{k}")
        x = F.relu(f + x)
    return F.linear(x.mean((2, 3)), t["W"], t.get("b"))
