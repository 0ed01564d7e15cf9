"""The content of a journal, read from its lines.

A killed sweep can leave an incomplete last line. Such a line is ignored, and its row is measured again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.columns import BY_NAME, FIGURE_NAMES
from memtrain.cells.row import Row
from memtrain.errors import InputError, StoreError
from memtrain.files import MOST_RESULTS_BYTES, open_regular
from memtrain.planning.cost import Rates
from memtrain.sweeps.request import Request, read_request

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Stored:
    """The content of a journal."""

    request: Request
    environment: dict[str, Any]
    command: str
    folder: str
    """The current directory in which the sweep was begun."""
    data: dict[str, str]
    """The digests of its data files, by path."""
    rates: Rates | None
    """The rates for its plans; ``None`` if no plan minimises time."""
    rows: dict[str, Row]
    """The last row of each cell and mode, by key."""
    whole_bytes: int
    """The length of all complete lines. An incomplete line may follow."""


def read_journal(path: Path) -> Stored:
    """The content of a journal, which is not changed. Raises ``OSError`` and ``StoreError``."""
    with open_regular(path, MOST_RESULTS_BYTES) as file:
        return _read(path, file.read())


def _read(path: Path, content: bytes) -> Stored:
    header: Stored | None = None
    rows: dict[str, Row] = {}
    whole = 0
    for line in content.splitlines(keepends=True):
        values = _values(line)
        if header is None:
            if values is None or values.get("memtrain_journal") != SCHEMA_VERSION:
                raise StoreError(f"{path} is not a journal of this version of memtrain; begin a new file")
            header = _header(values)
        elif values is not None and (row := _row(values)) is not None:
            rows[row.cell.key(row.mode)] = row
        elif not line.endswith(b"\n"):
            break  # incomplete: the next row will overwrite it
        whole += len(line)
    if header is None:
        raise StoreError(f"{path} is empty: the sweep ended before its first row; start again with --force")
    return replace(header, rows=rows, whole_bytes=whole)


def _rates(values: Any) -> Rates | None:
    """The recorded rates. Raises ``StoreError`` for values that are not rates."""
    try:
        return None if values is None else Rates.of(values)
    except (TypeError, ValueError) as error:
        raise StoreError(f"the rates in the journal cannot be used ({error}); begin a new file") from error


def _header(values: Mapping[str, Any]) -> Stored:
    environment, data = values.get("environment"), values.get("data", {})
    if not isinstance(environment, dict) or not isinstance(data, dict):
        raise StoreError("the journal does not record where the sweep was begun; begin a new file")
    return Stored(
        request=read_request(values.get("request")),
        environment=environment,
        command=str(values.get("command", "")),
        folder=str(values.get("folder", "")),
        data=data,
        rates=_rates(values.get("rates")),
        rows={},
        whole_bytes=0,
    )


def _values(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; ``None`` if the line is incomplete or not an object."""
    if not line.endswith(b"\n"):
        return None
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _row(values: Mapping[str, Any]) -> Row | None:
    """The row of its JSON values; ``None`` for values that are not a row."""
    try:
        return Row(
            cell=cell_of(**values["cell"]),
            mode=Mode(values["mode"]),
            figures=_figures(values["figures"]),
            peak_node=str(values["peak_node"]),
            retained=[_kept(entry) for entry in values["retained"]],
            environment=_environment(values["environment"]),
            notes=[str(note) for note in values["notes"]],
        )
    except (KeyError, TypeError, ValueError, InputError, StoreError):
        return None


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """A retained intermediate from its JSON values. Those of the first edition are only name and bytes."""
    name = str(values["name"])
    scope = [[str(kind), None if number is None else int(number)] for kind, number in values.get("scope", [])]
    return {
        "name": name,
        "bytes": int(values["bytes"]),
        "label": str(values.get("label", name)),
        "scope": scope,
    }


def _environment(values: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of a row. Raises ``ValueError``, ``TypeError`` or ``StoreError`` if it is invalid."""
    known = dict(values)
    _rates(known.get("rates"))
    return known


def _figures(values: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a row. Raises ``TypeError`` for a wrong kind of value, ``KeyError`` for a wrong name."""
    for name, value in values.items():
        if name not in FIGURE_NAMES:
            raise KeyError(name)
        BY_NAME[name].kind.check(value)
    return dict(values)
