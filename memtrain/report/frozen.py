"""Sentences on frozen layers: what freezing them saves, and why it may save nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row, predicted_row
from memtrain.models.network import NOTHING
from memtrain.units import format_bytes


def frozen_sentences(rows: Sequence[Row], name_of: Callable[[Cell], str]) -> list[str]:
    """A sentence for the largest cell of each way to freeze: what is retained with it and without it."""
    largest: dict[str, Row] = {}
    for row in rows:
        frozen = row.cell["freeze"]
        if row.mode is Mode.TRAIN and frozen not in (None, NOTHING) and row["retained_bytes"] is not None:
            before = largest.setdefault(frozen, row)
            if row["retained_bytes"] > before["retained_bytes"]:
                largest[frozen] = row
    return [_sentence(row, name_of) for row in largest.values()]


def _sentence(row: Row, name_of: Callable[[Cell], str]) -> str:
    cell = row.cell
    whole = predicted_row(cell.changed(freeze=NOTHING), Mode.TRAIN)["retained_bytes"]
    kept = row["retained_bytes"]
    saved = whole - kept
    name = name_of(cell.changed(freeze=NOTHING))
    said = f"With {cell['freeze']} frozen, {name} keeps {format_bytes(kept)} for backward"
    lowest = lowest_trained(cell)
    if not saved:
        return (
            f"{said}, as without: backward passes through the frozen layers to reach {lowest}, the lowest "
            "trained layer, so they keep all that its gradient needs."
        )
    return (
        f"{said} instead of {format_bytes(whole)}. Backward ends at {lowest}, the lowest trained layer, so "
        "the layers below it keep nothing. Frozen layers above it keep only what the gradients of their "
        "inputs need."
    )


def lowest_trained(cell: Cell) -> str:
    """The first block with a parameter that is trained; outside of all blocks, the name of the parameter."""
    first = cell.network.build(1).trainable[0]
    return str(first.scope[0]) if first.scope else first.name
