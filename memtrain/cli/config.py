"""Options from a file: TOML whose keys are the names of the options; the command line wins."""

from __future__ import annotations

from collections.abc import Mapping
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memtrain.cells.columns import BY_NAME, Part
from memtrain.cells.kinds import COUNT, WIDTHS

if TYPE_CHECKING:
    from memtrain.errors import InputError

FILES = ("export_csv", "export_json", "export_markdown", "html")
"""Options that name a file."""

MOST_BYTES = 1024**2
"""A file of options is not larger."""

_VALUES = "a number, a text in quotes, or a list of them"

NOT_IN_A_FILE = ("config", "print_config", "resume", "help")


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make what the file says the defaults of the command (a callback of an eager option).

    Raises ``InputError`` for a file that cannot be read, and for a key that is no option.
    """
    if path is None or context.resilient_parsing:
        return path
    import tomllib

    from memtrain.errors import InputError
    from memtrain.files import open_regular, reason

    try:
        with open_regular(path, MOST_BYTES) as file:
            values = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"--config {path} is not valid TOML ({reason(error)})", "write lines such as depth = [1, 4]"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"--config {path} cannot be read ({reason(error)})", "name a TOML file") from error
    options = {p.name: p for p in context.command.params if p.name and p.name not in NOT_IN_A_FILE}
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in options:
            raise _unknown_key(path, key, [*options], str(context.info_name))
        if name in defaults:
            raise InputError(f"--config {path} gives {name} twice", "remove one of the two")
        flag = bool(getattr(options[name], "is_flag", False))
        if not _fits(value, flag, name in FILES):
            wanted = "true or false" if flag else "a path in quotes" if name in FILES else _VALUES
            given = f"{key} = {repr(value)[:40]}"
            raise InputError(f"--config {path}: {given} cannot be used", f"give {wanted}")
        defaults[name] = value if isinstance(value, bool) else _as_option(value)
    context.default_map = defaults
    return path


def _unknown_key(path: Path, key: str, options: list[str], command: str) -> InputError:
    """The error for a key that is not an option of the command, or not one for a file."""
    from memtrain.errors import InputError, nearest, shown

    near = nearest(key.replace("-", "_"), options)
    remedy = f"did you mean {near}?" if near else f"see `memtrain {command} --help` for the options"
    if key.replace("-", "_") in NOT_IN_A_FILE:
        remedy = "give it on the command line"
    return InputError(f"--config {path} has the key {shown(key)}, which is not known there", remedy)


def effective_config(context: typer.Context) -> dict[str, Any]:
    """Every option that has a value, wherever it comes from, as a file would give it.

    What a network has where nothing is given is said, too, but for its sizes, which other options imply, and
    for what some family that is asked for lacks.
    """
    from memtrain.models.families import FAMILIES, columns_of

    families = [name for name in str(context.params.get("model")).split(",") if name in FAMILIES]
    had = set.intersection(*map(set, map(columns_of, families))) | {"model"} if families else {"model"}
    values = {
        name: _usual(name) if value is None and name in had else value
        for name, value in context.params.items()
    }
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if name not in NOT_IN_A_FILE and value is not None
    }


def _usual(name: str) -> Any:
    """The default of a column of the network; ``None`` for other options, and for sizes."""
    column = BY_NAME.get(name)
    if column is None or column.part is not Part.NETWORK or column.kind in (COUNT, WIDTHS):
        return None
    return column.default if isinstance(column.default, bool) else str(column.default)


def config_text(values: Mapping[str, Any]) -> str:
    """TOML."""
    return "".join(f"{name} = {dumps(value, ensure_ascii=False)}\n" for name, value in values.items())


def _fits(value: Any, flag: bool, file: bool) -> bool:
    """Whether a value of TOML is one that the option can mean."""
    if flag or isinstance(value, bool):
        return flag and isinstance(value, bool)
    if file:
        return isinstance(value, str)
    values = value if isinstance(value, list) else [value]
    return all(isinstance(one, (str, int, float)) and not isinstance(one, bool) for one in values)


def _as_option(value: Any) -> str:
    """As the command line would write it: a list as ``1,2,4``."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
