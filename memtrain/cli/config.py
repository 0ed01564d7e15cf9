"""Options from a file: TOML whose keys are the names of the options; the command line wins."""

from __future__ import annotations

from collections.abc import Mapping
from json import dumps
from pathlib import Path
from typing import Any

import typer

NOT_IN_A_FILE = ("config", "print_config", "resume", "help")


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make what the file says the defaults of the command (a callback of an eager option).

    Raises ``InputError`` for a file that cannot be read, and for a key that is no option.
    """
    if path is None or context.resilient_parsing:
        return path
    import tomllib

    from memtrain.errors import InputError, unknown_choice

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--config {path} cannot be read ({error})", "allowed: a TOML file", "check the path and its text"
        ) from error
    names = [name for name in _names(context) if name not in NOT_IN_A_FILE]
    defaults = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in names:
            raise unknown_choice(f"--config {path}: key", key, names)
        if isinstance(value, dict):
            raise InputError(
                f"--config {path}: {key} is a table", "allowed: a value or a list", "write it as key = value"
            )
        defaults[name] = _as_option(value)
    context.default_map = defaults
    return path


def effective_config(context: typer.Context) -> dict[str, Any]:
    """Every option that has a value, wherever it comes from, as a file would give it."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in context.params.items()
        if name not in NOT_IN_A_FILE and value is not None
    }


def config_text(values: Mapping[str, Any]) -> str:
    """TOML."""
    return "".join(f"{name} = {dumps(value, ensure_ascii=False)}\n" for name, value in values.items())


def _names(context: typer.Context) -> list[str]:
    return [parameter.name for parameter in context.command.params if parameter.name]


def _as_option(value: Any) -> Any:
    """As the command line would write it: a list as ``1,2,4``."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, bool) else str(value)
