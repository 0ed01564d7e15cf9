"""Options that several commands take, worded once. Those of a cell are made from the table of columns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from memtrain.cells.columns import CELL_COLUMNS, Column, Part
from memtrain.cells.kinds import BYTES, COUNT, NUMBER, TRUTH, WIDTHS

Force = Annotated[bool, typer.Option("--force", help="Overwrite output files that exist.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Memory measurements at a time; time is measured alone.", show_default="a core each, up to 4"
    ),
]
Timeout = Annotated[float | None, typer.Option(help="Seconds after which a measurement is given up.")]
_MEMORY = typer.Option(
    "--memory", help="A memory above the baseline: 256MiB, 1GB, or bytes.", show_default=False
)
Memory = Annotated[str, _MEMORY]
MaybeMemory = Annotated[str | None, _MEMORY]
Meters = Annotated[str, typer.Option(help="Some of ledger, heap, resident, time.")]
Measured = Annotated[
    bool,
    typer.Option("--measure/--no-measure", help="Run what is predicted, too, and compare the two."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Results and errors only: no progress, no warnings.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also the environment, and rows as they finish.")
]
Layers = Annotated[
    str | None, typer.Option(help="Input, hidden… and output size, as 784,512,10, on synthetic data.")
]

_IMPLIED = ("batch", "data", "memory_limit_bytes")
"""Columns that have their defaults only where no other option implies a value, as ``--layers`` does.

All columns of a network are such: a family that lacks one refuses it only where it was given.
"""

_SIZES = dict.fromkeys(("input_size", "output_size"), "that of the data")

_RANGE = {COUNT: "a range", WIDTHS: "a range", BYTES: "or a list", NUMBER: "one or a list"}

Command = Callable[..., None]


def cell_options(
    *,
    several: Collection[str] = (),
    without: Collection[str] = (),
    shown: Mapping[str, str] | None = None,
) -> Callable[[Command], Command]:
    """Give a command the options of a cell: it gets their values as ``columns``, by parameter.

    Columns in ``several`` take ranges or lists, as text; those in ``without`` are no options of the
    command. ``shown`` are defaults that the command chooses itself, as its help shows them.
    """
    columns = [column for column in CELL_COLUMNS if column.name not in without]
    defaults = {**_SIZES, **(shown or {})}
    parameters = [_parameter(column, column.name in several, defaults) for column in columns]
    if "layers" not in without:
        layers = inspect.Parameter("layers", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Layers)
        parameters.insert(3, layers)

    def decorated(command: Command) -> Command:
        return with_parameters(command, "columns", parameters, dict)

    return decorated


def with_parameters(
    command: Command,
    name: str,
    parameters: Sequence[inspect.Parameter],
    made_of: Callable[[dict[str, Any]], Any],
) -> Command:
    """``command`` with more parameters; it gets what is ``made_of`` their values as the one called ``name``.

    They stand where ``name`` stands among the command's own, after those that must be given.
    """
    names = [parameter.name for parameter in parameters]

    @wraps(command)
    def wrapper(**options: Any) -> None:
        given = {parameter: options.pop(parameter) for parameter in names}
        command(**options, **{name: made_of(given)})

    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
    ]
    index = [parameter.name for parameter in own].index(name)
    found = [*own[:index], *parameters, *own[index + 1 :]]
    found.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    wrapper.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {}
    return wrapper


def _parameter(column: Column, several: bool, shown: Mapping[str, str]) -> inspect.Parameter:
    """The parameter of a command that gives a column."""
    of_family = column.part is Part.NETWORK and column.name != "model"
    implied = of_family or column.name in _IMPLIED or column.name in shown
    default: Any = None if implied else column.default
    kind: Any = str | None
    if column.kind is TRUTH:
        flags = f"{column.option}/--no-{column.parameter}"
        usual = flags.split("/")[not column.default].removeprefix("--")
        option, kind = typer.Option(flags, help=f"{column.about}.", show_default=usual), bool | None
    elif several:
        option = typer.Option(help=_help(column, several), show_default=_shown(column, default, shown))
        default = None if default is None else str(default)
    else:
        least = column.least if column.kind in (COUNT, WIDTHS) else None
        words = _help(column, several)
        option = typer.Option(min=least, help=words, show_default=_shown(column, default, shown))
        kind = {COUNT: int, WIDTHS: int, NUMBER: float}.get(column.kind, str) | None
    return inspect.Parameter(
        column.parameter, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _help(column: Column, several: bool) -> str:
    words = column.about
    if column.choices:
        many = len(column.choices) > 1
        words += (
            f"{'; some of' if several and many else '; one of' if many else ':'} {', '.join(column.choices)}"
        )
    elif several:
        words += f": {_RANGE.get(column.kind, 'one or a list')}"
    return f"{words}."


def _shown(column: Column, default: Any, shown: Mapping[str, str]) -> str | bool:
    """The default as the help shows it, where the parameter itself has none."""
    if column.name in shown:
        return shown[column.name]
    return True if default is not None or column.default is None else str(column.default)
