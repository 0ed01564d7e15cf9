"""The networks of each family as PyTorch's users write them, as functions of tensors.

``f`` are PyTorch's functions, or those of `memtrain.engines.functions`; ``f.training`` says whether the
network trains. ``t`` are the parameters by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrain.engines.activations import activate
from memtrain.engines.networks_images import cnn, lenet, resnet
from memtrain.engines.networks_tokens import rnn, transformer
from memtrain.models.network import Network


def mlp(network: Any, f: Any, t: Mapping[str, Any], x: Any) -> Any:
    """The output of a multilayer perceptron."""
    for k in range(1, network.depth + 2):
        with f.block("layer", k):
            x = f.linear(x, t[f"W{k}"], t.get(f"b{k}"))
            if k <= network.depth:
                x = activate(f, network.activation, x)
    return x


OUTPUTS = {
    "mlp": mlp,
    "lenet": lenet,
    "cnn": cnn,
    "resnet": resnet,
    "transformer": transformer,
    "rnn": rnn,
}
"""By family: the function that computes the output of a network."""


def output(network: Network, f: Any, t: Mapping[str, Any], x: Any) -> Any:
    """The output of ``network`` for the inputs ``x``."""
    return OUTPUTS[network.family](network, f, t, x)


def loss(network: Any, f: Any, found: Any, y: Any) -> Any:
    """The loss of outputs; the regulariser is the weight decay of the optimiser."""
    if getattr(network, "loss", "cross_entropy") == "mean_squared_error":
        return f.mse_loss(found, y)
    if len(y.shape) == 2:  # a label for each token
        return f.cross_entropy(found.view(-1, network.vocabulary), y.view(-1))
    return f.cross_entropy(found, y)
