"""Ticks of an axis of bytes, at round numbers of binary units."""

from __future__ import annotations

from math import ceil, floor, log2, log10

from memtrain.units import binary_unit, format_count

Ticks = tuple[list[int], list[str]]
"""Ticks in bytes, and their labels."""

_MOST = 6


def linear_ticks(most_bytes: int) -> Ticks:
    """Ticks from 0 to the first round number that is at least ``most_bytes``."""
    divisor, unit = binary_unit(most_bytes)
    most = max(most_bytes, 1) / divisor
    power = 10.0 ** floor(log10(most / _MOST))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= most / _MOST)
    step = max(step, 1 / divisor)  # there is no half of a byte
    ticks = [tick * step for tick in range(ceil(most / step) + 1)]
    return [round(tick * divisor) for tick in ticks], [f"{format_count(tick)} {unit}" for tick in ticks]


def log_ticks(least_bytes: int, most_bytes: int) -> Ticks:
    """Powers of two that enclose ``least_bytes`` and ``most_bytes``, with at most about six steps."""
    first = floor(log2(max(least_bytes, 1)))
    last = max(ceil(log2(max(most_bytes, 1))), first + 1)
    apart = max(ceil((last - first) / _MOST), 1)
    ticks = [2**power for power in range(first, last + apart, apart)]
    return ticks, [_text(tick) for tick in ticks]


def _text(count: int) -> str:
    divisor, unit = binary_unit(count)
    return f"{format_count(count / divisor)} {unit}"
