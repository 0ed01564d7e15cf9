"""Repeated layers folded: of lines that differ in layer numbers only, the first and the last remain."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")

_NUMBER = re.compile(r"(?<=[A-Za-z])\d+")
_LONGEST_PERIOD = 6
"""Lines of one layer that may repeat."""
LEAST_REPEATS = 4
"""Fewer repetitions are shown in full."""


def fold(items: Sequence[Item], text: Callable[[Item], str]) -> list[tuple[Item | None, int]]:
    """The items to show, in order, each with 0; ``(None, count)`` stands for ``count`` layers left out.

    The lines of a layer repeat when they are the same but for numbers that grow or shrink steadily.
    """
    texts = [text(item) for item in items]
    skeletons = [_NUMBER.sub("#", line) for line in texts]
    numbers = [[int(number) for number in _NUMBER.findall(line)] for line in texts]
    shown: list[tuple[Item | None, int]] = []
    place = 0
    while place < len(items):
        period, repeats = _longest_run(skeletons, numbers, place)
        if repeats < LEAST_REPEATS:
            shown.append((items[place], 0))
            place += 1
            continue
        end = place + period * repeats
        shown += [(item, 0) for item in items[place : place + period]]
        shown.append((None, repeats - 2))
        shown += [(item, 0) for item in items[end - period : end]]
        place = end
    return shown


def _longest_run(skeletons: list[str], numbers: list[list[int]], start: int) -> tuple[int, int]:
    """The period from ``start`` on that covers most lines, and how often it repeats."""
    best = (1, 1)
    for period in range(1, _LONGEST_PERIOD + 1):
        repeats = 1
        while _repeats(skeletons, numbers, start, period, repeats):
            repeats += 1
        if repeats >= LEAST_REPEATS and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _repeats(skeletons: list[str], numbers: list[list[int]], start: int, period: int, repeats: int) -> bool:
    """Whether one more block of ``period`` lines follows ``repeats`` of them in the same manner."""
    first = start + period * repeats
    if first + period > len(skeletons):
        return False
    for place in range(first, first + period):
        if skeletons[place] != skeletons[place - period]:
            return False
        steps = _steps(numbers, place, period)
        if not any(steps) or any(abs(step) > 1 for step in steps):
            return False
        if repeats > 1 and steps != _steps(numbers, place - period, period):
            return False
    return True


def _steps(numbers: list[list[int]], place: int, period: int) -> list[int]:
    return [now - before for now, before in zip(numbers[place], numbers[place - period], strict=True)]
