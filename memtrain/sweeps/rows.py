"""The rows that `sweep` returns in Python: a list that a notebook shows as a table."""

from __future__ import annotations

from html import escape
from typing import Any

from memtrain.cells.row import Row
from memtrain.units import format_bytes, format_seconds

_ALWAYS = ("depth", "batch")
_SHOWN = (
    "predicted_peak_bytes",
    "ledger_peak_bytes",
    "heap_peak_bytes",
    "resident_peak_bytes",
    "retained_bytes",
    "step_s",
)


class Rows(list[Row]):
    """Rows in the order of the grid, training before inference. ``pandas.DataFrame(rows)`` accepts them."""

    def __repr__(self) -> str:
        """The rows as text, with a line for each."""
        return "[" + ",\n ".join(map(repr, self)) + "]"

    def to_records(self) -> list[dict[str, Any]]:
        """Each row as a dictionary of its columns."""
        return [row.columns() for row in self]

    def _repr_html_(self) -> str:
        """The table of cells and figures that Jupyter shows."""
        records = self.to_records()
        names = [
            name
            for name in (self[0].cell.columns() if self else _ALWAYS)
            if name in _ALWAYS or len({str(record[name]) for record in records}) > 1
        ]
        names += ["mode", *(name for name in _SHOWN if any(record[name] is not None for record in records))]
        if any(not row.ok for row in self):
            names += ["status", "reason"]
        head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(name, record[name]))}</td>" for name in names) + "</tr>"
            for record in records
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(name: str, value: Any) -> str:
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name.endswith("_s"):
        return format_seconds(value)
    return "" if value is None else str(value)
