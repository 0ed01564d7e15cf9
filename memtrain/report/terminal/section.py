"""Sections of an answer for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from memtrain.report.section import Section

Part = RenderableType
"""A part of what a terminal shows."""

_GAP = 2
_LEAST_WORDS = 32
"""A column of sentences that has less room goes below the other columns."""


def sections_screen(sections: Iterable[Section]) -> Iterator[RenderableType]:
    """Each section."""
    return map(section_screen, sections)


def section_screen(section: Section) -> RenderableType:
    """A section: its title in bold, its table, its sentences."""
    parts: list[RenderableType] = []
    if section.title:
        parts.append(Text(section.title, style="bold"))
    if section.heads:
        parts.append(SectionTable(section))
    if section.sentences:
        parts.append(Text("\n".join(section.sentences)))
    return Group(*parts)


@dataclass(frozen=True)
class SectionTable:
    """The table of a section in the room that a terminal has.

    Where the widest column of words would have too little room, its texts stand indented below the other
    columns. Where these are still too wide, the spare columns are left out.
    """

    section: Section

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, as rich asks for it."""
        room, widths = options.max_width, self._widths()
        columns = list(range(len(widths)))
        if _total(widths[i] for i in columns) <= room:
            yield self._table(columns)
            return
        words = [i for i in columns if i and i in self.section.words]
        if not words:
            yield self._table(columns)
            return
        long = max(words, key=lambda i: widths[i])
        columns.remove(long)
        left = room - _total(widths[i] for i in columns) - _GAP
        if left >= min(_LEAST_WORDS, widths[long]):
            yield self._table(list(range(len(widths))), (long, left))
            return
        for spare in self.section.spare:
            if _total(widths[i] for i in columns) > room and spare in columns:
                columns.remove(spare)
        yield from self._stacked(columns, long, room)

    def _widths(self) -> list[int]:
        """The characters of the widest line of each column."""
        cells = zip(self.section.heads, *self.section.lines, strict=True)
        return [max(len(line) for cell in column for line in (cell.splitlines() or [""])) for column in cells]

    def _table(self, columns: Sequence[int], wrapped: tuple[int, int] | None = None) -> Table:
        """These columns side by side. ``wrapped`` is a column and the room that its texts are wrapped to."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0), pad_edge=False)
        for index in columns:
            table.add_column(self.section.heads[index], justify=self._side(index))
        for line in self.section.lines:
            if line[0] == "all":  # the sum of the lines above
                table.add_section()
            cells = [
                _wrapped(line[index], wrapped[1]) if wrapped and wrapped[0] == index else line[index]
                for index in columns
            ]
            table.add_row(*map(Text, cells))
        return table

    def _side(self, index: int) -> Literal["left", "right"]:
        return "left" if index in self.section.words else "right"

    def _stacked(self, columns: Sequence[int], long: int, room: int) -> RenderResult:
        """The columns side by side, and the texts of the ``long`` one below them."""
        widths = self._widths()
        heads = [self.section.heads[i].replace("\n", " ") for i in range(len(widths))]
        widths = [max(width, len(head)) for width, head in zip(widths, heads, strict=True)]

        def beside(cells: Sequence[str]) -> str:
            aligned = (
                cells[i].ljust(widths[i]) if i in self.section.words else cells[i].rjust(widths[i])
                for i in columns
            )
            return (" " * _GAP).join(aligned).rstrip()

        def below(cell: str) -> list[str]:
            return [f"  {line}" for line in _wrapped(cell, room - 2).splitlines()]

        rule = "─" * min(room, _total(widths[i] for i in columns))
        lines = [beside(heads), *below(heads[long]), rule]
        for cells in self.section.lines:
            lines += [*([""] if cells[0] == "all" else []), beside(cells), *below(cells[long])]
        yield Text("\n".join(lines))


def _total(widths: Iterable[int]) -> int:
    """The width of columns of these widths side by side."""
    return sum(width + _GAP for width in widths) - _GAP


def _wrapped(text: str, room: int) -> str:
    """``text`` in lines of at most ``room`` characters; a line that continues another one is indented."""
    return "\n".join(
        part
        for line in text.splitlines()
        for part in wrap(line, room, subsequent_indent="  ", break_on_hyphens=False)
    )
