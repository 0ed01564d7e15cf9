"""Every error that memtrain raises on purpose, in one tree.

    MemtrainError
    ├── InputError        what the user gave cannot be used (exit 2)
    │   ├── RangeError    a range or a number of an option
    │   ├── SpecError     a model or cell that cannot exist
    │   │   └── BudgetError   no plan fits into the memory; it says what would
    │   └── DataError     a file that cannot be read as examples and labels, or as results
    │       └── NoRowsError   a readable CSV that is no sweep's, or has no rows
    ├── GraphError        nodes that do not fit together; the message names node and shapes
    ├── MeasureError      a meter could not give a figure that can be trusted
    │   ├── MeterUnavailable   this platform lacks or forbids it: its column stays empty
    │   │   └── NotTried       the machine has not the memory for the run
    │   └── ChildFailed        its process ended without figures: the row's status says how
    └── StoreError        results could not be written (exit 1)

A traceback of anything else is a bug of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class MemtrainError(Exception):
    """The root: caught once, in the command line."""

    exit_code = 1


class InputError(MemtrainError):
    """What is wrong with something that the user gave, and the way out of it."""

    exit_code = 2

    def __init__(self, mistake: str, remedy: str) -> None:
        super().__init__(f"{mistake}; {remedy}")
        self.mistake, self.remedy = mistake, remedy


class RangeError(InputError):
    """A range or a number of an option cannot be used."""


class SpecError(InputError):
    """A model or cell that cannot exist was asked for."""


class BudgetError(SpecError):
    """No plan fits into the budget. The smallest plan needs ``least_bytes``."""

    def __init__(self, mistake: str, remedy: str, least_bytes: int) -> None:
        super().__init__(mistake, remedy)
        self.least_bytes = least_bytes


class DataError(InputError):
    """A file cannot be read as examples and labels, or as the results of a sweep."""


class NoRowsError(DataError):
    """A CSV that can be read, but is not the CSV of a sweep, or has no rows."""


class GraphError(MemtrainError):
    """Nodes do not fit together."""


class MeasureError(MemtrainError):
    """A meter could not give a figure that can be trusted."""


class MeterUnavailable(MeasureError):
    """The platform lacks or forbids the meter."""


class NotTried(MeterUnavailable):
    """The machine has not the memory that the run needs."""


class ChildFailed(MeasureError):
    """A measuring process gave no figures; ``status`` is the row's word for how it ended.

    ``node`` is the value that was being computed when memory ran out, where that is known.
    """

    def __init__(self, status: str, reason: str, node: str = "") -> None:
        super().__init__(reason)
        self.status, self.node = status, node


class StoreError(MemtrainError):
    """Results could not be written."""


def check_integer(name: str, value: object, least: int) -> None:
    """Raise ``SpecError`` unless ``value`` is a whole number, ``least`` or more."""
    if type(value) is not int or value < least:
        raise SpecError(f"{name} {value!r} cannot be used", f"give a whole number ≥ {least}")


def unknown_choice(option: str, given: object, choices: Iterable[str]) -> SpecError:
    """The error for a word that is not one of ``choices``, with the nearest of them if one is near."""
    known = list(choices)
    near = nearest(given, known)
    listed = " or ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
    remedy = f"choose {listed}"
    if near:
        remedy = f"did you mean {near}?" + (f" The choices are {', '.join(known)}." if len(known) > 1 else "")
    return SpecError(f"{option} {shown(given)} is not known", remedy)


def nearest(given: object, choices: Iterable[str]) -> str | None:
    """The choice that a misspelled word means; ``None`` where none is near.

    A word with another number is no misspelling: float16 is not a slip for float64.
    """
    word = str(given).lower()
    word = _SYNONYMS.get(word, word)
    alike = [choice for choice in choices if _numbers(choice) == _numbers(word)]
    return next(iter(get_close_matches(word, alike, n=1)), None)


def shown(value: object, most: int = 40) -> str:
    """``value`` in quotes, as a message shows it: in one line, and cut if it is long."""
    text = str(value)
    return repr(text if len(text) <= most else f"{text[: most - 1]}…")


_SYNONYMS = {
    "swish": "silu",
    **dict.fromkeys(("f32", "fp32", "single", "float"), "float32"),
    **dict.fromkeys(("f64", "fp64", "double"), "float64"),
}
"""Names that others give to some choices, too unlike ours to be found by their letters."""


def _numbers(word: str) -> list[str]:
    """The numbers in a word; those after a colon are the user's own (``budget:32MiB``)."""
    return re.findall(r"\d+", word.partition(":")[0])
