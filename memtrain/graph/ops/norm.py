"""Functions that append normalisations to a graph: layer, RMS, group and batch norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memtrain.graph.node import Node, Shape
from memtrain.graph.ops.norm_channels import ChannelNormalise
from memtrain.graph.ops.norm_moments import AXES, ChannelMean, ChannelVariance, InverseRoot
from memtrain.graph.ops.norm_rows import RowMean, RowNormalise, RowRstd
from memtrain.graph.ops.update import Track
from memtrain.graph.ops.view import reshape
from memtrain.graph.size import part, product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder

EPSILON = 1e-5


def layer_norm(
    b: Builder,
    x: Node,
    gamma: Node,
    beta: Node,
    *,
    epsilon: float = EPSILON,
    name: str | None = None,
    label: str | None = None,
) -> Node:
    """γ (x − μ)/√(σ² + ε) + β over the last axis; γ and β have its size."""
    axes = (len(x.shape) - 1,)
    mean = b.apply(RowMean(axes), x, **_of("μ", name, label))
    r = b.apply(RowRstd(axes, True, epsilon), x, mean, **_of("r", name, label))
    return b.apply(RowNormalise(axes), x, mean, r, gamma, beta, name=name, label=label)


def rms_norm(
    b: Builder,
    x: Node,
    gamma: Node,
    *,
    epsilon: float = EPSILON,
    name: str | None = None,
    label: str | None = None,
) -> Node:
    """γ x/√(mean x² + ε) over the last axis; γ has its size."""
    axes = (len(x.shape) - 1,)
    r = b.apply(RowRstd(axes, False, epsilon), x, **_of("r", name, label))
    return b.apply(RowNormalise(axes, False), x, r, gamma, name=name, label=label)


def group_norm(
    b: Builder,
    x: Node,
    gamma: Node,
    beta: Node,
    groups: int,
    *,
    epsilon: float = EPSILON,
    name: str | None = None,
    label: str | None = None,
) -> Node:
    """A norm over all pixels and the channels of each group; x is (n, …, channels), γ and β (channels,)."""
    n, *pixels, channels = x.shape
    grouped = (groups, part(channels, groups))
    values = _viewed(b, x, (n, product(pixels), *grouped))
    mean = b.apply(ChannelMean(AXES), values, **_of("μ", name, label))
    variance = b.apply(ChannelVariance(AXES), values, mean, **_of("σ²", name, label))
    r = b.apply(InverseRoot(epsilon), variance, **_of("r", name, label))
    by_group = (_viewed(b, node, grouped) for node in (gamma, beta))
    normal = _named(b, b.apply(ChannelNormalise(AXES), values, mean, r, *by_group), name, label, "[{}]")
    return _named(b, reshape(b, normal, x.shape), name, label)


def batch_norm(
    b: Builder,
    x: Node,
    gamma: Node,
    beta: Node,
    running_mean: Node,
    running_var: Node,
    *,
    momentum: float = 0.1,
    epsilon: float = EPSILON,
    name: str | None = None,
    label: str | None = None,
) -> Node:
    """A norm of each channel over the batch; x is (…, channels), the parameters are (channels,).

    Training updates the running mean and variance in place; inference reads them (see `Track`). As in
    PyTorch, the running variance is of the unbiased kind: it is corrected by N/(N − 1).
    """
    channels = x.shape[-1]
    each, count = (channels, 1), product(x.shape[:-1])
    values = _viewed(b, x, (1, count, *each))
    mean = b.apply(ChannelMean(AXES), values, **_of("μ", name, label))
    flat = _viewed(b, mean, (channels,))
    variance = b.apply(ChannelVariance(AXES), values, mean, **_of("σ²", name, label))
    flat_variance = _viewed(b, variance, (channels,))
    unbiased = int(count) / max(1, int(count) - 1)
    for running, statistic, factor in ((running_mean, flat, 1.0), (running_var, flat_variance, unbiased)):
        track = Track(momentum, factor)
        b.apply(track, running, statistic, name=f"{running.name}′", label=f"{running.label}′")
    used = _viewed(b, flat_variance, (1, 1, *each))
    r = b.apply(InverseRoot(epsilon), used, **_of("r", name, label))
    by_channel = (_viewed(b, node, each) for node in (gamma, beta))
    mean = _viewed(b, flat, (1, 1, *each))
    normal = _named(b, b.apply(ChannelNormalise(AXES), values, mean, r, *by_channel), name, label, "[{}]")
    return _named(b, reshape(b, normal, x.shape), name, label)


def _of(symbol: str, name: str | None, label: str | None) -> dict[str, str]:
    """The name and label of a statistic of the value with this name and label: ``μ(u1)``."""
    return {"name": f"{symbol}({name})", "label": f"{symbol}({label or name})"} if name else {}


def _viewed(b: Builder, x: Node, shape: Shape) -> Node:
    """``x`` under another shape, named after it: ``[x]``."""
    view = reshape(b, x, shape)
    return b.rename(view, f"[{x.name}]", f"[{x.label}]")


def _named(b: Builder, node: Node, name: str | None, label: str | None, form: str = "{}") -> Node:
    """``node`` under the given name and label, each written in ``form``."""
    return b.rename(node, form.format(name), form.format(label or name)) if name else node
