"""Functions with which a shell completes the values of options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

Completion = Callable[[str], list[str]]
"""A function from the text that is typed so far to the values that begin with it."""

_DATA_FILES = (".csv", ".npz", ".txt")


def one_of(words: Sequence[str]) -> Completion:
    """A completion with one of ``words``."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def some_of(words: Sequence[str]) -> Completion:
    """A completion of the last item of a list like ``a,b`` with a word that is not yet in the list."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{word}" for word in words if word.startswith(last) and word not in given]

    return complete


def data_set(names: Sequence[str]) -> Completion:
    """A completion with one of ``names``, or with the path of a file that may hold examples."""

    def complete(incomplete: str) -> list[str]:
        return [*one_of(names)(incomplete), *_data_files(incomplete)]

    return complete


def command(context: typer.Context, incomplete: str) -> list[str]:
    """The names of commands that begin with ``incomplete``."""
    root: Any = context.find_root().command
    return one_of(list(root.commands))(incomplete)


def _data_files(incomplete: str) -> list[str]:
    before, slash, start = incomplete.rpartition("/")
    try:
        paths = sorted(Path(f"{before}{slash}" or ".").iterdir())
    except OSError:  # there is no such folder
        return []
    return [
        f"{before}{slash}{path.name}{'/' * path.is_dir()}"
        for path in paths
        if path.name.startswith(start)
        and path.name[0] != "."
        and (path.suffix in _DATA_FILES or path.is_dir())
    ]
