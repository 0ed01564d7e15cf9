"""The batches and depths that fit into a memory, or the values of other axes, as plain tables."""

from __future__ import annotations

from typing import Any

from memtrain.answers.capacity import Boundary, Capacity, LargestFirst
from memtrain.answers.sizes import is_uneven
from memtrain.cells.cell import BOTH
from memtrain.cells.kinds import csv_line
from memtrain.report.json_text import fields_of
from memtrain.report.section import Section
from memtrain.units import format_bytes

FIELDS = (
    "first",
    "second",
    "mode",
    "predicted_peak_bytes",
    "budget_bytes",
    "limit_bytes",
    "outside",
    "outside_predicted_peak_bytes",
    "confirmed_inside",
    "confirmed_outside",
    "training_examples",
)
"""The fields of a boundary that the CSV has. `names_of` names three of them after the axes."""

MORE = "*"
"""Marks a batch that is larger than the training examples."""


def names_of(capacity: Capacity) -> dict[str, str]:
    """The names of fields in CSV and JSON where the axes give them: ``outside_batch`` for ``outside``."""
    first, second = capacity.axes
    return {"first": first, "second": second, "outside": f"outside_{second}"}


def capacity_csv(capacity: Capacity) -> str:
    """A row per first value and mode: the largest second that fits, and the smallest that must fail."""
    names = names_of(capacity)
    lines = [[getattr(boundary, name) for name in FIELDS] for boundary in capacity.boundaries]
    return "".join(map(csv_line, [[names.get(name, name) for name in FIELDS], *lines]))


def plural(axis: str) -> str:
    """The plural of the name of an axis."""
    return f"{axis[:-1]}ies" if axis.endswith("y") else f"{axis}s"


def capacity_records(capacity: Capacity) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The boundaries and the largest first values, each as a dictionary with the names of the axes."""
    names = names_of(capacity)
    rows, firsts = (
        [{names.get(name, name): value for name, value in fields_of(one).items()} for one in found]
        for found in (capacity.boundaries, capacity.largest_firsts)
    )
    for record in firsts:
        del record["more"]
    return rows, firsts


def capacity_sections(capacity: Capacity) -> list[Section]:
    """The largest second values, the largest first values, and the meaning of marks and slack."""
    return [
        boundaries_section(capacity, f" into {format_bytes(capacity.budget_bytes)}"),
        firsts_section(capacity),
        *([Section(sentences=notes)] if (notes := note_sentences(capacity)) else []),
    ]


def boundaries_section(capacity: Capacity, into: str = "") -> Section:
    """A line per first value and mode. The columns about runs are there only if something ran.

    ``into`` names the memory in the title.
    """
    first, second = capacity.axes
    title = f"For each {first}: the largest {second} that fits{into}, and the smallest that must fail"
    heads: tuple[str, ...] = (
        first,
        "mode",
        f"{second}\nfits",
        "predicted\nB",
        f"{second}\nmust fail",
        "predicted\nB",
    )
    lines = [
        [
            str(boundary.first),
            str(boundary.mode),
            marked(second_text(boundary), boundary.second, capacity),
            count_text(boundary.predicted_peak_bytes),
            marked(count_text(boundary.outside), boundary.outside, capacity),
            count_text(boundary.outside_predicted_peak_bytes),
            _confirmed(boundary.confirmed_inside),
            _failed_at(boundary),
        ]
        for boundary in capacity.boundaries
    ]
    ran = any(line[6] or line[7] for line in lines)
    heads = (*heads, "\nran?", "failed\nat") if ran else heads
    failed = frozenset(number for number, boundary in enumerate(capacity.boundaries) if not boundary.ok)
    return Section(
        title,
        heads,
        [line[: len(heads)] for line in lines],
        words=frozenset({1, 6, 7}),
        keys=2,
        failed=failed,
    )


def firsts_section(capacity: Capacity) -> Section:
    """A line per second value: the largest first that fits to train, and to predict."""
    first, second = capacity.axes
    found = {(entry.second, entry.mode): entry for entry in capacity.largest_firsts}
    lines = [
        [marked(f"{value:,}", value, capacity), *(first_text(found[value, mode]) for mode in BOTH)]
        for value in dict.fromkeys(entry.second for entry in capacity.largest_firsts)
    ]
    return Section(f"For each {second}: the largest {first} that fits", (second, *BOTH), lines)


def note_sentences(capacity: Capacity) -> list[str]:
    """The meaning of the mark, the sizes below the largest that may not fit, and the slack that runs took."""
    sentences = [
        f"A convolution can need less memory for a larger {axis}, because it chooses its workspace by its "
        f"sizes. So some {plural(axis)} below the largest may not fit."
        for axis in capacity.axes
        if is_uneven(capacity.cell, axis)
    ]
    examples = capacity.training_examples
    batches = [batch for found in capacity.boundaries for batch in (found.second, found.outside)]
    batches += [found.second for found in capacity.largest_firsts]
    if examples is not None and any(batch is not None and batch > examples for batch in batches):
        sentences.append(
            f"{MORE} marks a batch of more than the {examples:,} training examples of {capacity.cell.data}. "
            "Such a batch has some examples more than once."
        )
    needed = [b.slack_needed_bytes for b in capacity.boundaries if b.slack_needed_bytes is not None]
    if needed:
        given = max(b.limit_bytes - b.budget_bytes for b in capacity.boundaries)
        second = capacity.axes[1]
        article = "an" if second == "image" else "a"
        sentences.append(
            f"Allocator and interpreter took up to {format_bytes(max(needed))} beyond the arrays, and the "
            f"limit allows up to {format_bytes(given)} for them. So {article} {second} that is "
            "slightly larger than the largest that fits may still run."
        )
    return sentences


def marked(text: str, batch: int | None, capacity: Capacity) -> str:
    """The text of a batch, with the mark if the batch is larger than the training examples."""
    examples = capacity.training_examples
    if examples is None:
        return text
    return text + (MORE if batch is not None and batch > examples else " ")


def first_text(found: LargestFirst) -> str:
    """The largest first value that fits; ≥ means that the search ended there, and larger ones may fit."""
    return f"{'≥' if found.more else ''}{count_text(found.first)}"


def second_text(found: Boundary) -> str:
    """The largest second value that fits, with ≥ if the search ended there."""
    return f"{'≥' if found.outside is None else ''}{count_text(found.second)}"


def count_text(value: int | None) -> str:
    """A number as text, or ``none``."""
    return "none" if value is None else f"{value:,}"


def _failed_at(boundary: Boundary) -> str:
    """The value at which the outside batch failed; if it is not known, whether the batch failed."""
    return (boundary.confirmed_outside and boundary.outside_node) or _confirmed(boundary.confirmed_outside)


def _confirmed(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "NO"


def problem_lines(capacity: Capacity) -> list[str]:
    """A line for each reason why a boundary is not confirmed."""
    by_reason: dict[str, list[str]] = {}
    for boundary in capacity.boundaries:
        for what, why in boundary.problems(capacity.axes):
            by_reason.setdefault(why, []).append(what)
    return [
        f"{whats[0]}{f' (and {len(whats) - 1} more)' if len(whats) > 1 else ''}: {why}"
        for why, whats in by_reason.items()
    ]
