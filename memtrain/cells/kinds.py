"""The kinds of values in columns, and their text in a CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of values in a column."""

    words: str
    """The name of the kind in a message: "a whole number"."""
    read: Callable[[str], Any]
    """Reads a value from its text. Raises ``ValueError``."""
    types: tuple[type, ...]
    """The Python types of values of this kind in JSON. A missing value is null."""

    def check(self, value: object) -> None:
        """Raise ``TypeError`` if a value from JSON has another kind."""
        truth = isinstance(value, bool) and bool not in self.types
        if value is not None and (truth or not isinstance(value, self.types)):
            raise TypeError(f"{value!r} is not {self.words}")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not isfinite(seconds) or seconds < 0:
        raise ValueError
    return seconds


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _widths(text: str) -> int | tuple[int, ...]:
    widths = tuple(map(_whole, text.split("-")))
    return widths if len(widths) > 1 else widths[0]


TEXT = Kind("a text", str, (str,))
COUNT = Kind("a whole number", _whole, (int,))
BYTES = Kind("a number of bytes", _whole, (int,))
NUMBER = Kind("a number", float, (int, float))  # the loss of a diverged training may be nan
SECONDS = Kind("a finite number of seconds", _seconds, (int, float))
TRUTH = Kind("true or false", _truth, (bool,))
WIDTHS = Kind("a whole number, or several joined by -", _widths, (int, list, tuple))


def written(value: Any) -> Any:
    """``value`` as CSV and JSON write it. Several widths are joined by -."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def as_text(value: object) -> object:
    """``value`` as a CSV writes it: missing is empty, and a truth value is ``true`` or ``false``."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def csv_line(values: Iterable[object]) -> str:
    """A line of a CSV with these values, each written as by `as_text`."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(as_text, values))
    return line.getvalue()
