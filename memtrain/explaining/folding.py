"""Folding: of values that differ only in the number of their block, only the first and the last are shown."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from memtrain.graph.node import Graph, Phase, Role, Scope, numbered

LEAST_REPEATS = 4
"""Fewer repetitions are shown in full."""
_LONGEST_PERIOD = 6
"""The most lines of a block that repeats."""


class Named(Protocol):
    """A value, or an entry about a value."""

    @property
    def name(self) -> str:
        """The name for people."""

    @property
    def label(self) -> str:
        """The name within its block, the same in every block of a kind."""

    @property
    def scope(self) -> Scope:
        """The path of blocks that the value belongs to."""


Item = TypeVar("Item", bound=Named)


def in_order(value: Named) -> tuple[str, list[int]]:
    """A key for sorting that puts h2 before h10."""
    return value.label, [block.number or 0 for block in value.scope]


def fold_names(items: Iterable[Named]) -> str:
    """``h1…h3, logp`` for h1, h2, h3 and logp: runs of the same value in consecutive blocks are folded."""
    return ", ".join(folded_names(items))


def folded_names(items: Iterable[Named]) -> list[str]:
    """The parts of `fold_names`: ``h1…h3`` and ``logp``."""
    series: dict[Hashable, list[Named]] = {}
    for item in items:
        outer = numbered(item.scope)[:-1]
        series.setdefault((item.label, outer, kinds_of(item.scope)), []).append(item)
    return [name for found in series.values() for name in _fold_series(found)]


def of_parameters(graph: Graph) -> frozenset[str]:
    """Names of the numbers that forward computes from parameters alone: norms, their sums, and s."""
    alone: set[int] = set()
    for node in graph:
        if node.phase is not Phase.FORWARD:
            continue
        if node.role is Role.PARAMETER or (node.inputs and alone.issuperset(node.inputs)):
            alone.add(node.id)
    return frozenset(graph[i].name for i in alone if graph[i].inputs and not graph[i].shape)


def _fold_series(items: list[Named]) -> list[str]:
    """The names of one series; runs of consecutive blocks are folded."""
    blocks = [numbered(item.scope) for item in items]
    numbers = [block[-1].number or 0 if block else 0 for block in blocks]
    runs = [
        [items[index].name for index, _ in run]
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    ]
    return [name for run in runs for name in ([f"{run[0]}…{run[-1]}"] if len(run) > 2 else run)]


def fold(items: Sequence[Item], shown: Callable[[Item], Hashable]) -> list[tuple[Item | None, int]]:
    """The items to show, in order, each with 0; ``(None, count)`` stands for ``count`` blocks left out.

    Two blocks of items repeat if their items differ only in the numbers of their blocks. These numbers must
    grow or shrink steadily. ``shown`` gives what is shown of an item besides its name; this must be equal.
    """
    kinds = [(item.label, kinds_of(item.scope), shown(item)) for item in items]
    numbers = [[block.number or 0 for block in item.scope] for item in items]
    found: list[tuple[Item | None, int]] = []
    start = 0
    while start < len(items):
        period, repeats = _longest_run(kinds, numbers, start)
        if repeats < LEAST_REPEATS:
            found.append((items[start], 0))
            start += 1
            continue
        end = start + period * repeats
        found += [(item, 0) for item in items[start : start + period]]
        found.append((None, repeats - 2))
        found += [(item, 0) for item in items[end - period : end]]
        start = end
    return found


def kinds_of(scope: Scope) -> tuple[str, ...]:
    """The kinds of the blocks of a scope, without their numbers."""
    return tuple(block.kind for block in scope)


def _longest_run(kinds: Sequence[Hashable], numbers: list[list[int]], start: int) -> tuple[int, int]:
    """The period that covers most items from ``start`` on, and the number of its repetitions."""
    best = (1, 1)
    for period in range(1, _LONGEST_PERIOD + 1):
        repeats = 1
        while _repeats(kinds, numbers, start, period, repeats):
            repeats += 1
        if repeats >= LEAST_REPEATS and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _repeats(
    kinds: Sequence[Hashable], numbers: list[list[int]], start: int, period: int, repeats: int
) -> bool:
    """Whether ``repeats`` blocks of ``period`` items are followed by one more block like them."""
    first = start + period * repeats
    if first + period > len(kinds):
        return False
    for index in range(first, first + period):
        if kinds[index] != kinds[index - period]:
            return False
        steps = _steps(numbers, index, period)
        if not any(steps) or any(abs(step) > 1 for step in steps):
            return False
        if repeats > 1 and steps != _steps(numbers, index - period, period):
            return False
    return True


def _steps(numbers: list[list[int]], index: int, period: int) -> list[int]:
    return [now - before for now, before in zip(numbers[index], numbers[index - period], strict=True)]
