"""What a schedule takes over and frees."""

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
    """A value in another type, which may take the buffer of its input where the types are one."""

    dtype: np.dtype

    name = "cast"
    reuses: ClassVar[tuple[int, ...]] = (0,)

    def result(self, *inputs):
        return inputs[0].shape, self.dtype


del OPS["cast"]  # an op of this test only


def taken(dtype):
    """Whose buffer the last of three steps takes: x is float64, h = tanh x, and then h in ``dtype``."""
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
