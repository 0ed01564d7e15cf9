"""Networks of a given batch, as tests speak of them: sizes and options in one line."""

from typing import NamedTuple

from memtrain.models.mlp import MLP
from memtrain.models.network import Network


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
