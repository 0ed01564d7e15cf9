"""The batches and depths that fit into a memory, as plain tables."""

from __future__ import annotations

from memtrain.answers.capacity import MOST_DEPTH, Boundary, Capacity
from memtrain.cells.cell import Mode
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
"""The columns of the CSV, which has a row per depth and mode."""

MORE = "*"
"""Marks a batch that is larger than the training examples."""

_HEADS = (
    "depth",
    "mode",
    "batch\nfits",
    "predicted\nB",
    "batch\nmust fail",
    "predicted\nB",
    "\nran?",
    "failed\nat",
)


def capacity_csv(capacity: Capacity) -> str:
    """A row per depth and mode: the largest batch that fits, and the smallest that must fail."""
    lines = [[getattr(boundary, name) for name in COLUMNS] for boundary in capacity.boundaries]
    return "".join(map(csv_line, [COLUMNS, *lines]))


def capacity_sections(capacity: Capacity) -> list[Section]:
    """The batches of each depth, the depths of each batch, and the meaning of marks and slack."""
    memory = format_bytes(capacity.budget_bytes)
    return [
        boundaries_section(capacity, f"For each depth: the largest batch that fits into {memory}"),
        depths_section(capacity),
        *([Section(sentences=notes)] if (notes := note_sentences(capacity)) else []),
    ]


def boundaries_section(capacity: Capacity, title: str) -> Section:
    """A line per depth and mode. The columns about runs are there only if something ran."""
    lines = [
        [
            str(boundary.depth),
            str(boundary.mode),
            marked(count_text(boundary.batch), boundary.batch, capacity),
            count_text(boundary.predicted_peak_bytes),
            marked(count_text(boundary.outside_batch), boundary.outside_batch, capacity),
            count_text(boundary.outside_predicted_peak_bytes),
            _confirmed(boundary.confirmed_inside),
            _failed_at(boundary),
        ]
        for boundary in capacity.boundaries
    ]
    ran = any(line[6] or line[7] for line in lines)
    width = len(_HEADS) if ran else len(_HEADS) - 2
    failed = frozenset(number for number, boundary in enumerate(capacity.boundaries) if not boundary.ok)
    return Section(
        f"{title}, and the smallest that must fail",
        _HEADS[:width],
        [line[:width] for line in lines],
        words=frozenset({1, 6, 7}),
        keys=2,
        failed=failed,
    )


def depths_section(capacity: Capacity) -> Section:
    """A line per batch: the largest depth that fits to train, and to predict."""
    found = {(entry.batch, entry.mode): entry.depth for entry in capacity.depths}
    lines = [
        [marked(f"{batch:,}", batch, capacity), *(depth_text(found[batch, mode]) for mode in Mode)]
        for batch in dict.fromkeys(entry.batch for entry in capacity.depths)
    ]
    return Section("For each batch: the largest depth that fits", ("batch", *Mode), lines)


def note_sentences(capacity: Capacity) -> list[str]:
    """The meaning of the mark, if any batch has it, and the memory that runs took beyond their arrays."""
    sentences, examples = [], capacity.training_examples
    batches = [batch for found in capacity.boundaries for batch in (found.batch, found.outside_batch)]
    batches += [found.batch for found in capacity.depths]
    if examples is not None and any(batch is not None and batch > examples for batch in batches):
        sentences.append(
            f"{MORE} marks a batch of more than the {examples:,} training examples of {capacity.cell.data}. "
            "Such a batch has some examples more than once."
        )
    needed = [b.slack_needed_bytes for b in capacity.boundaries if b.slack_needed_bytes is not None]
    if needed:
        given = max(b.limit_bytes - b.budget_bytes for b in capacity.boundaries)
        sentences.append(
            f"Allocator and interpreter took up to {format_bytes(max(needed))} beyond the arrays, and the "
            f"limit allows up to {format_bytes(given)} for them. So a batch that is slightly larger than the "
            "largest that fits may still run."
        )
    return sentences


def marked(text: str, batch: int | None, capacity: Capacity) -> str:
    """The text of a batch, with the mark if the batch is larger than the training examples."""
    examples = capacity.training_examples
    if examples is None:
        return text
    return text + (MORE if batch is not None and batch > examples else " ")


def depth_text(depth: int | None) -> str:
    """The largest depth that fits, as text; ≥ means that the search ended there, and deeper ones may fit."""
    return f"≥{depth:,}" if depth == MOST_DEPTH else count_text(depth)


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
        for what, why in boundary.problems():
            by_reason.setdefault(why, []).append(what)
    return [
        f"{whats[0]}{f' (and {len(whats) - 1} more)' if len(whats) > 1 else ''}: {why}"
        for why, whats in by_reason.items()
    ]
