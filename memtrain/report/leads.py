"""The sentences at the beginning of a page of tables, which give the answer."""

from __future__ import annotations

from memtrain.answers.capacity import Boundary, Capacity
from memtrain.answers.comparison import Comparison
from memtrain.cells.cell import Mode
from memtrain.units import format_bytes


def capacity_lead(capacity: Capacity) -> list[str]:
    """The largest second values of the least and the largest first, and whether runs confirm them."""
    found, (name, second) = capacity.largest_seconds(), capacity.axes
    firsts = sorted({first for first, _ in found})
    sentences = []
    for first in dict.fromkeys((firsts[0], firsts[-1])) if firsts else ():
        largest = [
            f"{found[first, mode]:,} for {mode.noun}" if found[first, mode] else f"none for {mode.noun}"
            for mode in Mode
            if (first, mode) in found
        ]
        sentences.append(f"At {name} {first}, the largest {second} is {' and '.join(largest)}.")
    memory = f"What fits into {format_bytes(capacity.budget_bytes)} above the baseline:"
    return [" ".join([memory, *sentences]), _confirmation(capacity.boundaries)]


def _confirmation(boundaries: tuple[Boundary, ...]) -> str:
    runs = [run for one in boundaries for run in (one.confirmed_inside, one.confirmed_outside)]
    tried = [run for run in runs if run is not None]
    if not tried:
        return "All these figures are predicted; nothing was run."
    if all(tried):
        return f"All {len(tried)} runs at these limits ended as predicted."
    return f"{tried.count(False)} of {len(tried)} runs at these limits did NOT end as predicted."


def comparison_lead(comparison: Comparison) -> list[str]:
    """For each meter: in how many rows its figure is equal, larger and smaller."""
    sentences = [_difference(comparison, meter) for meter in comparison.meters]
    single = sum(None in (pairing.before, pairing.after) for pairing in comparison.pairings)
    if single:
        sentences.append(f"Rows that only one of the two files has: {single}.")
    return sentences


def _difference(comparison: Comparison, meter: str) -> str:
    both = [pairing for pairing in comparison.pairings if None not in pairing.figures(meter)]
    figures = [(before or 0, after or 0) for before, after in (pairing.figures(meter) for pairing in both)]
    larger = [after / before - 1 for before, after in figures if before and after > before]
    smaller = sum(after < before for before, after in figures)
    equal = sum(after == before for before, after in figures)
    what = "The time" if meter == "time" else f"The {meter} peak"
    if not both:
        return f"No row has {what[0].lower()}{what[1:]} in both files."
    if equal == len(both):
        return f"{what} is equal in all {len(both)} rows that both files have."
    most = f" (by at most {100 * max(larger):.2f} %)" if larger else ""
    more = len(both) - equal - smaller
    return f"{what} is larger in {more} of {len(both)} rows{most}, smaller in {smaller} and equal in {equal}."
