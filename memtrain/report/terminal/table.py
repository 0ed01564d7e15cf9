"""Sections that fit into a terminal of any width: no figure is cut or wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from textwrap import wrap

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.report.section import Section

_GAP = 2
_LEAST_NAME = 12
"""A column of names keeps at least this room when it is wrapped."""
_LEAST_TEXT = 32
"""A column of sentences that has less room goes below the other columns."""

_UNIT = re.compile(r"(?<=[\d)]) (?=(?:%|×|[KMGTPE]i?B|B|[µm]?s|G?FLOPs?)(?![^\s.,;:)]))")
"""The space between a number and its unit."""

FIXED = "\N{NO-BREAK SPACE}"
"""A space at which a line is not broken."""

_MOST_TABLES = 3
"""The most tables into which a wide table is split."""

_TOTAL = "all"
"""The key of a line with the sum of the lines above, from which it is set apart."""

Part = RenderableType
"""A part of what a terminal shows."""

_Columns = Sequence[int]


def screen(sections: Iterable[Section], width: int) -> Iterator[Part]:
    """Each section, fitted."""
    return (fitted(section, width) for section in sections)


def fitted(section: Section, width: int) -> Part:
    """The title, the table and the sentences of a section, in ``width`` characters.

    If the table is too wide, its ``text`` or its ``names`` are wrapped. If it is still too wide, the ``text``
    stands below the other columns; or the table becomes several tables, and each of them repeats the key
    columns. If these would be too many, figures stand below their keys.
    """
    parts: list[Part] = []
    if section.title:
        title = prose([section.title], width)
        title.stylize("bold")
        parts.append(title)
    if section.heads:
        parts += _tables(section, width)
    if section.sentences:
        parts.append(prose(section.sentences, width))
    return Group(*parts)


def prose(sentences: Iterable[str], width: int) -> Text:
    """Sentences, each from a new line on. A number and its unit stay on one line."""
    lines = (wrap(_UNIT.sub(FIXED, text), width, break_on_hyphens=False) for text in sentences)
    return Text("\n".join(line.replace(FIXED, " ") for found in lines for line in found))


def command_lines(command: str, width: int) -> list[str]:
    """A command in lines that a shell reads as one command: each but the last ends with a backslash."""
    first, *options = command.split(" --")
    lines = [f"  {first}"]
    for option in options:
        if len(lines[-1]) + len(f" --{option} \\") <= width:
            lines[-1] += f" --{option}"
        else:
            lines[-1] += " \\"
            lines.append(f"    --{option}")
    return lines


def fits(section: Section, width: int) -> bool:
    """Whether the table of a section fits as it is, with the usual gaps."""
    return _total(_widths(section), range(len(section.heads)), _GAP) <= width


def room_left(section: Section, width: int) -> int:
    """The characters that an additional column can have."""
    return width - _total(_widths(section), range(len(section.heads)), _GAP) - _GAP


def _tables(section: Section, width: int) -> Iterator[Part]:
    section = _with_wrapped_text(_with_wrapped_names(section, width), width)
    widths = _widths(section)
    everything = range(len(widths))
    for gap in (_GAP, 1):
        if _total(widths, everything, gap) <= width:
            yield _table(section, everything, gap)
            return
    if section.text is not None:
        yield Text("\n".join(_with_text_below(section, section.text, width)))
        return
    split = [(groups, gap) for gap in (_GAP, 1) if (groups := _groups(widths, section.keys, width, gap))]
    groups, gap = min(split, key=lambda found: len(found[0]), default=([], 0))
    if not 0 < len(groups) <= _MOST_TABLES:
        yield Text("\n".join(_lines(section, width)))
        return
    for number, columns in enumerate(groups):
        if number:
            yield Text("")
        yield _table(section, columns, gap)


def _with_wrapped_names(section: Section, width: int) -> Section:
    """The section with the texts of its column of names wrapped, if the table is too wide."""
    index, widths = section.names, _widths(section)
    if index is None or _total(widths, range(len(widths)), 1) <= width:
        return section
    longest = max(_longest_part(line[index]) for line in section.lines)
    left = width - (_total(widths, range(len(widths)), 1) - widths[index])
    room = left if left >= max(longest, _LEAST_NAME) else max(longest, width // 3)
    if room >= widths[index] or room > width:
        return section
    lines = [[*line[:index], _wrapped(line[index], room), *line[index + 1 :]] for line in section.lines]
    return replace(section, lines=lines)


def _with_wrapped_text(section: Section, width: int) -> Section:
    """The section with its sentences wrapped, if the table is too wide and they keep enough room."""
    index, widths = section.text, _widths(section)
    if index is None or _total(widths, range(len(widths)), _GAP) <= width:
        return section
    room = width - (_total(widths, range(len(widths)), _GAP) - widths[index])
    if room < _LEAST_TEXT:
        return section
    lines = [
        [*line[:index], "\n".join(_sentences(line[index], room)), *line[index + 1 :]]
        for line in section.lines
    ]
    return replace(section, lines=lines)


def _with_text_below(section: Section, text: int, width: int) -> Iterator[str]:
    """The other columns side by side, without the spare ones that have no room, and the text below them."""
    widths = _widths(section)
    heads = [head.replace("\n", " ") for head in section.heads]
    widths = [max(known, len(head)) for known, head in zip(widths, heads, strict=True)]
    columns = [index for index in range(len(widths)) if index != text]
    for spare in section.spare:
        if _total(widths, columns, _GAP) > width:
            columns.remove(spare)

    def beside(cells: Sequence[str]) -> str:
        aligned = (
            cells[i].ljust(widths[i]) if i in section.words else cells[i].rjust(widths[i]) for i in columns
        )
        return (" " * _GAP).join(aligned).rstrip()

    def below(cell: str) -> Iterator[str]:
        return (f"  {line}" for line in _sentences(cell, width - 2))

    yield from (beside(heads), *below(heads[text]), "─" * min(width, _total(widths, columns, _GAP)))
    for line in section.lines:
        if line[0] == _TOTAL:
            yield ""
        yield from (beside(line), *below(line[text]))


def _sentences(text: str, room: int) -> list[str]:
    """``text`` in lines of at most ``room`` characters; a line that continues another one is indented."""
    return [
        part
        for line in text.splitlines()
        for part in wrap(line, room, subsequent_indent="  ", break_on_hyphens=False)
    ]


def _wrapped(text: str, room: int) -> str:
    """``text`` in lines of at most ``room`` characters, broken between the parts of a list."""
    lines = [""]
    for part in _parts(text):
        longer = f"{lines[-1]} {part}".strip()
        if len(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(part)
    return "\n".join(lines)


def _parts(text: str) -> list[str]:
    """The parts of a list: ``--update eager,`` and ``budget:12MiB``."""
    return text.replace(", ", ",\0").split("\0")


def _longest_part(text: str) -> int:
    return max(map(len, _parts(text)))


def _widths(section: Section) -> list[int]:
    """The characters of the widest line of each column."""
    columns = zip(section.heads, *section.lines, strict=True)
    return [max(len(line) for text in column for line in text.splitlines() or [""]) for column in columns]


def _total(widths: Sequence[int], columns: _Columns, gap: int) -> int:
    """The width of columns side by side."""
    return sum(widths[index] + gap for index in columns) - gap


def _groups(widths: Sequence[int], keys: int, width: int, gap: int) -> list[list[int]]:
    """The columns of each table, key columns first; no table if some column does not fit beside the keys."""
    groups: list[list[int]] = []
    for index in range(keys, len(widths)):
        if groups and _total(widths, [*groups[-1], index], gap) <= width:
            groups[-1].append(index)
        else:
            groups.append([*range(keys), index])
    return groups if all(_total(widths, columns, gap) <= width for columns in groups) else []


def _table(section: Section, columns: _Columns, gap: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap - 1, 0, 0), pad_edge=False)
    for index in columns:
        table.add_column(
            section.heads[index], justify="left" if index in section.words else "right", no_wrap=True
        )
    for number, line in enumerate(section.lines):
        if line[0] == _TOTAL:
            table.add_section()
        cells = [Text(line[index]) for index in columns]
        table.add_row(*cells, style="red" if number in section.failed else None)
    return table


def _lines(section: Section, width: int) -> Iterator[str]:
    """The keys of each line of the table, and below them its figures."""
    heads = [head.replace("\n", " ").strip() for head in section.heads]
    for line in section.lines:
        texts = [" ".join(text.split()) for text in line]
        entries = [f"{head} {text}" for head, text in zip(heads, texts, strict=True)]
        yield from wrap(", ".join(entries[: section.keys]), width, subsequent_indent="  ")
        figures = [entry.replace(" ", FIXED) for entry, text in zip(entries, texts, strict=True) if text]
        below = "  " + "; ".join(figures[section.keys :])
        for part in wrap(below, width, subsequent_indent="  ", break_on_hyphens=False):
            yield part.replace(FIXED, " ")
