"""The history of tensors: autograd's functions, what they save, and where their gradients go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memtrain.graph.node import Scope

if TYPE_CHECKING:
    from memtrain.engines.tape import Tape, Tensor


class Saved(NamedTuple):
    """A tensor that an autograd function saves: as PyTorch names both, ``ReluBackward0`` and ``result``."""

    function: str
    variable: str
    node: int
    scope: Scope


Gradients = Iterator["Tensor | None"]
Rule = Callable[..., Gradients]
"""A backward rule. From the gradient of the output, whether each input needs a gradient, and the saved
tensors by name, it yields a gradient for each input in order; ``None`` for an input that needs none. It must
refer to no tensor besides, since a reference would keep a storage alive."""


class Function:
    """A node of autograd's graph: what it saved, the inputs whose gradients it gives, and its rule."""

    def __init__(
        self,
        tape: Tape,
        name: str,
        number: int,
        scope: Scope,
        inputs: Sequence[Tensor],
        saved: dict[str, Tensor],
        rule: Rule,
        result_count: int = 1,
    ) -> None:
        self.tape, self.name, self.number, self.scope, self.rule = tape, name, number, scope, rule
        self.result_count = result_count
        self.targets = [_target(x) for x in inputs]
        self.saved = saved

    @property
    def needs(self) -> list[bool]:
        """Whether the gradient of each input is wanted."""
        return [target is not None for target in self.targets]


class Accumulation:
    """The end of the paths of backward to a leaf: it gets the sum of their gradients."""

    result_count = 1

    def __init__(self, leaf: Tensor) -> None:
        self.leaf = leaf
        self.number = ~leaf.storage.born.id
        """A number that no function has, the same for every path to the leaf."""


class Target(NamedTuple):
    """Where a gradient goes: a function or a leaf, and for which of its results the gradient is."""

    end: Function | Accumulation
    result: int


def _target(x: Tensor) -> Target | None:
    if not x.requires_grad:
        return None
    return Target(x.function or Accumulation(x), x.number)
