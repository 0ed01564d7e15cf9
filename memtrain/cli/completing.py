"""What a shell is offered when it completes the value of an option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

Completion = Callable[[str], list[str]]
"""A function of what is typed so far; it gives the values that begin so."""

DATA_SETS, DATA_FILES = ("digits", "synthetic"), (".csv", ".npz")


def one_of(words: Sequence[str]) -> Completion:
    """Completes one of ``words``."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def some_of(words: Sequence[str]) -> Completion:
    """Completes the last item of a list, which is separated by commas, with a word that is not yet in it."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{word}" for word in words if word.startswith(last) and word not in given]

    return complete


def data_sets(incomplete: str) -> list[str]:
    """Completes the name of a data set, or the path of a file with examples."""
    before, slash, start = incomplete.rpartition("/")
    try:
        found = sorted(Path(f"{before}{slash}" or ".").iterdir())
    except OSError:  # there is no such folder
        found = []
    paths = [path for path in found if path.name.startswith(start) and _may_hold_examples(path)]
    names = [f"{before}{slash}{path.name}{'/' * path.is_dir()}" for path in paths]
    return [*one_of(DATA_SETS)(incomplete), *names]


def _may_hold_examples(path: Path) -> bool:
    return not path.name.startswith(".") and (path.suffix in DATA_FILES or path.is_dir())
