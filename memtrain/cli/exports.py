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
    """Raise ``InputError``, before anything runs, for outputs (by option) that cannot all be written."""
    from memtrain.errors import InputError
    from memtrain.sweeps.files import check_outputs

    to_stdout = [option for option, path in outputs.items() if path == STDOUT]
    if len(to_stdout) > 1:
        raise InputError(
            f"{' and '.join(to_stdout)} to stdout", "allowed: one of them", "name a file for the other"
        )
    files = {option: None if path == STDOUT else path for option, path in outputs.items()}
    check_outputs(files, force, inputs)


def export(exports: Exports, force: bool) -> bool:
    """Write what is asked for; whether something went to stdout."""
    from memtrain.sweeps.files import write_new

    shown = False
    for path, make in exports.values():
        if path == STDOUT:
            typer.echo(make().removesuffix("\n"))
            shown = True
        elif path is not None:
            write_new(path, make(), force)
    return shown
