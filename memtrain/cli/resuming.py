"""The option ``--resume`` of ``memtrain sweep``: which options may be given with it, and its command."""

from __future__ import annotations

from pathlib import Path

import typer

BESIDE_RESUME = (
    *("resume", "jobs", "timeout", "quiet", "verbose", "force", "ignore_free_memory"),
    *("export_json", "export_markdown", "html", "json"),
)
"""Options that do not change what is measured, so they may be given with ``--resume``."""


def refuse_beside_resume(context: typer.Context) -> None:
    """Raise ``InputError`` for options that the file of the resumed sweep records."""
    from memtrain.errors import InputError

    given = [_option(name) for name in _given(context) if name not in BESIDE_RESUME]
    if given:
        raise InputError(
            "--resume continues a sweep with the options that its file records",
            f"drop {', '.join(given)}, or begin a new sweep without --resume",
        )


def resume_command(context: typer.Context, path: Path) -> str:
    """The command that resumes the sweep in ``path``, with the given options that are in `BESIDE_RESUME`."""
    from memtrain.files import quoted

    words = ["memtrain", "sweep", "--resume", str(path)]
    for name in _given(context):
        if name in BESIDE_RESUME and name != "resume":
            value = context.params[name]
            words += [_option(name)] if value is True else [_option(name), str(value)]
    return " ".join(map(quoted, words))


def _given(context: typer.Context) -> list[str]:
    """The parameters that the command line gives."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
