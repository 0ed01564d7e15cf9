"""Evidence for the predictions of a cell: measured runs, the proof by NaN, and the second order."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from memtrain.cells.cell import BOTH, Cell, Mode
from memtrain.cells.engine import NUMPY
from memtrain.cells.row import Row
from memtrain.errors import InputError, MeasureError
from memtrain.explaining.explanation import Explanation, explain
from memtrain.explaining.proof import Proof, prove
from memtrain.explaining.second import SecondOrder, second_order
from memtrain.measure.host import Host
from memtrain.measure.measured import measured_row
from memtrain.measure.workload import batches
from memtrain.planning.cost import Rates
from memtrain.planning.schedule import Schedule

MOST_RUN_BYTES = 512 * 1024**2
MOST_RUN_FLOPS = 50_000_000_000
"""Cells with a larger peak, or with more FLOPs in forward, are not run: this would take too long."""


@dataclass(frozen=True)
class Explained:
    """The answer of ``explain``: an explanation, and evidence from the runs that were asked for."""

    explanation: Explanation
    rows: dict[Mode, Row] = field(default_factory=dict)
    """By mode: the row with the measured ledger and heap."""
    proof: Proof | None = None
    second: SecondOrder | None = None
    full: bool = False
    """Whether a terminal shows all parts; otherwise it shows one screen and the parts that were asked for."""

    @property
    def ok(self) -> bool:
        """Whether no run contradicts the explanation."""
        rows_fine = all(row.ok for row in self.rows.values())
        return rows_fine and all(found.ok for found in (self.proof, self.second) if found is not None)


def explained(
    cell: Cell,
    rates: Rates | None,
    *,
    proof: bool = False,
    second: bool = False,
    measure: bool = True,
    full: bool = False,
) -> Explained:
    """The explanation of ``cell``, planned with ``rates``, and the evidence that is asked for.

    Rows are measured if ``measure`` is set and the cell is small enough. Raises ``InputError`` for a proof of
    a cell that is too large to run.
    """
    if cell.engine != NUMPY and (proof or second):
        raise InputError(
            f"the proof and the second order run memtrain's own kernels, not the engine {cell.engine}",
            "use --engine numpy",
        )
    explanation = explain(cell, rates)
    runs = can_run(explanation)
    if proof and not runs:
        raise InputError(
            "--prove runs the network, and this network is too large",
            "reduce --depth, --width or --batch",
        )
    measure = measure and runs
    return Explained(
        explanation,
        rows=measured(cell, rates) if measure else {},
        proof=proved(cell, explanation.train.schedule) if proof else None,
        second=second_order(cell, rates_of(rates, measure)) if second else None,
        full=full,
    )


def can_run(explanation: Explanation) -> bool:
    """Whether the cell is small enough to be run beside its explanation."""
    small = explanation.train.peak.total_bytes <= MOST_RUN_BYTES
    return small and explanation.recomputation.forward_flops <= MOST_RUN_FLOPS


def measured(cell: Cell, rates: Rates | None = None) -> dict[Mode, Row]:
    """The rows of both modes with ledger and heap. Each meter has its own process; a plan uses ``rates``."""
    with Host(rates) as host:
        return {mode: measured_row(host, cell, mode, meters=("ledger", "heap")) for mode in BOTH}


def rates_of(kept: Rates | None, measure: bool) -> Rates | None:
    """``kept``, the stored rates of this machine; without them, rates that are measured if this is possible.

    Nothing is measured unless ``measure`` is set.
    """
    if kept is None and measure:
        with suppress(MeasureError):
            return Host().rates
    return kept


def proved(cell: Cell, schedule: Schedule) -> Proof:
    """The proof that a training ``schedule`` keeps all values that backward needs, and no others."""
    return prove(schedule, cell.network.initial_values(cell.seed), next(batches(cell)))
