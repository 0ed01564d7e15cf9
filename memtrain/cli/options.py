"""Options that several commands take. The options of a cell are made from the table of columns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from memtrain.cells.columns import BY_NAME, Column, Part
from memtrain.cells.kinds import BYTES, COUNT, NUMBER, TRUTH, WIDTHS
from memtrain.cells.not_here import NOT_HERE
from memtrain.cli.completing import data_set, one_of, some_of
from memtrain.cli.groups import CELL_GROUPS, GENERAL, MEASUREMENT, MEMORY, NETWORK, OUTPUT

BYTE_EXAMPLES = "256MiB, 1GB, or bytes"
METERS = ("ledger", "heap", "resident", "time")
POLICIES = ("none", "sqrt", "revolve:", "budget:")
"""The beginnings of the text of a policy."""

OLD_NAMES = {"--memory": "--memory-limit"}
"""Former names of options, which `memtrain sweep` still takes and no help shows."""

LONGEST_NAME = 26
"""The most characters of an option with its choices; longer choices stand in its description."""

Force = Annotated[
    bool, typer.Option("--force", help="Overwrite output files that exist", rich_help_panel=OUTPUT)
]
Jobs = Annotated[
    int | None,
    typer.Option(
        metavar="<n>",
        help="Memory measurements that run at the same time",
        show_default="one per core, at most 4",
        rich_help_panel=MEASUREMENT,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="<seconds>",
        help="Give up a measurement after this many seconds",
        show_default="never",
        rich_help_panel=MEASUREMENT,
    ),
]


def _memory(show_default: str | bool = False) -> Any:
    return typer.Option(
        "--memory",
        metavar="<bytes>",
        help=f"Memory that a run may take, above the baseline: {BYTE_EXAMPLES}",
        show_default=show_default,
        rich_help_panel=MEMORY,
    )


Memory = Annotated[str, _memory()]
MaybeMemory = Annotated[str | None, _memory("none; required unless --pareto is given")]
Meters = Annotated[
    str,
    typer.Option(
        metavar="<meter,...>",
        help="Meters: ledger, heap, resident, time",
        show_default="all four",
        autocompletion=some_of(METERS),
        rich_help_panel=MEASUREMENT,
    ),
]
Measured = Annotated[
    bool,
    typer.Option(
        "--measure/--no-measure",
        help="Run what is predicted, and compare; minutes for a large network",
        show_default="measure",
        rich_help_panel=MEASUREMENT,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results and errors only", rich_help_panel=GENERAL)
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print the environment, and each row as it finishes",
        rich_help_panel=GENERAL,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="<n,...>",
        help="Sizes of input, hidden layers and output: 784,512,10; implies synthetic data",
        rich_help_panel=NETWORK,
    ),
]

_IMPLIED = ("batch", "data", "memory_limit_bytes")
"""Columns whose default holds only if no other option implies a value, as ``--layers`` does.

The same is true of all columns of a network: a family that lacks a column refuses it only if it was given.
"""

_SIZES = dict.fromkeys(("input_size", "output_size"), "as in the data")

Command = Callable[..., None]


def cell_options(
    *, several: Collection[str] = (), shown: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """A decorator that gives a command the options of a cell. Their values are passed as ``columns``.

    Columns in ``several`` take ranges or lists, as text. ``shown`` are defaults that the command chooses
    itself, as its help shows them. Options that the command defines itself, and options that `NOT_HERE`
    names, are left out.
    """

    def decorated(command: Command) -> Command:
        absent, own = NOT_HERE[command.__name__], inspect.signature(command).parameters
        random = "--input-size" not in absent
        parameters = [
            _layers()
            if name == "layers"
            else _parameter(BY_NAME[name], group, name in several, shown or {}, random)
            for group, names in CELL_GROUPS.items()
            for name in names
            if _option(name) not in absent and _option(name).removeprefix("--") not in own
        ]
        return with_parameters(command, "columns", parameters, dict)

    return decorated


def with_parameters(
    command: Command,
    name: str,
    parameters: Sequence[inspect.Parameter],
    made_of: Callable[[dict[str, Any]], Any],
) -> Command:
    """``command`` with ``parameters`` in place of its parameter ``name``.

    ``made_of`` makes the value of ``name`` from their values. Parameters without a default come first.
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


def _option(name: str) -> str:
    """The option of a column, or ``--layers``."""
    return "--layers" if name == "layers" else BY_NAME[name].option


def _layers() -> inspect.Parameter:
    return inspect.Parameter("layers", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Layers)


def _parameter(
    column: Column, group: str, several: bool, chosen: Mapping[str, str], random: bool
) -> inspect.Parameter:
    """The parameter of a command for a column. ``random`` tells whether the command takes synthetic data."""
    of_family = column.part is Part.NETWORK and column.name != "model"
    implied = of_family or column.name in _IMPLIED or column.name in chosen
    default: Any = None if implied else column.default
    kind: Any = str | None
    names: list[str] = []
    settings: dict[str, Any] = {
        "help": column.about,
        "show_default": _shown_default(column, chosen),
        "rich_help_panel": group,
    }
    if column.kind is TRUTH:
        names, kind = [f"{column.option}/{column.off}"], bool | None
    else:
        settings |= _values(column, several, random)
        if several:
            names = [column.option, *filter(None, [OLD_NAMES.get(column.option)])]
            default = None if default is None else str(default)
        else:
            settings["min"] = column.least if column.kind in (COUNT, WIDTHS) else None
            kind = {COUNT: int, WIDTHS: int, NUMBER: float}.get(column.kind, str) | None
    return inspect.Parameter(
        column.parameter,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(*names, **settings)],
    )


def _values(column: Column, several: bool, random: bool) -> dict[str, Any]:
    """How help and completion show the values of a column: ``<range>``, or the choices."""
    many = ",..." if several else ""
    if column.kind in (COUNT, WIDTHS):
        return {"metavar": "<range>" if several else "<n>"}
    if column.choices:
        choices = f"[{'|'.join(column.choices)}]"
        complete = (some_of if several else one_of)(column.choices)
        if len(f"{column.option} {choices}{many}") <= LONGEST_NAME:
            return {"metavar": f"{choices}{many}", "autocompletion": complete}
        return {
            "metavar": f"<name{many}>",
            "help": f"{column.about}: {choices}",
            "autocompletion": complete,
        }
    word = {NUMBER: "number", BYTES: "bytes"}.get(column.kind, column.name)
    settings: dict[str, Any] = {"metavar": f"<{word}{many}>"}
    if column.name == "policy":
        settings["autocompletion"] = (some_of if several else one_of)(POLICIES)
    elif column.name == "data":
        settings["autocompletion"] = data_set(("digits", "topics", *(["synthetic"] if random else [])))
        settings["help"] = f"{column.about}{'; synthetic is random' if random else ''}"
    return settings


def _shown_default(column: Column, chosen: Mapping[str, str]) -> str | bool:
    """The default as the help shows it."""
    if column.usual and column.name not in chosen:
        return column.usual
    if column.kind is TRUTH:
        return (column.option if column.default else column.off).removeprefix("--")
    default = chosen.get(column.name) or _SIZES.get(column.name) or column.default
    return False if default is None else str(default)
