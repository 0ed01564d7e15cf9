"""Sections of an answer for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.report.section import Section

Part = RenderableType
"""A part of what a terminal shows."""


def sections_screen(sections: Iterable[Section]) -> Iterator[RenderableType]:
    """Each section."""
    return map(section_screen, sections)


def section_screen(section: Section) -> RenderableType:
    """A section: its title in bold, its table, its sentences."""
    parts: list[RenderableType] = []
    if section.title:
        parts.append(Text(section.title, style="bold"))
    if section.heads:
        parts.append(_table(section))
    if section.sentences:
        parts.append(Text("\n".join(section.sentences)))
    return Group(*parts)


def _table(section: Section) -> Table:
    """The table of a section. A line that begins with "all" is set apart: it is the sum of those above."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for index, head in enumerate(section.heads):
        table.add_column(head, justify="left" if index in section.words else "right")
    for line in section.lines:
        if line[0] == "all":
            table.add_section()
        table.add_row(*map(Text, line))
    return table
