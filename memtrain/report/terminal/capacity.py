"""A capacity for a terminal: a map of depth × batch, and the figures behind the map."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.answers.capacity import Capacity
from memtrain.cells.cell import Mode
from memtrain.report.capacity import boundaries_section, depth_text, depths_section, marked, note_sentences
from memtrain.report.section import Section
from memtrain.report.terminal.table import fits, fitted, prose
from memtrain.units import format_bytes

_SIGNS = {"train": ("█", "#", "green"), "infer": ("▒", "+", "yellow"), "none": ("·", ".", "dim")}
"""The signs of cells that fit to train, fit only to predict, or do not fit."""

_SIGN_COUNT = 3
"""The number of signs for one cell of the map."""


def capacity_screen(capacity: Capacity, width: int, ascii_only: bool) -> list[RenderableType]:
    """The map, the figures of each depth and of each batch, and the notes."""
    across = _depths_across(capacity)
    return [
        _map(capacity, width, ascii_only),
        prose([_legend(ascii_only)], width),
        fitted(boundaries_section(capacity, "For each depth: the largest batch that fits"), width),
        fitted(across if fits(across, width) else depths_section(capacity), width),
        *(prose([note], width) for note in note_sentences(capacity)),
    ]


def _map(capacity: Capacity, width: int, ascii_only: bool) -> RenderableType:
    """A line per depth, a column per batch. Batches for which the width is too small stand in maps below."""
    largest = capacity.largest_batches()
    depths = list(dict.fromkeys(boundary.depth for boundary in capacity.boundaries))
    title = prose([f"What fits into {format_bytes(capacity.budget_bytes)}: depth × batch"], width)
    title.stylize("italic")
    parts: list[RenderableType] = [title]
    for heads in _heads_within(capacity, width - max(len("depth"), *(len(str(depth)) for depth in depths))):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("depth", justify="right", no_wrap=True)
        for head in heads.values():
            table.add_column(head, justify="center", no_wrap=True)
        for depth in depths:
            limits = (largest[depth, Mode.TRAIN], largest[depth, Mode.INFER])
            table.add_row(str(depth), *(_sign(batch, *limits, ascii_only) for batch in heads))
        parts += [table] if len(parts) == 1 else [Text(""), table]
    return Group(*parts)


def _heads_within(capacity: Capacity, width: int) -> list[dict[int, str]]:
    """The heads of the map by batch, in groups that fit beside the depths."""
    groups: list[dict[int, str]] = []
    left = 0
    for batch in dict.fromkeys(found.batch for found in capacity.depths):
        head = marked(_short(batch), batch, capacity)
        needed = 2 + max(len(head), _SIGN_COUNT)
        if needed > left:
            groups.append({})
            left = width
        groups[-1][batch] = head
        left -= needed
    return groups


def _sign(batch: int, trains: int, predicts: int, ascii_only: bool) -> Text:
    outcome = "train" if batch <= trains else "infer" if batch <= predicts else "none"
    block, letter, style = _SIGNS[outcome]
    return Text((letter if ascii_only else block) * _SIGN_COUNT, style=style)


def _legend(ascii_only: bool) -> str:
    signs = [_SIGNS[outcome][ascii_only] for outcome in ("train", "infer", "none")]
    return f"{signs[0]} fits to train, {signs[1]} fits only to predict, {signs[2]} does not fit"


def _depths_across(capacity: Capacity) -> Section:
    """The largest depths with a column per batch, as in the map."""
    section = depths_section(capacity)
    batches = list(dict.fromkeys(entry.batch for entry in capacity.depths))
    found = {(entry.batch, entry.mode): entry.depth for entry in capacity.depths}
    return Section(
        section.title,
        ("batch", *(marked(_short(batch), batch, capacity) for batch in batches)),
        [[str(mode), *(depth_text(found[batch, mode]) for batch in batches)] for mode in Mode],
        words=frozenset({0}),
    )


def _short(count: int) -> str:
    """A number in few characters: ``64Ki`` for 65,536."""
    for power, letter in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if count >= 1024**power and count % 1024**power == 0:
            return f"{count // 1024**power}{letter}"
    return str(count)
