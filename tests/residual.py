"""A second family, added by tests in the way of a user: h ← h + φ(W h), without bias and regulariser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memtrain.graph.builder import Builder
from memtrain.graph.ops.arithmetic import add
from memtrain.graph.size import BATCH, Dim
from memtrain.models.families import FAMILIES
from memtrain.models.layers import activate, cross_entropy, linear, normal_values, parameter
from memtrain.models.network import Feed, FeedKind, Model, Network


@dataclass(frozen=True)
class Residual(Network):
    width: int = 256
    activation: str = "relu"
    dtype: str = "float32"
    input_size: int = 64
    output_size: int = 10

    family: ClassVar[str] = "residual"

    def feeds(self, batch):
        n = batch if isinstance(batch, Dim) else Dim(batch, BATCH)
        features = Feed("x", FeedKind.FEATURES, (n, Dim(self.input_size, "d")), np.dtype(self.dtype))
        return features, Feed("y", FeedKind.LABELS, (n,), np.dtype(np.int64), self.output_size)

    def _shapes(self):
        d, m, q = Dim(self.input_size, "d"), Dim(self.width, "m"), Dim(self.output_size, "q")
        return {"A": (m, d), **{f"W{k}": (m, m) for k in range(1, self.depth + 1)}, "B": (q, m)}

    def build(self, batch):
        b = Builder()
        x, y = feeds = tuple(feed.leaf(b) for feed in self.feeds(batch))
        dtype, weights = np.dtype(self.dtype), {}
        for k, (name, shape) in enumerate(self._shapes().items()):
            with b.block("block", k):
                weights[name] = parameter(b, name, name[0], shape, dtype)
        h = linear(b, x, weights["A"], name="h0", label="h")
        for k in range(1, self.depth + 1):
            with b.block("block", k):
                z = linear(b, h, weights[f"W{k}"], name=f"z{k}", label="z")
                inner = activate(b, self.activation, z, name=f"a{k}", label="a")
                h = b.rename(add(b, h, inner, name=f"h{k}"), f"h{k}", "h")
        output = linear(b, h, weights["B"], name="o")
        loss = cross_entropy(b, output, y)
        return Model(b, feeds, tuple(weights.values()), (output,), loss, loss)

    def initial_values(self, seed):
        return {
            name: normal_values((seed, k), shape, 0.1, self.dtype)
            for k, (name, shape) in enumerate(self._shapes().items())
        }

    def forward_flops(self, batch):
        return 2 * batch * sum(int(rows) * int(columns) for rows, columns in self._shapes().values())

    def small(self):
        return self.changed(depth=1, width=64)


def register():
    """Register the family in this process."""
    FAMILIES[Residual.family] = Residual


if __name__ == "__main__":  # the command of memtrain, with this family
    register()
    from memtrain.__main__ import main

    main()
