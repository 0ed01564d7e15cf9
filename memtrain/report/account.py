"""The account of a sweep: the meters compared with the predictions, and the environments of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memtrain.cells.row import Row
from memtrain.report.findings import varying_fields
from memtrain.units import format_bytes, format_difference, format_flops

METERS = ("ledger", "heap", "resident")


@dataclass(frozen=True)
class Reading:
    """The peak of a meter, and its difference from its reference, in bytes and in percent."""

    peak_bytes: int | None
    difference_bytes: int | None
    difference: str


@dataclass(frozen=True)
class Entry:
    """A row. The ledger is compared with the prediction; heap and resident are compared with the ledger."""

    axes: tuple[str, ...]
    """Depth, batch, the other columns that vary, and the mode."""
    status: str
    reason: str
    predicted_bytes: int | None
    readings: tuple[Reading, ...]
    """In the order of `METERS`."""


def axis_names(rows: Sequence[Row]) -> list[str]:
    """The titles of ``Entry.axes``."""
    return ["depth", "batch", *varying_fields(row.cell for row in rows), "mode"]


def account(rows: Sequence[Row]) -> list[Entry]:
    """An entry per row, in their order."""
    names = axis_names(rows)
    entries = []
    for row in rows:
        columns, figures = row.columns(), row.figures
        against = [
            figures["predicted_peak_bytes"],
            figures["ledger_peak_bytes"],
            figures["ledger_peak_bytes"],
        ]
        readings = tuple(
            _reading(columns[f"{meter}_peak_bytes"], base)
            for meter, base in zip(METERS, against, strict=True)
        )
        axes = tuple(str(columns[name]) for name in names)
        entries.append(
            Entry(axes, figures["status"], figures["reason"], figures["predicted_peak_bytes"], readings)
        )
    return entries


def account_reading(rows: Sequence[Row]) -> str:
    """Sentences: in how many rows the ledger equals the prediction, and how far the heap is from it."""
    measured = [row for row in rows if row["ledger_peak_bytes"] is not None]
    if not measured:
        return "Nothing was run: all peaks are predicted."
    exact = sum(row["ledger_peak_bytes"] == row["predicted_peak_bytes"] for row in measured)
    sentence = (
        f"In {exact} of the {len(measured)} rows that ran, the ledger equals the prediction to the byte."
    )
    off = [abs(found) for row in measured if (found := row.difference_bytes("heap")) is not None]
    if off:
        sentence += f" The heap differs from the ledger by at most {format_bytes(max(off))}."
    return sentence


def environments(rows: Iterable[Row]) -> list[dict[str, str]]:
    """The environments of the rows, each once: the name and the text of every entry that is known."""
    found = []
    for row in rows:
        known = row.environment or {
            name: row[name] for name in ("memtrain", "python", "numpy", "blas", "cpu")
        }
        texts = dict(_texts(known))
        if texts and texts not in found:
            found.append(texts)
    return found


def _texts(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if name == "op_bytes_per_s":
            continue  # the rate of each op is too much detail for a page
        if name in ("flops_per_s", "bytes_per_s"):
            of, show = ("products", format_flops) if name == "flops_per_s" else ("memory", format_bytes)
            yield f"speed of {of}", f"{show(value)}/s"
        elif isinstance(value, Mapping):
            yield from _texts(value)
        elif value not in (None, ""):
            yield (
                name.replace("_bytes", "").replace("_", " ") if name.islower() else name,
                format_bytes(value) if name.endswith("_bytes") else str(value),
            )


def _reading(peak: int | None, base: int | None) -> Reading:
    if peak is None or base is None:
        return Reading(peak, None, "")
    return Reading(peak, peak - base, format_difference(peak, base) if peak != base else "0")
