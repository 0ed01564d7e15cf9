"""What fits into a memory, for a terminal: the map with the frontier, and the figures behind it."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.answers.capacity import MOST_DEPTH, Boundary, Capacity
from memtrain.cells.cell import Mode
from memtrain.report.terminal.sweep import first_within, plain_table
from memtrain.units import format_bytes

_SIGNS = {"train": ("█", "#", "green"), "infer": ("▒", "+", "yellow"), "none": ("·", ".", "dim")}
"""What stands for: fits to train, fits only to predict, does not fit."""

_DEPTHS = "For each batch: the largest depth that fits"

_MORE = "*"
"""Marks a batch that is larger than the training examples."""


def capacity_screen(capacity: Capacity, width: int, ascii_only: bool) -> list[RenderableType]:
    """The map, the figures of each depth and of each batch, and what is to be said of marks and slack."""
    sections: list[RenderableType] = [
        _map(capacity, ascii_only),
        _legend(ascii_only),
        first_within([_boundaries(capacity, exact=True), _boundaries(capacity, exact=False)], width),
        first_within([_depths(capacity), _depths_downwards(capacity)], width),
    ]
    examples = capacity.training_examples
    if examples is not None and any(batch > examples for batch in _batches(capacity)):
        sections.append(
            f"{_MORE} more than the {examples:,} training examples of {capacity.cell.data}. Such a batch "
            "fits into the memory; to fill it, training draws examples again."
        )
    needed = [b.slack_needed_bytes for b in capacity.boundaries if b.slack_needed_bytes is not None]
    if needed:
        given = max(b.limit_bytes - b.budget_bytes for b in capacity.boundaries)
        sections.append(
            f"The allocator and the interpreter took up to {format_bytes(max(needed))} beyond the arrays; "
            f"the limit allows them up to {format_bytes(given)}."
        )
    return sections


def _batches(capacity: Capacity) -> list[int]:
    """Every batch that the tables name."""
    of_depths = [batch for found in capacity.boundaries for batch in (found.batch, found.outside_batch)]
    of_depths += [found.batch for found in capacity.depths]
    return [batch for batch in of_depths if batch is not None]


def _marked(text: str, batch: int | None, capacity: Capacity) -> str:
    """The text of a batch, with the mark where the batch is larger than the training examples."""
    examples = capacity.training_examples
    if examples is None:
        return text
    return text + (_MORE if batch is not None and batch > examples else " ")


def _map(capacity: Capacity, ascii_only: bool) -> Table:
    """A line per depth, a column per batch."""
    largest = capacity.largest_batches()
    batches = list(dict.fromkeys(found.batch for found in capacity.depths))
    table = plain_table(f"What fits into {format_bytes(capacity.budget_bytes)}: depth × batch")
    table.add_column("depth", justify="right")
    for batch in batches:
        table.add_column(_marked(_short(batch), batch, capacity), justify="center")
    for depth in dict.fromkeys(boundary.depth for boundary in capacity.boundaries):
        table.add_row(
            str(depth),
            *(
                _sign(batch, largest[depth, Mode.TRAIN], largest[depth, Mode.INFER], ascii_only)
                for batch in batches
            ),
        )
    return table


def _sign(batch: int, trains: int, predicts: int, ascii_only: bool) -> Text:
    outcome = "train" if batch <= trains else "infer" if batch <= predicts else "none"
    block, letter, style = _SIGNS[outcome]
    return Text((letter if ascii_only else block) * 3, style=style)


def _legend(ascii_only: bool) -> Text:
    signs = [_SIGNS[outcome][ascii_only] for outcome in ("train", "infer", "none")]
    return Text(f"{signs[0]} fits to train   {signs[1]} fits only to predict   {signs[2]} does not fit")


def _boundaries(capacity: Capacity, exact: bool) -> Table:
    """A line per depth and mode; peaks to the byte where there is room."""
    table = plain_table("For each depth: the largest batch that fits, and the smallest that must fail")
    unit = "predicted\nB" if exact else "\npredicted"
    shown = _count if exact else format_bytes
    for title in ("depth", "mode", "batch\nfits", unit, "batch\nmust fail", unit):
        table.add_column(title, justify="left" if title == "mode" else "right", no_wrap=True)
    for title in ("ran?", "failed\nat"):
        table.add_column(title, no_wrap=True)
    for boundary in capacity.boundaries:
        table.add_row(
            str(boundary.depth),
            str(boundary.mode),
            _marked(_count(boundary.batch), boundary.batch, capacity),
            shown(boundary.predicted_peak_bytes),
            _marked(_count(boundary.outside_batch), boundary.outside_batch, capacity),
            shown(boundary.outside_predicted_peak_bytes),
            _confirmed(boundary.confirmed_inside),
            _failed_at(boundary),
            style=None if boundary.ok else "red",
        )
    return table


def _failed_at(boundary: Boundary) -> str:
    """Whether the batch outside failed, and at which value."""
    return (boundary.confirmed_outside and boundary.outside_node) or _confirmed(boundary.confirmed_outside)


def _confirmed(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "NO"


def _depths(capacity: Capacity) -> Table:
    """Under the columns of the map."""
    found = {(entry.batch, entry.mode): entry.depth for entry in capacity.depths}
    batches = list(dict.fromkeys(entry.batch for entry in capacity.depths))
    table = plain_table(_DEPTHS)
    table.add_column("batch")
    for batch in batches:
        table.add_column(_marked(_short(batch), batch, capacity), justify="right", no_wrap=True)
    for mode in Mode:
        table.add_row(str(mode), *(_depth(found[batch, mode]) for batch in batches))
    return table


def _depths_downwards(capacity: Capacity) -> Table:
    """The same with a line per batch, for narrow terminals."""
    found = {(entry.batch, entry.mode): entry.depth for entry in capacity.depths}
    table = plain_table(_DEPTHS)
    for title in ("batch", *Mode):
        table.add_column(title, justify="right", no_wrap=True)
    for batch in dict.fromkeys(entry.batch for entry in capacity.depths):
        table.add_row(_marked(f"{batch:,}", batch, capacity), *(_depth(found[batch, mode]) for mode in Mode))
    return table


def _depth(value: int | None) -> str:
    return f"≥{value:,}" if value == MOST_DEPTH else _count(value)


def _count(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"


def _short(count: int) -> str:
    """A power of two in few characters: 64Ki."""
    for power, letter in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if count >= 1024**power and count % 1024**power == 0:
            return f"{count // 1024**power}{letter}"
    return str(count)
