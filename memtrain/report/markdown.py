"""Sections as markdown: tables that paste into an issue and read well, and sentences as lists."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from memtrain.report.section import Section


def markdown(sections: Iterable[Section], command: str) -> str:
    """The command as code, then each section: its title, its table and its sentences as a list."""
    return f"{markdown_code(command)}\n" + "".join(map(_section, sections))


def _section(section: Section) -> str:
    parts = [f"## {_escaped(section.title)}\n"] if section.title else []
    if section.heads:
        parts.append(markdown_table(section.heads, section.lines, section.words))
    if section.sentences:
        parts.append(markdown_list(section.sentences))
    return "".join(f"\n{part}" for part in parts)


def markdown_table(titles: Sequence[str], lines: Iterable[Sequence[str]], words: Collection[int] = ()) -> str:
    """A table, padded so that it reads well as text, too; columns of ``words`` are aligned left."""
    cells = [
        [_escaped(title) for title in titles],
        *(["<br>".join(map(_escaped, text.splitlines())) for text in line] for line in lines),
    ]
    widths = [max(3, *(len(line[index]) for line in cells)) for index in range(len(titles))]
    rule = ["-" * width if i in words else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    padded = (
        " | ".join(
            text.ljust(width) if i in words else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (cells[0], rule, *cells[1:])
    )
    return "".join(f"| {line} |\n" for line in padded)


def markdown_list(sentences: Iterable[str]) -> str:
    """A point for each sentence."""
    return "".join(f"- {_escaped(sentence)}\n" for sentence in sentences)


def markdown_code(text: str) -> str:
    """``text`` as code, whatever backticks it holds: the fence has one more than its longest run of them."""
    text = re.sub(r"[\r\n]+", " ", text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])|^=")
"""Characters with a meaning in markdown. An underscore within a word, or an ``=`` further on, has none."""


def _escaped(text: str) -> str:
    """``text`` in one line, so that markdown shows each of its characters."""
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", " ".join(text.split()))
