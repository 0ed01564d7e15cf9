"""The groups of parameters that PyTorch's optimiser gets: the weights, which decay, and all others."""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.models.network import Network


def decays(network: Network, trained: Sequence[str]) -> list[tuple[list[str], float]]:
    """The groups of parameters of the optimiser: their names, and the weight decay that stands for λ."""
    factor = float(getattr(network, "l2", 0.0))
    decayed = {node.name for node in network.build(1).regularised} if factor else set()
    groups = [
        ([name for name in trained if name in decayed], factor),
        ([name for name in trained if name not in decayed], 0.0),
    ]
    return [group for group in groups if group[0]]
