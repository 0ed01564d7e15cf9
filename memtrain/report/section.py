"""An answer as plain data: sections of tables and sentences, which every format writes in its own way."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from memtrain.explaining.folding import Named, fold

Item = TypeVar("Item", bound=Named)


@dataclass(frozen=True)
class Origin:
    """The command, options and environment of an answer, which documents record."""

    command: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The options in force, by name; only `memtrain sweep` gives them."""
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A part of an answer: a title, then a table, then sentences. Each of them may be empty."""

    title: str = ""
    heads: Sequence[str] = ()
    """The titles of the table's columns; one may hold a line break."""
    lines: Sequence[Sequence[str]] = ()
    words: frozenset[int] = frozenset()
    """The columns that hold words and are aligned left; the others hold numbers."""
    sentences: Sequence[str] = ()
    text: int | None = None
    """A column of sentences, which may be wrapped. A narrow terminal shows it below the other columns."""
    spare: Sequence[int] = ()
    """Columns that a narrow terminal leaves out if it shows sentences below, in this order."""
    keys: int = 1
    """The number of columns, from the first on, that name a line. Each part of a wide table repeats them."""
    names: int | None = None
    """A column whose texts are lists, and may be wrapped between the parts of a list."""
    failed: frozenset[int] = frozenset()
    """The numbers of the lines that report a failure."""


def folded_lines(
    items: Sequence[Item],
    shown: Callable[[Item], Hashable],
    line: Callable[[Item], Sequence[str]],
    width: int,
) -> list[Sequence[str]]:
    """A line of ``width`` cells for each item; blocks for which ``shown`` is the same become one line."""
    return [
        (f"⋮ × {count}", *[""] * (width - 1)) if item is None else line(item)
        for item, count in fold(items, shown)
    ]
