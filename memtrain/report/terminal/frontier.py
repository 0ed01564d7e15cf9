"""What fits into a memory, for a terminal: the map with the frontier, and the figures behind it."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.measure.cell import Mode
from memtrain.report.terminal.sweep import first_fitting, plain_table
from memtrain.sweeps.frontier import MOST_DEPTH, Boundary, Frontier
from memtrain.units import format_bytes

_SIGNS = {"train": ("█", "#", "green"), "infer": ("▒", "+", "yellow"), "none": ("·", ".", "dim")}
"""What stands for: fits to train, fits only to predict, does not fit."""


def frontier_sections(frontier: Frontier, width: int, ascii_only: bool) -> list[RenderableType]:
    """The map, the figures of each depth, those of each batch, and a sentence on the slack."""
    sections: list[RenderableType] = [
        _map(frontier, ascii_only),
        _legend(ascii_only),
        first_fitting([_boundaries(frontier, exact=True), _boundaries(frontier, exact=False)], width),
        first_fitting([_depths(frontier), _depths_downwards(frontier)], width),
    ]
    needed = [b.slack_needed_bytes for b in frontier.boundaries if b.slack_needed_bytes is not None]
    if needed:
        given = max(b.limit_bytes - b.budget_bytes for b in frontier.boundaries)
        sections.append(
            f"Allocator and interpreter took up to {format_bytes(max(needed))} beyond the arrays; the limit "
            f"allows them up to {format_bytes(given)}."
        )
    return sections


def _map(frontier: Frontier, ascii_only: bool) -> Table:
    """A line per depth, a column per batch."""
    largest = frontier.largest_batches()
    batches = list(dict.fromkeys(found.batch for found in frontier.depths))
    table = plain_table(f"What fits into {format_bytes(frontier.budget_bytes)}: depth × batch")
    table.add_column("depth", justify="right")
    for batch in batches:
        table.add_column(_short(batch), justify="center")
    for depth in dict.fromkeys(boundary.depth for boundary in frontier.boundaries):
        table.add_row(
            str(depth),
            *(
                _sign(batch, largest[depth, Mode.TRAIN], largest[depth, Mode.INFER], ascii_only)
                for batch in batches
            ),
        )
    return table


def _sign(batch: int, trains: int, predicts: int, ascii_only: bool) -> Text:
    fits = "train" if batch <= trains else "infer" if batch <= predicts else "none"
    block, letter, style = _SIGNS[fits]
    return Text((letter if ascii_only else block) * 3, style=style)


def _legend(ascii_only: bool) -> Text:
    signs = [_SIGNS[fits][ascii_only] for fits in ("train", "infer", "none")]
    return Text(f"{signs[0]} fits to train   {signs[1]} fits only to predict   {signs[2]} does not fit")


def _boundaries(frontier: Frontier, exact: bool) -> Table:
    """A line per depth and mode; peaks to the byte where there is room."""
    table = plain_table("For each depth the largest batch inside, and the first beyond the slack, too")
    unit = "predicted\nB" if exact else "\npredicted"
    shown = _count if exact else format_bytes
    for title in ("depth", "mode", "batch\ninside", unit, "batch\noutside", unit):
        table.add_column(title, justify="left" if title == "mode" else "right", no_wrap=True)
    for title in ("inside\nran", "outside\nfailed"):
        table.add_column(title, no_wrap=True)
    for boundary in frontier.boundaries:
        table.add_row(
            str(boundary.depth),
            str(boundary.mode),
            _count(boundary.batch),
            shown(boundary.predicted_peak_bytes),
            _count(boundary.outside_batch),
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


def _depths(frontier: Frontier) -> Table:
    """Under the columns of the map."""
    found = {(entry.batch, entry.mode): entry.depth for entry in frontier.depths}
    batches = list(dict.fromkeys(entry.batch for entry in frontier.depths))
    table = plain_table("For each batch the largest depth")
    table.add_column("batch")
    for batch in batches:
        table.add_column(_short(batch), justify="right", no_wrap=True)
    for mode in Mode:
        table.add_row(str(mode), *(_depth(found[batch, mode]) for batch in batches))
    return table


def _depths_downwards(frontier: Frontier) -> Table:
    """The same with a line per batch, for narrow terminals."""
    found = {(entry.batch, entry.mode): entry.depth for entry in frontier.depths}
    table = plain_table("For each batch the largest depth")
    for title in ("batch", *Mode):
        table.add_column(title, justify="right", no_wrap=True)
    for batch in dict.fromkeys(entry.batch for entry in frontier.depths):
        table.add_row(f"{batch:,}", *(_depth(found[batch, mode]) for mode in Mode))
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
