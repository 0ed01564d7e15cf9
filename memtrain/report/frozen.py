"""Sentences on frozen layers: what freezing them saves, and why it may save nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row, planned_row
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
    thawed = cell.changed(freeze=NOTHING)
    said = (
        f"With {cell['freeze']} frozen, {name_of(thawed)} keeps {format_bytes(row['retained_bytes'])} "
        "for backward"
    )
    whole = planned_row(thawed, Mode.TRAIN)["retained_bytes"]
    if whole is None:  # its policy has no plan
        return f"{said}."
    trained = [node.name for node in cell.network.build(1).trainable]
    all_trained = thawed.network.build(1).trainable
    first = next(node for node in all_trained if node.name == trained[0])
    lowest = str(first.scope[0]) if first.scope else first.name
    above = any(node.name not in trained for node in all_trained[all_trained.index(first) :])
    if row["retained_bytes"] == whole and not above:
        return f"{said}, as without: the gradients of the trained layers need all of it."
    if row["retained_bytes"] == whole:
        return (
            f"{said}, as without: backward passes through the frozen layers to reach {lowest}, the lowest "
            "trained layer, so they keep all that its gradient needs."
        )
    reasons = [f"Backward ends at {lowest}, the lowest trained layer."]
    if all_trained[0] is not first:
        reasons.append("Layers below it keep nothing.")
    if above:
        reasons.append("Frozen layers above it keep only what the gradients of their inputs need.")
    return " ".join([f"{said} instead of {format_bytes(whole)}.", *reasons])
