"""The in-place updates of parameters and optimiser state: effects, which cannot be differentiated.

The result of an update is the new value, in the storage of input 0. The formulas are those of PyTorch's
``torch.optim`` (Adam: Kingma & Ba 2015). They have no weight decay, because the regulariser is part of J.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, number, same_shape
from memtrain.graph.ops.blockwise import Elementwise
from memtrain.graph.ops.scaled_sum import add_product

if TYPE_CHECKING:
    from memtrain.graph.ops.notation import Writer


class _Update(Elementwise):
    writes: ClassVar[int | None] = 0


@dataclass(frozen=True)
class Descend(_Update):
    """W ← W − rate · g."""

    rate: float

    name = "descend"
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        add_product(out, out, inputs[1], number(-self.rate, out.dtype), work[0])


@dataclass(frozen=True)
class Accumulate(_Update):
    """v ← decay · v + g: the velocity of momentum."""

    decay: float

    name = "accumulate"

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(out, number(self.decay, out.dtype), out=out)
        np.add(out, inputs[1], out=out)


@dataclass(frozen=True)
class Store(_Update):
    """G ← g: a gradient that lasts until the next iteration takes its new value."""

    name = "store"
    glyph = "←"

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.copyto(out, inputs[1])


@dataclass(frozen=True)
class Average(_Update):
    """m ← decay · m + (1 − decay) · g."""

    decay: float

    name = "average"
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(out, number(self.decay, out.dtype), out=out)
        add_product(out, out, inputs[1], number(1 - self.decay, out.dtype), work[0])


@dataclass(frozen=True)
class AverageSquare(_Update):
    """v ← decay · v + (1 − decay) · g²."""

    decay: float

    name = "average_square"
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(out, number(self.decay, out.dtype), out=out)
        np.multiply(inputs[1], inputs[1], out=work[0])
        add_product(out, out, work[0], number(1 - self.decay, out.dtype), work[0])


@dataclass(frozen=True)
class Track(_Update):
    """v ← (1 − momentum) · v + momentum · factor · s: a running statistic, which forward updates.

    In inference the running value stands for the statistic s of the batch.
    """

    momentum: float
    factor: float = 1.0

    name = "track"
    scratch = 1
    tracks = True

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        running, statistic = map(w.term, inputs)
        return f"{1 - self.momentum:g} {running} + {self.momentum * self.factor:.3g} {statistic}"

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(out, number(1 - self.momentum, out.dtype), out=out)
        add_product(out, out, inputs[1], number(self.momentum * self.factor, out.dtype), work[0])


@dataclass(frozen=True)
class AdamStep(_Update):
    """W ← W − rate · m̂ / (√v̂ + ε), with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ); t counts from 1."""

    rate: float
    beta1: float
    beta2: float
    epsilon: float

    name = "adam_step"
    scratch = 1

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        weight, mean, square, t = inputs
        if t.shape:
            raise GraphError(f"{self.name} needs the count of iterations as a number, not {t}")
        return same_shape(self, weight, mean, square)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        _, mean, square, t = inputs
        (step,) = work
        iteration = t.item()
        np.sqrt(square, out=step)
        np.multiply(step, (1 - self.beta2**iteration) ** -0.5, out=step)
        np.add(step, number(self.epsilon, step.dtype), out=step)
        np.divide(mean, step, out=step)
        np.multiply(step, self.rate / (1 - self.beta1**iteration), out=step)
        np.subtract(out, step, out=out)
