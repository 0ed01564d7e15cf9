"""Two sets of results side by side: the same cells, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from memtrain.errors import SpecError, unknown_choice
from memtrain.measure.cell import Cell, Mode
from memtrain.measure.row import Row

MEASURED = {
    "ledger": "ledger_peak_bytes",
    "heap": "heap_peak_bytes",
    "resident": "resident_peak_bytes",
    "time": "step_s",
}
"""What is compared, and its column."""


@dataclass(frozen=True)
class Pairing:
    """One cell and mode in both sets; ``None`` where a set has no such row."""

    cell: Cell
    mode: Mode
    before: Row | None
    after: Row | None

    def figures(self, meter: str) -> tuple[float | None, float | None]:
        """The figure before and after; ``None`` where it is missing."""
        column = MEASURED[meter]
        before, after = (None if row is None else row[column] for row in (self.before, self.after))
        return before, after

    def ratio(self, meter: str) -> float | None:
        """After ÷ before; ``None`` where one is missing."""
        before, after = self.figures(meter)
        return after / before if before and after is not None else None


@dataclass(frozen=True)
class Comparison:
    """Rows joined by cell and mode, in the order of the first set, then what only the second has."""

    pairings: tuple[Pairing, ...]
    meters: tuple[str, ...]
    """Those that the first set has figures of, among those asked for."""

    def regressions(self, allowed: Fraction) -> list[tuple[Pairing, str]]:
        """Cells that have grown by more than ``allowed`` (a share), or fail or miss a figure now; and how."""
        found = []
        for pairing in self.pairings:
            before, after = pairing.before, pairing.after
            if before is not None and not before.ok:
                continue
            if after is None:
                found.append((pairing, "is missing"))
                continue
            if not after.ok:
                found.append((pairing, f"{after.figures.status}: {after.figures.reason}"))
            for meter in self.meters:
                old, new = pairing.figures(meter)
                if old is None:
                    continue
                if new is None:
                    found.append((pairing, f"{meter} is missing"))
                elif old and Fraction(new) > Fraction(old) * (1 + allowed):
                    found.append((pairing, f"{meter} {100 * (new / old - 1):+.2f} %"))
        return found


def compare(
    before: Sequence[Row], after: Sequence[Row], meters: Sequence[str] = tuple(MEASURED)
) -> Comparison:
    """Join two sets of rows. Raises ``SpecError`` for an unknown meter, or where none has a figure."""
    for meter in meters:
        if meter not in MEASURED:
            raise unknown_choice("meter", meter, MEASURED)
    old = {(row.cell, row.mode): row for row in before}
    new = {(row.cell, row.mode): row for row in after}
    pairings = tuple(Pairing(*task, old.get(task), new.get(task)) for task in {**old, **new})
    there = [
        meter
        for meter in MEASURED
        if meter in meters and any(pairing.figures(meter)[0] is not None for pairing in pairings)
    ]
    if not there:
        raise SpecError(
            f"the first results have no figures of {', '.join(meters)}",
            "allowed: meters that it was measured with",
            "name others with --meters, or measure again",
        )
    return Comparison(pairings, tuple(there))
