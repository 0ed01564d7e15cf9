"""Where exports go: to files, or, for ``-``, to stdout instead of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import typer

STDOUT = Path("-")

Exports = Mapping[str, tuple[Path | None, Callable[[], str]]]
"""By option: where to, and what makes the text."""


def check_exports(
    outputs: Mapping[str, Path | None], force: bool, inputs: Iterable[str | Path | None] = ()
) -> None:
    """Raise, before anything runs, for outputs (by option) that cannot all be written (`check_outputs`)."""
    from memtrain.errors import InputError
    from memtrain.sweeps.files import check_outputs

    to_stdout = [option for option, path in outputs.items() if path == STDOUT]
    if len(to_stdout) > 1:
        raise InputError(
            f"{' and '.join(to_stdout)} to stdout", "allowed: one of them", "name a file for the other"
        )
    files = {option: None if path == STDOUT else path for option, path in outputs.items()}
    check_outputs(files, force, inputs)


def export(exports: Exports, force: bool, show: Callable[[], None] = lambda: None) -> bool:
    """Show the results, then write every file that is asked for; whether an export replaced the tables.

    ``show`` prints the tables; it is not called where an export goes to stdout. Whatever happens, also when
    the reader of stdout has gone, every file that can be written is written; then what went wrong is raised.
    """
    to_stdout = [make for path, make in exports.values() if path == STDOUT]
    try:
        for make in to_stdout:
            typer.echo(make().removesuffix("\n"))
        if not to_stdout:
            show()
    finally:
        files = {path: make for path, make in exports.values() if path is not None and path != STDOUT}
        _write(files, force)
    return bool(to_stdout)


def _write(files: Mapping[Path, Callable[[], str]], force: bool) -> None:
    """Write all files that can be written, then raise what went wrong with the others."""
    from memtrain.errors import MemtrainError, StoreError
    from memtrain.sweeps.files import write_new

    failures: list[MemtrainError] = []
    for path, make in files.items():
        try:
            write_new(path, make(), force)
        except MemtrainError as error:
            failures.append(error)
    if len(failures) > 1:
        raise StoreError("; ".join(map(str, failures)))
    if failures:
        raise failures[0]
