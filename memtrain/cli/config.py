"""Options from a file: TOML whose keys are the names of the options; the command line wins."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import wraps
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cells.columns import BY_NAME, Part
from memtrain.cells.kinds import COUNT, WIDTHS
from memtrain.cli.groups import GENERAL
from memtrain.cli.options import Command

if TYPE_CHECKING:
    from memtrain.errors import InputError

FILES = ("export_csv", "export_json", "export_markdown", "html", "save", "svg", "dot", "output", "static")
"""Options that name a file."""

MOST_BYTES = 1024**2
"""The largest file of options that is read."""

_VALUES = "a number, a text in quotes, or a list of them"

NOT_IN_A_FILE = ("config", "print_config", "resume", "help")


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values in a file the defaults of the command; this is the callback of an eager option.

    Raises ``InputError`` for a file that cannot be read, a key that is no option, or a value of a wrong type.
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
    options = _options(context)
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        option = options.get(key.replace("-", "_"))
        if option is None:
            known = list(dict.fromkeys(str(one.name) for one in options.values()))
            raise _unknown_key(path, key, known, str(context.info_name))
        name = str(option.name)
        if name in defaults:
            raise InputError(f"--config {path} gives {name} twice", "remove one of the two")
        flag = bool(getattr(option, "is_flag", False))
        if not _fits(value, flag, name in FILES):
            wanted = "true or false" if flag else "a path in quotes" if name in FILES else _VALUES
            given = f"{key} = {repr(value)[:40]}"
            raise InputError(f"--config {path}: {given} cannot be used", f"give {wanted}")
        defaults[name] = value if isinstance(value, bool) else _as_option(value)
    context.default_map = defaults
    return path


def _unknown_key(path: Path, key: str, options: list[str], command: str) -> InputError:
    """The error for a key that no option of the command has, or that a file cannot give."""
    from memtrain.errors import InputError, nearest, shown

    near = nearest(key.replace("-", "_"), options)
    remedy = f"did you mean {near}?" if near else f"see `memtrain {command} --help` for the options"
    if key.replace("-", "_") in NOT_IN_A_FILE:
        remedy = "give it on the command line"
    return InputError(f"--config {path} has the key {shown(key)}, which is not known", remedy)


_CONFIG = typer.Option(
    metavar="<file>",
    help="Read options from a TOML file; the command line wins",
    callback=use_config,
    is_eager=True,
    rich_help_panel=GENERAL,
)
_PRINT_CONFIG = typer.Option(
    "--print-config", help="Print the options in force as TOML; run nothing", rich_help_panel=GENERAL
)
_OPTIONS = {
    "config": (None, Annotated[Path | None, _CONFIG]),
    "print_config": (False, Annotated[bool, _PRINT_CONFIG]),
}
"""By parameter: its default and its annotation."""


def config_options(command: Command) -> Command:
    """``command``, which exports an answer, with the options ``--config`` and ``--print-config``."""

    @wraps(command)
    def wrapper(context: typer.Context, **options: Any) -> None:
        config, printed = options.pop("config"), options.pop("print_config")
        if printed:
            typer.echo(config_text(effective_config(context)), nl=False)
            return
        options["exports"] = replace(options["exports"], config=config)
        command(**options, **({"context": context} if takes_context else {}))

    own = inspect.signature(command, eval_str=True).parameters
    takes_context = "context" in own
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (default, annotation) in _OPTIONS.items()
    ]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    kept = [parameter for name, parameter in own.items() if name != "context"]
    index = next((i for i, parameter in enumerate(kept) if parameter.name == "quiet"), len(kept))
    kept[index:index] = parameters
    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [context, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept)]
    )
    wrapper.__annotations__ = {}
    return wrapper


def effective_config(context: typer.Context) -> dict[str, Any]:
    """The value of each option that has one, whether given or a default, as a file would give it.

    Sizes of the network that are not given are left out, because other options may imply them. An option that
    some of the given families lack is left out, too.
    """
    from memtrain.models.families import FAMILIES, columns_of

    families = [name for name in str(context.params.get("model")).split(",") if name in FAMILIES]
    had = set.intersection(*map(set, map(columns_of, families))) | {"model"} if families else {"model"}
    options = {str(one.name) for one in _options(context).values()}
    values = {
        name: _usual(name) if value is None and name in had else value
        for name, value in context.params.items()
        if name in options
    }
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if value is not None
    }


def _options(context: typer.Context) -> dict[str, Any]:
    """The options that a file may give, by their names and former names."""
    return {
        name.removeprefix("--").replace("-", "_"): one
        for one in context.command.params
        for name in one.opts
        if one.param_type_name == "option" and name.startswith("--") and one.name not in NOT_IN_A_FILE
    }


def _usual(name: str) -> Any:
    """The default of a column of the network; ``None`` for other options, and for sizes."""
    column = BY_NAME.get(name)
    if column is None or column.part is not Part.NETWORK or column.kind in (COUNT, WIDTHS):
        return None
    return column.default if isinstance(column.default, bool) else str(column.default)


def config_text(values: Mapping[str, Any]) -> str:
    """The options as TOML text."""
    return "".join(f"{name} = {dumps(value, ensure_ascii=False)}\n" for name, value in values.items())


def _fits(value: Any, flag: bool, file: bool) -> bool:
    """Whether an option can have ``value``, which was read from TOML."""
    if flag or isinstance(value, bool):
        return flag and isinstance(value, bool)
    if file:
        return isinstance(value, str)
    values = value if isinstance(value, list) else [value]
    return all(isinstance(one, (str, int, float)) and not isinstance(one, bool) for one in values)


def _as_option(value: Any) -> str:
    """A value as text, as on the command line: a list becomes ``1,2,4``."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
