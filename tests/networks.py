"""Networks with a batch, written by tests in one line of sizes and options."""

from typing import NamedTuple

import numpy as np

from memtrain.models.mlp import MLP
from memtrain.models.network import Network

Arrays = dict[str, np.ndarray]

KINDS = ("relu", "tanh", "gelu", "silu")
"""Activations of each kind: two whose rule reads the output, and two whose rule reads the input.

Tests that also vary depth, bias, loss or batch try these in all combinations, and other activations in some.
"""


class Sized(NamedTuple):
    """A network and its batch."""

    network: Network
    batch: int

    def __getattr__(self, name):
        return getattr(self.network, name)

    def changed(self, batch=None, **columns):
        return Sized(self.network.changed(**columns), batch or self.batch)

    def build(self):
        return self.network.build(self.batch)

    def initial_values(self, seed):
        return self.network.initial_values(seed)


def mlp(
    batch,
    input_size,
    hidden,
    output_size,
    activation="relu",
    bias=False,
    l2=1e-4,
    dtype="float32",
    loss="cross_entropy",
):
    options = {"activation": activation, "bias": bias, "l2": l2, "dtype": dtype, "loss": loss}
    return Sized(MLP.of_sizes(input_size, tuple(hidden), output_size, **options), batch)


def build(sized):
    return sized.build()


def initial_values(sized, seed):
    return sized.initial_values(seed)


def draw(spec: Sized, seed: int) -> Arrays:
    """Random parameters and a random batch, by leaf name."""
    rng = np.random.default_rng(seed)
    sizes = (spec.input_size, *spec.hidden, spec.output_size)
    values = {}
    for k in range(1, len(sizes)):
        values[f"W{k}"] = rng.standard_normal((sizes[k], sizes[k - 1])) / np.sqrt(sizes[k - 1])
        if spec.bias:
            values[f"b{k}"] = rng.standard_normal(sizes[k])
    return values | draw_batch(spec, rng)


def draw_batch(spec: Sized, rng: np.random.Generator) -> Arrays:
    labels = (
        rng.integers(0, spec.output_size, spec.batch)
        if spec.loss == "cross_entropy"
        else rng.standard_normal((spec.batch, spec.output_size))
    )
    return {"x": rng.standard_normal((spec.batch, spec.input_size)), "y": labels}
