"""A row: one cell and mode with its figures. The columns are a contract (design §5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from statistics import median_low
from typing import Any

from memtrain.errors import BudgetError, ChildFailed, MeterUnavailable, NotTried, SpecError
from memtrain.graph.node import Role
from memtrain.measure.admission import admitted
from memtrain.measure.cell import LATER, Cell, Mode
from memtrain.measure.host import Host
from memtrain.measure.machine import PAGE_BYTES
from memtrain.measure.meters import METERS
from memtrain.plan.cost import Rates, read_rates
from memtrain.plan.liveness import analyse
from memtrain.run.allocation import peak_array_count, peak_bytes
from memtrain.run.kept_rates import UNKNOWN, kept_rates
from memtrain.units import format_bytes

HEAP_SLACK_BYTES = 16 * 1024
"""A heap figure further than this below the ledger cannot be true."""


@dataclass(frozen=True)
class Tolerance:
    """How far a meter may be from the ledger: a share of it, or bytes by the number of arrays if more."""

    share: float
    least_bytes: int
    array_bytes: int
    """What each array at the peak takes besides its values."""

    def bytes(self, peak_bytes: float, array_count: int) -> float:
        """For a peak of so many bytes in so many arrays."""
        return max(self.share * peak_bytes, self.least_bytes + self.array_bytes * array_count)

    def __str__(self) -> str:
        least, each = format_bytes(self.least_bytes), format_bytes(self.array_bytes)
        return f"max({100 * self.share:g} %, {least} + {each} per array)"


TOLERANCES = {
    "heap": Tolerance(0.001, 16 * 1024, 32),
    "resident": Tolerance(0.01, 1024**2, PAGE_BYTES),
}
"""What each meter promises. numpy takes some KiB of buffers in a call, and 32 B for the shape and strides of
an array; the heap has holes, and an array that is mapped by itself takes whole pages."""

STATUSES = ("ok", "memory_limit", "killed", "timeout", "error")
"""How a row can have ended."""


@dataclass
class Figures:
    """What was predicted and measured; missing is ``None``, never 0."""

    status: str = "ok"
    reason: str = ""
    parameter_bytes: int | None = None
    gradient_bytes: int | None = None
    optimizer_bytes: int | None = None
    input_bytes: int | None = None
    retained_bytes: int | None = None
    baseline_bytes: int | None = None
    predicted_peak_bytes: int | None = None
    ledger_peak_bytes: int | None = None
    heap_peak_bytes: int | None = None
    resident_peak_bytes: int | None = None
    peak_parameter_bytes: int | None = None
    peak_gradient_bytes: int | None = None
    peak_optimizer_bytes: int | None = None
    peak_input_bytes: int | None = None
    peak_retained_bytes: int | None = None
    peak_transient_bytes: int | None = None
    peak_workspace_bytes: int | None = None
    peak_phase: str | None = None
    peak_step: int | None = None
    step_s: float | None = None
    loss_first: float | None = None
    loss_last: float | None = None
    blas: str | None = None
    cpu: str | None = None
    python: str | None = None
    numpy: str | None = None
    memtrain: str | None = None
    repeat_count: int | None = None
    ledger_spread_bytes: int | None = None
    heap_spread_bytes: int | None = None
    resident_spread_bytes: int | None = None
    step_spread_s: float | None = None
    peak_recomputed_bytes: int | None = None
    peak_array_count: int | None = None


LATEST = ("peak_array_count",)
"""Figures that came after the later fields of a cell (`memtrain.measure.cell.LATER`): they stand last."""

SPREADS = {
    "ledger_peak_bytes": "ledger_spread_bytes",
    "heap_peak_bytes": "heap_spread_bytes",
    "resident_peak_bytes": "resident_spread_bytes",
    "step_s": "step_spread_s",
}
"""What is repeated, and the column of the largest less the smallest figure."""


@dataclass
class Row:
    """One cell and mode with its figures, and what a table of numbers has no column for."""

    cell: Cell
    mode: Mode
    figures: Figures
    peak_node: str = ""
    """The value that was being computed at the predicted peak."""
    retained: list[dict[str, Any]] = field(default_factory=list)
    """Name and bytes of each retained intermediate."""
    environment: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Why a meter gave no figure, a line each."""

    def columns(self) -> dict[str, Any]:
        """The row as it is written: the cell, the mode, the figures."""
        figures = {f.name: getattr(self.figures, f.name) for f in fields(self.figures)}
        cell = self.cell.columns()
        later = {name: cell.pop(name) for name in LATER}
        latest = {name: figures.pop(name) for name in LATEST}
        return {**cell, "mode": str(self.mode), **figures, **later, **latest}

    def __getitem__(self, column: str) -> Any:
        """The value of a column."""
        return self.columns()[column]

    def difference_bytes(self, meter: str) -> int | None:
        """How far the heap or resident peak is above the ledger's; ``None`` where one is missing."""
        measured, ledger = getattr(self.figures, f"{meter}_peak_bytes"), self.figures.ledger_peak_bytes
        return None if measured is None or ledger is None else measured - ledger

    def agrees(self, meter: str) -> bool | None:
        """Whether the heap or resident peak is as near to the ledger as promised."""
        off = self.difference_bytes(meter)
        if off is None:
            return None
        return abs(off) <= self._allowed_bytes(meter, self.figures.ledger_peak_bytes)

    def spread_bytes(self, meter: str) -> int | None:
        """The largest less the smallest peak of a repeated meter; ``None`` where it was not repeated."""
        spread: int | None = getattr(self.figures, f"{meter}_spread_bytes")
        return spread

    def steady(self, meter: str) -> bool:
        """Whether the figures of a repeated meter lie as near together as promised.

        Ledger and heap must be the same bytes every time, resident within its tolerance.
        """
        spread = self.spread_bytes(meter) or 0
        if meter != "resident":
            return spread == 0
        return spread <= self._allowed_bytes(meter, self.figures.resident_peak_bytes)

    def _allowed_bytes(self, meter: str, peak_bytes: int | None) -> float:
        return TOLERANCES[meter].bytes(peak_bytes or 0, self.figures.peak_array_count or 0)

    @property
    def rates(self) -> Rates | None:
        """What its plan spared time with; ``None`` where it did not, or that is not known."""
        recorded = self.environment.get("rates")
        return None if recorded is None else read_rates(recorded)

    @property
    def settled(self) -> bool:
        """Whether measuring again would tell nothing new: it is well, or has met its memory limit."""
        limit = self.cell.memory_limit_bytes
        beyond = limit is not None and (self.figures.predicted_peak_bytes or 0) > limit
        return self.ok or (self.figures.status == "memory_limit" and beyond)

    @property
    def ok(self) -> bool:
        """Whether every asked figure is there and can be trusted."""
        return self.figures.status == "ok"


COLUMNS = tuple(Row(Cell(), Mode.TRAIN, Figures()).columns())


def predicted_row(cell: Cell, mode: Mode, rates: Rates | None = None) -> Row:
    """The row of a cell with what is known before anything runs.

    A plan that spares time is made with ``rates``, else with the rates that are kept on this machine. Where
    there are none it spares FLOPs, and a note says so.
    """
    mode = Mode(mode)
    if rates is None and cell.plans_by_time:
        rates = kept_rates()
    liveness, allocation = analyse(cell.schedule(mode, rates)), cell.allocation_for(timing=False)
    retained = liveness.most_retained
    figures = Figures(
        predicted_peak_bytes=peak_bytes(liveness, allocation),
        peak_array_count=peak_array_count(liveness, allocation),
        retained_bytes=sum(node.nbytes for node in retained),
    )
    for role in (Role.PARAMETER, Role.GRADIENT, Role.OPTIMIZER, Role.INPUT):
        setattr(figures, f"{role}_bytes", liveness.total_bytes(role))
    peak_node = liveness.peak_node.name if liveness.peak_node else ""
    unknown = cell.plans_by_time and rates is None and mode is Mode.TRAIN
    return Row(
        cell,
        mode,
        figures,
        peak_node,
        [{"name": node.name, "bytes": node.nbytes} for node in retained],
        notes=[UNKNOWN] if unknown else [],
    )


def planned_row(cell: Cell, mode: Mode, rates: Rates | None = None) -> Row:
    """The same; a row that failed where the cell's policy has no plan."""
    try:
        return predicted_row(cell, mode, rates)
    except SpecError as error:
        status = "memory_limit" if isinstance(error, BudgetError) else "error"
        return Row(cell, mode, Figures(status=status, reason=str(error)))


def notes_of(rows: Iterable[Row]) -> list[str]:
    """What the rows note, each once."""
    return list(dict.fromkeys(note for row in rows for note in row.notes))


def measured_row(
    host: Host,
    cell: Cell,
    mode: Mode,
    meters: Sequence[str] = tuple(METERS),
    timeout_s: float | None = None,
    *,
    repeat: int = 1,
    force: bool | None = None,
) -> Row:
    """The row of a cell, each meter in a process of its own; the ledger always.

    A cell that cannot run is a row with the status and the reason. A meter that fails where the ledger
    did not leaves its column empty and marks the row, for a figure that is not there is not a figure.
    A cell beyond the free memory is not tried, unless ``force`` (see `memtrain.measure.admission`). Each
    meter is repeated ``repeat`` times, each time in a new process; the row has the medians and the spreads.
    """
    row = planned_row(cell, mode, host.rates_for(cell))
    if not row.ok:
        return row
    try:
        with admitted(host.room, row, force=force):
            _measure(host, row, meters, timeout_s, repeat)
    except NotTried as reason:
        _fail(row, "memory_limit", str(reason))
        return row
    _check(row)
    return row


def _measure(host: Host, row: Row, meters: Sequence[str], timeout_s: float | None, repeat: int) -> None:
    """Enter what the meters say, the ledger's first; without a ledger none of the others is asked."""
    for meter in METERS:
        if meter != "ledger" and meter not in meters:
            continue
        try:
            given = [host.measure(meter, row.cell, row.mode, timeout_s) for _ in range(repeat)]
            _enter(row, given[0])
            if repeat > 1:
                _enter_spreads(row, given)
        except MeterUnavailable as reason:
            row.notes.append(str(reason))
        except ChildFailed as failure:
            _fail(row, failure.status, str(failure))
            if meter == "ledger":
                break


def _enter(row: Row, given: dict[str, Any]) -> None:
    for column in fields(Figures):
        if column.name in given:
            setattr(row.figures, column.name, given[column.name])
    row.notes += given.get("notes", [])
    if "environment" in given:
        row.environment = given["environment"]
        for name in ("blas", "cpu", "python", "numpy", "memtrain"):
            setattr(row.figures, name, row.environment[name])


def _enter_spreads(row: Row, given: Sequence[dict[str, Any]]) -> None:
    row.figures.repeat_count = len(given)
    for name, spread in SPREADS.items():
        if name in given[0]:
            found = [figures[name] for figures in given]
            setattr(row.figures, name, median_low(found))
            setattr(row.figures, spread, max(found) - min(found))


def _check(row: Row) -> None:
    """Take back what cannot be true, and say so."""
    figures = row.figures
    ledger, heap = figures.ledger_peak_bytes, figures.heap_peak_bytes
    if ledger is not None and ledger != figures.predicted_peak_bytes:
        _fail(row, "error", f"predicted {figures.predicted_peak_bytes} B, but the ledger has {ledger} B")
    if ledger is not None and heap is not None and heap < ledger - HEAP_SLACK_BYTES:
        figures.heap_peak_bytes = None
        _fail(row, "error", f"memray read {heap} B where arrays of {ledger} B were alive")


def _fail(row: Row, status: str, reason: str) -> None:
    """The first status stays; reasons add up."""
    if row.ok:
        row.figures.status = status
    row.figures.reason = "; ".join(filter(None, [row.figures.reason, reason]))
