"""The comparison of two sets of results, before and after: the figures that grew beyond noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import CELL_NAMES, SPREADS
from memtrain.cells.row import Row, tolerance
from memtrain.errors import SpecError, unknown_choice
from memtrain.units import format_bytes, format_seconds

MEASURED = {
    "ledger": "ledger_peak_bytes",
    "heap": "heap_peak_bytes",
    "resident": "resident_peak_bytes",
    "time": "step_s",
}
"""The meters that are compared, with their columns."""

EXACT = ("ledger", "heap")
"""Meters that give the same bytes every time. Any difference comes from the code."""

LEAST_REPEATS = 5
"""The least repetitions for a judgement on a time. Fewer do not show its spread."""


@dataclass(frozen=True)
class Pairing:
    """The rows of one cell and mode in both sets; ``None`` if a set has no such row."""

    cell: Cell
    mode: Mode
    before: Row | None
    after: Row | None

    def figures(self, meter: str) -> tuple[float | None, float | None]:
        """The figures of a meter before and after; ``None`` for a missing figure."""
        column = MEASURED[meter]
        before, after = (None if row is None else row[column] for row in (self.before, self.after))
        return before, after

    def ratio(self, meter: str) -> float | None:
        """After ÷ before; ``None`` if a figure is missing, or the first is 0."""
        before, after = self.figures(meter)
        return after / before if before and after is not None else None

    @property
    def repeated(self) -> bool:
        """Whether both rows have enough repetitions to show the spread of times."""
        rows = (self.before, self.after)
        return all(row is not None and (row["repeat_count"] or 0) >= LEAST_REPEATS for row in rows)


@dataclass(frozen=True)
class Comparison:
    """Rows joined by cell and mode, in the order of the first set. Rows only in the second set come last."""

    pairings: tuple[Pairing, ...]
    meters: tuple[str, ...]
    """The requested meters of which the first set has figures."""
    absent: tuple[str, ...]
    """The other requested meters."""

    @cached_property
    def time_spread(self) -> float:
        """The sum of the largest spreads of times in the first and in the second set, as shares of the time.

        Other programs can slow down one cell and not the next, so the largest spread is used for all cells.
        """
        found = 0.0
        for side in ("before", "after"):
            rows = [getattr(pairing, side) for pairing in self.pairings if pairing.repeated]
            found += max(
                ((row["step_spread_s"] or 0) / row["step_s"] for row in rows if row["step_s"]), default=0
            )
        return found

    def noise(self, pairing: Pairing, meter: str) -> float | None:
        """The bytes or seconds by which a figure may rise without a change of the code; ``None`` if unknown.

        It is 0 for the exact meters. Resident may rise by its tolerance, or by the sum of both spreads if
        this is more: beyond the sum, every repetition after is above every repetition before. A time may rise
        by `time_spread`. This is unknown unless the cell was repeated often enough in both sets.
        """
        if meter in EXACT:
            return 0
        before = pairing.figures(meter)[0] or 0
        if meter == "time":
            return self.time_spread * before if pairing.repeated else None
        rows = [row for row in (pairing.before, pairing.after) if row is not None]
        arrays = max((row["peak_array_count"] or 0 for row in rows), default=0)
        promised = tolerance(meter, pairing.cell.engine).bytes(before, arrays)
        return max(promised, sum(row[SPREADS[MEASURED[meter]]] or 0 for row in rows))

    def grown(self, pairing: Pairing, meter: str, allowed: Fraction) -> bool:
        """Whether a figure grew by more than ``allowed`` (a share of the first figure), and beyond noise."""
        before, after = pairing.figures(meter)
        noise = self.noise(pairing, meter)
        if before is None or after is None or noise is None:
            return False
        return Fraction(after) > Fraction(before) * (1 + allowed) and after - before > noise

    def regressions(self, allowed: Fraction) -> list[tuple[Pairing, str]]:
        """The rows that are worse in the second set, each with a reason.

        A figure grew by more than ``allowed`` and beyond noise or is missing, or the row failed or is
        missing. Rows that failed in the first set are left out.
        """
        found = []
        for pairing in self.pairings:
            before, after = pairing.before, pairing.after
            if before is not None and not before.ok:
                continue
            if after is None:
                found.append((pairing, "is missing"))
                continue
            if not after.ok:
                found.append((pairing, f"{after['status']}: {after['reason']}"))
            for meter in self.meters:
                old, new = pairing.figures(meter)
                if old is not None and new is None:
                    found.append((pairing, f"{meter} is missing"))
                elif self.grown(pairing, meter, allowed):
                    found.append((pairing, f"{meter} {_growth(meter, old or 0, new or 0)}"))
        return found

    def judged(self, meter: str) -> tuple[int, int]:
        """The number of rows with both figures and a known noise, and of all rows with both figures."""
        both = [found for found in self.pairings if None not in found.figures(meter)]
        return sum(self.noise(found, meter) is not None for found in both), len(both)


def compare(
    before: Sequence[Row], after: Sequence[Row], meters: Sequence[str] = tuple(MEASURED)
) -> Comparison:
    """The comparison of two sets of rows.

    Raises ``SpecError`` for an unknown meter, if no cell and mode is in both sets, or if the first set has no
    figure of any of the ``meters``.
    """
    for meter in meters:
        if meter not in MEASURED:
            raise unknown_choice("meter", meter, MEASURED)
    old = {(row.cell, row.mode): row for row in before}
    new = {(row.cell, row.mode): row for row in after}
    if old.keys().isdisjoint(new):
        raise SpecError(
            f"the two results have no cell and mode in common{_difference(before, after)}",
            "measure at least one cell of the first results again",
        )
    pairings = tuple(Pairing(*task, old.get(task), new.get(task)) for task in {**old, **new})
    asked = [meter for meter in MEASURED if meter in meters]
    there = [m for m in asked if any(pairing.figures(m)[0] is not None for pairing in pairings)]
    if not there:
        raise SpecError(
            f"the first results have no figures of {', '.join(meters)}",
            "choose other --meters, or measure again",
        )
    return Comparison(pairings, tuple(there), tuple(meter for meter in asked if meter not in there))


def _growth(meter: str, before: float, after: float) -> str:
    """The text of a growth: in percent, or with both values if the first is 0."""
    if before:
        return f"{100 * (after / before - 1):+.2f} %"
    text = format_seconds if meter == "time" else format_bytes
    return f"from {text(before)} to {text(after)}"


def _difference(before: Sequence[Row], after: Sequence[Row]) -> str:
    """The columns without a common value, with the values: `` (depth: 1, 4 before and 9 after)``."""
    names = [*CELL_NAMES, "mode"]
    parts = []
    for name in names:
        one, other = ([*dict.fromkeys(str(row[name]) for row in rows)] for rows in (before, after))
        if not set(one) & set(other):
            parts.append(f"{name}: {_few(one)} before and {_few(other)} after")
    return f" ({'; '.join(parts)})" if parts else ""


def _few(values: Sequence[str]) -> str:
    """The first four values as a text; an ellipsis stands for the others."""
    return ", ".join([*values[:4], *(["…"] if values[4:] else [])])
