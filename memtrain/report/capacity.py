"""What fits into a memory, as plain data."""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.answers.capacity import Capacity
from memtrain.cells.kinds import csv_line
from memtrain.report.section import Section
from memtrain.units import format_bytes

COLUMNS = (
    "depth",
    "batch",
    "mode",
    "predicted_peak_bytes",
    "budget_bytes",
    "limit_bytes",
    "outside_batch",
    "outside_predicted_peak_bytes",
    "confirmed_inside",
    "confirmed_outside",
    "training_examples",
)
"""What is told of a depth in a mode."""

DEPTH_COLUMNS = ("batch", "mode", "depth", "predicted_peak_bytes")
"""What is told of a batch in a mode."""


def capacity_csv(capacity: Capacity) -> str:
    """A row per depth and mode: the largest batch that fits, and the smallest that must fail."""
    lines = [[getattr(boundary, name) for name in COLUMNS] for boundary in capacity.boundaries]
    return "".join(map(csv_line, [COLUMNS, *lines]))


def capacity_sections(capacity: Capacity) -> list[Section]:
    """The same rows, then the largest depth for each batch and mode."""
    memory = format_bytes(capacity.budget_bytes)
    return [
        _section(f"For each depth: the largest batch that fits into {memory}", COLUMNS, capacity.boundaries),
        _section("For each batch: the largest depth that fits", DEPTH_COLUMNS, capacity.depths),
    ]


def _section(title: str, names: Sequence[str], found: Sequence[object]) -> Section:
    """A table of what was found; columns without any value are left out."""
    names = [name for name in names if any(getattr(one, name) is not None for one in found)]
    heads = [name.replace("_bytes", " B").replace("_", " ") for name in names]
    lines = [[_text(getattr(one, name)) for name in names] for one in found]
    return Section(title, heads, lines)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def problem_lines(capacity: Capacity) -> list[str]:
    """What is not confirmed and why, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for boundary in capacity.boundaries:
        for what, why in boundary.problems():
            by_reason.setdefault(why, []).append(what)
    return [
        f"{whats[0]}{f' (and {len(whats) - 1} more)' if len(whats) > 1 else ''}: {why}"
        for why, whats in by_reason.items()
    ]
