"""Networks of a given batch, as tests speak of them: sizes and options in one line."""

from typing import NamedTuple

import numpy as np

from memtrain.models.mlp import MLP
from memtrain.models.network import Network

Arrays = dict[str, np.ndarray]

KINDS = ("relu", "tanh", "gelu", "silu")
"""Activations of each kind: by the output, with a jump and without; by the input besides, of two forms.

What depends on depth, bias, loss or batch too is shown of these in all combinations, of the others in some.
"""


class Sized(NamedTuple):
    """A network and how many examples it is given at a time."""

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
    """Parameters by name and a batch."""
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
