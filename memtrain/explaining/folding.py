"""Repeated blocks folded: of values that differ in their block's number only, the first and last remain."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from memtrain.graph.node import Scope

LEAST_REPEATS = 4
"""Fewer repetitions are shown in full."""
_LONGEST_PERIOD = 6
"""Lines of one block that may repeat."""


class Named(Protocol):
    """A value, or what is said of it."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def label(self) -> str:
        """What it is called within its block."""

    @property
    def scope(self) -> Scope:
        """The blocks that it belongs to."""


Item = TypeVar("Item", bound=Named)


def in_order(value: Named) -> tuple[str, list[int]]:
    """A key that puts h2 before h10."""
    return value.label, [block.number or 0 for block in value.scope]


def fold_names(items: Iterable[Named]) -> str:
    """``h1…h3, logp`` for h1, h2, h3 and logp: runs of the same value in consecutive blocks are folded."""
    series: dict[Hashable, list[Named]] = {}
    for item in items:
        series.setdefault((item.label, item.scope[:-1], _kinds(item.scope)), []).append(item)
    return ", ".join(_fold_series(found) for found in series.values())


def _fold_series(items: list[Named]) -> str:
    """One series, its runs of consecutive blocks folded."""
    numbers = [item.scope[-1].number or 0 if item.scope else 0 for item in items]
    runs = [
        [items[index].name for index, _ in run]
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(f"{run[0]}…{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def fold(items: Sequence[Item], shown: Callable[[Item], Hashable]) -> list[tuple[Item | None, int]]:
    """The items to show, in order, each with 0; ``(None, count)`` stands for ``count`` blocks left out.

    The items of a block repeat when they are the same but for the numbers of their blocks, which grow or
    shrink steadily, and ``shown`` is the same: what else is shown of an item, without its name.
    """
    kinds = [(item.label, _kinds(item.scope), shown(item)) for item in items]
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


def _kinds(scope: Scope) -> tuple[str, ...]:
    return tuple(block.kind for block in scope)


def _longest_run(kinds: Sequence[Hashable], numbers: list[list[int]], start: int) -> tuple[int, int]:
    """The period from ``start`` on that covers most items, and how often it repeats."""
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
    """Whether one more block of ``period`` items follows ``repeats`` of them in the same manner."""
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
