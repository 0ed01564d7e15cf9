"""The largest size whose predicted peak stays within a budget. Nothing is run.

Live bytes at a step grow linearly with the batch, and with the depth as long as the peak stays at the same
step. So a line through the last two predictions finds the answer with a few predictions. The answer is also
bracketed. So it is correct even if the peak moves from one step to another, or grows with the square of the
size, as it does with a width or a sequence.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_LOOKS = (1, 16, 32)
"""These sizes above the least are tried first, because the slope over the smallest sizes differs."""

MOST_MISSES = 3
"""After this number of guesses that did not halve the bracket, its middle is tried."""


def largest_within(peak_bytes: Callable[[int], int], budget_bytes: int, least: int, most: int) -> int | None:
    """The largest size from ``least`` to ``most`` whose peak is within the budget; ``None`` if none is.

    ``peak_bytes`` gives the peak of a size. It must not fall when the size rises.
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
