"""How much fits: the largest size whose predicted peak stays within a budget. Nothing is run.

Live bytes at a step grow linearly with the batch (and, where the peak stays at the same step, with the
depth), so a line through the last two predictions hits the answer in a few steps; a bracket keeps it
honest where the peak moves from one step to another.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_LOOKS = (1, 16, 32)
"""Sizes beyond the least that are looked at first: the slope of the first few is not that of the rest."""

MOST_MISSES = 3
"""After so many guesses that did not halve the bracket it is halved."""


def largest_within(peak_bytes: Callable[[int], int], budget_bytes: int, least: int, most: int) -> int | None:
    """The largest size from ``least`` to ``most`` whose peak is within the budget; ``None`` if none is.

    ``peak_bytes`` must not fall as the size rises.
    """
    inside, outside = least, most + 1
    last_size, last_bytes = least, peak_bytes(least)
    if last_bytes > budget_bytes:
        return None
    looks = [least + beyond for beyond in FIRST_LOOKS]
    per_size, misses = 1, 0
    while outside - inside > 1:
        if looks:
            guess, misses = looks.pop(0), -1
        elif misses < MOST_MISSES:
            guess = last_size + (budget_bytes - last_bytes) // per_size
        else:
            guess, misses = (inside + outside) // 2, 0
        size, width = min(max(guess, inside + 1), outside - 1), outside - inside
        found = peak_bytes(size)
        inside, outside = (size, outside) if found <= budget_bytes else (inside, size)
        misses += 2 * (outside - inside) > width
        if size != last_size:
            per_size = max(1, (found - last_bytes) // (size - last_size))
        last_size, last_bytes = size, found
    return inside
