"""A capacity for a terminal: a map of its two axes, and the figures behind the map."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.answers.capacity import Capacity
from memtrain.cells.cell import BOTH
from memtrain.report.capacity import boundaries_section, first_text, firsts_section, marked, note_sentences
from memtrain.report.section import Section
from memtrain.report.terminal.table import fits, fitted, prose
from memtrain.units import format_bytes

_SIGNS = {"train": ("█", "#", "green"), "infer": ("▒", "+", "yellow"), "none": ("·", ".", "dim")}
"""The signs of cells that fit to train, fit only to predict, or do not fit."""

_SIGN_COUNT = 3
"""The number of signs for one cell of the map."""


def capacity_screen(capacity: Capacity, width: int, ascii_only: bool) -> list[RenderableType]:
    """The map, the figures of each first and of each second value, and the notes."""
    across = _firsts_across(capacity)
    return [
        _map(capacity, width, ascii_only),
        prose([_legend(capacity, ascii_only)], width),
        fitted(boundaries_section(capacity), width),
        fitted(across if fits(across, width) else firsts_section(capacity), width),
        *(prose([note], width) for note in note_sentences(capacity)),
    ]


def _map(capacity: Capacity, width: int, ascii_only: bool) -> RenderableType:
    """A line per first value, a column per second. Columns that the width has no room for stand below."""
    name = capacity.axes[0]
    firsts = list(dict.fromkeys(boundary.first for boundary in capacity.boundaries))
    memory = format_bytes(capacity.budget_bytes)
    title = prose([f"What fits into {memory}: {' × '.join(capacity.axes)}"], width)
    title.stylize("italic")
    parts: list[RenderableType] = [title]
    for heads in _heads_within(capacity, width - max(len(name), *(len(str(first)) for first in firsts))):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column(name, justify="right", no_wrap=True)
        for head in heads.values():
            table.add_column(head, justify="center", no_wrap=True)
        for first in firsts:
            table.add_row(
                str(first), *(_sign(capacity.outcome(first, second), ascii_only) for second in heads)
            )
        parts += [table] if len(parts) == 1 else [Text(""), table]
    return Group(*parts)


def _heads_within(capacity: Capacity, width: int) -> list[dict[int, str]]:
    """The heads of the map by second value, in groups that fit beside the first values."""
    groups: list[dict[int, str]] = []
    left = 0
    for second in dict.fromkeys(found.second for found in capacity.largest_firsts):
        head = marked(_short(second), second, capacity)
        needed = 2 + max(len(head), _SIGN_COUNT)
        if needed > left:
            groups.append({})
            left = width
        groups[-1][second] = head
        left -= needed
    return groups


def _sign(outcome: str | None, ascii_only: bool) -> Text:
    """The sign of a cell; empty for ``None``, which means that there is no such network."""
    if outcome is None:
        return Text("")
    block, letter, style = _SIGNS[outcome]
    return Text((letter if ascii_only else block) * _SIGN_COUNT, style=style)


def _legend(capacity: Capacity, ascii_only: bool) -> str:
    signs = [_SIGNS[outcome][ascii_only] for outcome in ("train", "infer", "none")]
    legend = f"{signs[0]} fits to train, {signs[1]} fits only to predict, {signs[2]} does not fit"
    seconds = {found.second for found in capacity.largest_firsts}
    outcomes = [capacity.outcome(found.first, second) for found in capacity.boundaries for second in seconds]
    return legend if None not in outcomes else f"{legend}; where nothing stands, there is no such network"


def _firsts_across(capacity: Capacity) -> Section:
    """The largest first values with a column per second value, as in the map."""
    seconds = list(dict.fromkeys(entry.second for entry in capacity.largest_firsts))
    found = {(entry.second, entry.mode): entry for entry in capacity.largest_firsts}
    return Section(
        firsts_section(capacity).title,
        (capacity.axes[1], *(marked(_short(second), second, capacity) for second in seconds)),
        [[str(mode), *(first_text(found[second, mode]) for second in seconds)] for mode in BOTH],
        words=frozenset({0}),
    )


def _short(count: int) -> str:
    """A number in few characters: ``64Ki`` for 65,536."""
    for power, letter in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if count >= 1024**power and count % 1024**power == 0:
            return f"{count // 1024**power}{letter}"
    return str(count)
