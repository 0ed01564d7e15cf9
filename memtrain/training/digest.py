"""A digest that identifies the training data of a network."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from memtrain.graph.ops.base import Array


class DataDigest:
    """A digest of examples and labels in their order. It does not depend on their file or blocks."""

    def __init__(self) -> None:
        self._x, self._y = blake2b(), blake2b()
        self._inputs = 0

    def add(self, x: Array, y: Array) -> None:
        """Include the examples ``x`` (rows, inputs), as float32, and their labels ``y``."""
        self._inputs = x.shape[1]
        self._x.update(np.ascontiguousarray(x, "<f4").reshape(-1).data)
        self._y.update(np.ascontiguousarray(y, "<i8").data)

    def text(self) -> str:
        """The digest of everything included so far."""
        parts = f"{self._inputs} {self._x.hexdigest()} {self._y.hexdigest()}"
        return blake2b(parts.encode(), digest_size=16).hexdigest()
