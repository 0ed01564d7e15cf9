"""Schedules: the buffers that steps take over, and the values that they free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memtrain.graph.builder import Builder
from memtrain.graph.node import Role
from memtrain.graph.ops.activation import Tanh
from memtrain.graph.ops.base import OPS, Op
from memtrain.graph.ops.source import Leaf
from memtrain.planning.schedule import make_schedule


@dataclass(frozen=True)
class _Cast(Op):
    """The input in another type. The op may take over the buffer of its input if the types are equal."""

    dtype: np.dtype

    name = "cast"
    reuses: ClassVar[tuple[int, ...]] = (0,)

    def result(self, *inputs):
        return inputs[0].shape, self.dtype


del OPS["cast"]  # an op of this test only


def taken(dtype):
    """The value whose buffer the last step takes over. The steps compute h = tanh x, and h in ``dtype``."""
    b = Builder()
    x = b.apply(Leaf(Role.INPUT, (6,), np.dtype(np.float64)), name="x")
    h = b.apply(Tanh(), x, name="h")
    cast = b.apply(_Cast(np.dtype(dtype)), h, name="cast")
    schedule = make_schedule(b.graph(), [cast])
    return [step.reuse for step in schedule.steps][-1], h.id


def test_a_buffer_of_the_same_type_is_taken_over_and_one_of_another_type_is_not():
    assert taken(np.float64) == (1, 1)
    assert taken(np.int64) == (None, 1)  # as many bytes
    assert taken(np.float32) == (None, 1)
