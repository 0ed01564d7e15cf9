"""What a shell is offered when it completes the value of an option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

Completion = Callable[[str], list[str]]
"""A function of what is typed so far; it gives the values that begin so."""

_DATA_FILES = (".csv", ".npz")


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


def data_set(names: Sequence[str]) -> Completion:
    """Completes one of ``names``, or the path of a file that may hold examples."""

    def complete(incomplete: str) -> list[str]:
        return [*one_of(names)(incomplete), *_data_files(incomplete)]

    return complete


def command(context: typer.Context, incomplete: str) -> list[str]:
    """Completes the name of a command."""
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
