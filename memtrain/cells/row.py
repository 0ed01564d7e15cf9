"""A row: one cell and mode with its figures. Its columns are a contract with the readers of result files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import FIGURE_NAMES, NAMES
from memtrain.cells.engine import JAX, NO_HISTORY, NUMPY, TORCH
from memtrain.cells.kinds import written
from memtrain.errors import BudgetError, SpecError
from memtrain.graph.node import Block, Name, Node, Role
from memtrain.planning.cost import Rates
from memtrain.planning.liveness import analyse
from memtrain.run.allocation import peak_array_count, peak_bytes
from memtrain.run.kept_rates import UNKNOWN, kept_rates
from memtrain.units import format_bytes

PAGE_BYTES = 4096
"""The page size of most machines. On machines with larger pages, resident figures are coarser."""


@dataclass(frozen=True)
class Tolerance:
    """The bytes by which a meter may differ from the ledger.

    They are the larger of a share of the ledger, and fixed bytes plus bytes per array.
    """

    share: float
    least_bytes: int
    array_bytes: int
    """The bytes that each array at the peak may need besides its values."""

    def bytes(self, peak_bytes: float, array_count: int) -> float:
        """The tolerance for a peak of ``peak_bytes`` in ``array_count`` arrays."""
        return max(self.share * peak_bytes, self.least_bytes + self.array_bytes * array_count)

    def __str__(self) -> str:
        least, each = format_bytes(self.least_bytes), format_bytes(self.array_bytes)
        return f"max({100 * self.share:g} %, {least} + {each} per array)"


TOLERANCES = {
    "heap": Tolerance(0.001, 16 * 1024, 32),
    "resident": Tolerance(0.01, 1024**2, PAGE_BYTES),
}
"""The tolerance of each meter. numpy needs some KiB of buffers in a call, and 32 B for the shape and strides
of an array. The heap has holes, and an array that is mapped separately occupies whole pages."""

_PYTORCH_HEAP = Tolerance(0.002, 64 * 1024, 2304)
"""The heap also has PyTorch's own objects: its tensors and the functions of autograd, 4 KB for a linear layer
with its activation, of which two arrays live at the peak."""


def tolerance(meter: str, engine: str = NUMPY) -> Tolerance:
    """The tolerance of a meter for rows of an engine."""
    return _PYTORCH_HEAP if meter == "heap" and engine == TORCH else TOLERANCES[meter]


class Row(Mapping[str, Any]):
    """One cell and mode with its figures: a mapping from every column to its value.

    Because it is a mapping and no data class, pandas makes a line of a data frame from it, with all columns.
    """

    def __init__(
        self,
        cell: Cell,
        mode: Mode,
        figures: Mapping[str, Any] | None = None,
        peak_node: str = "",
        retained: Iterable[Mapping[str, Any]] = (),
        environment: Mapping[str, Any] | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self.cell, self.mode = cell, mode
        self.figures: dict[str, Any] = {
            **dict.fromkeys(FIGURE_NAMES),
            "status": "ok",
            "reason": "",
            **(figures or {}),
        }
        """The predicted and measured figures, by column; missing is ``None``, never 0."""
        self.peak_node = peak_node
        """The name of the value that is computed at the predicted peak."""
        self.retained = [dict(entry) for entry in retained]
        """The retained intermediates, each with name, bytes, label within its block, and scope."""
        self.environment = dict(environment or {})
        self.notes = list(notes)
        """Remarks, each one line, such as the reason why a meter has no figure."""

    def changed(self, **parts: Any) -> Row:
        """The same row with other values of some ``parts``. These are the parameters of ``Row``."""
        names = ("cell", "mode", "figures", "peak_node", "retained", "environment", "notes")
        return Row(**{name: getattr(self, name) for name in names} | parts)

    @property
    def kept(self) -> list[Name]:
        """The names of the retained intermediates."""
        return [
            Name(entry["name"], entry["label"], tuple(Block(*block) for block in entry["scope"]))
            for entry in self.retained
        ]

    def columns(self) -> dict[str, Any]:
        """The row as it is written: the values of all columns, in order."""
        return {name: written(self[name]) for name in NAMES}

    def __getitem__(self, column: str) -> Any:
        """The value of a column. Raises ``KeyError``."""
        if column in self.figures:
            return self.figures[column]
        return str(self.mode) if column == "mode" else self.cell[column]

    def __iter__(self) -> Iterator[str]:
        """The columns, in order."""
        return iter(NAMES)

    def __len__(self) -> int:
        """The number of columns."""
        return len(NAMES)

    def __eq__(self, other: object) -> bool:
        """Whether ``other`` is a row with equal parts."""
        return vars(self) == vars(other) if isinstance(other, Row) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """The cell and its peaks in one line; for a failed row, the cell and the status."""
        peaks = [
            f"{meter} {peak:,} B"
            for meter in ("predicted", "ledger", "heap", "resident")
            if (peak := self.figures[f"{meter}_peak_bytes"]) is not None
        ]
        said = ", ".join([*([] if self.ok else [self.figures["status"]]), *peaks])
        return f"<Row depth {self.cell['depth']}, batch {self.cell.batch}, {self.mode}: {said}>"

    def __setitem__(self, column: str, value: Any) -> None:
        """Set a figure. Raises ``KeyError`` if the column is not a figure."""
        if column not in self.figures:
            raise KeyError(column)
        self.figures[column] = value

    def difference_bytes(self, meter: str) -> int | None:
        """The bytes by which the heap or resident peak is above the ledger; ``None`` if one is missing."""
        measured, ledger = self[f"{meter}_peak_bytes"], self["ledger_peak_bytes"]
        return None if measured is None or ledger is None else measured - ledger

    def agrees(self, meter: str) -> bool | None:
        """Whether the heap or resident peak is within its tolerance; ``None`` if a figure is missing."""
        off = self.difference_bytes(meter)
        if off is None:
            return None
        return abs(off) <= self._allowed_bytes(meter, self["ledger_peak_bytes"])

    def spread_bytes(self, meter: str) -> int | None:
        """The largest − the smallest peak of a repeated meter; ``None`` if it was not repeated."""
        spread: int | None = self[f"{meter}_spread_bytes"]
        return spread

    def steady(self, meter: str) -> bool:
        """Whether the spread of a repeated meter is as small as required.

        Ledger and heap must be equal every time. Resident must be within its tolerance.
        """
        spread = self.spread_bytes(meter) or 0
        if meter != "resident":
            return spread == 0
        return spread <= self._allowed_bytes(meter, self["resident_peak_bytes"])

    def _allowed_bytes(self, meter: str, peak_bytes: int | None) -> float:
        allowed = tolerance(meter, self.cell.engine)
        return allowed.bytes(peak_bytes or 0, self["peak_array_count"] or 0)

    @property
    def rates(self) -> Rates | None:
        """The rates that the plan of the row used; ``None`` if it used none, or they are not known."""
        recorded = self.environment.get("rates")
        return None if recorded is None else Rates.of(recorded)

    @property
    def settled(self) -> bool:
        """Whether another measurement would give nothing new: the row is ok, or ran out as predicted."""
        limit = self.cell.memory_limit_bytes
        beyond = limit is not None and (self["predicted_peak_bytes"] or 0) > limit
        return self.ok or (self["status"] == "memory_limit" and bool(beyond))

    @property
    def ok(self) -> bool:
        """Whether the status is ok: no meter failed, and no figures contradict each other."""
        return bool(self["status"] == "ok")


def kept_entry(node: Node) -> dict[str, Any]:
    """The entry of a retained intermediate in a row, in JSON values."""
    return {
        "name": node.name,
        "bytes": node.nbytes,
        "label": node.label,
        "scope": [list(block) for block in node.scope],
    }


def predicted_row(cell: Cell, mode: Mode, rates: Rates | None = None) -> Row:
    """The row of a cell with all predicted figures. Nothing is run.

    A plan that minimises time uses ``rates``, or by default the rates that are kept on this machine. Without
    any rates it minimises FLOPs, and a note says so.
    """
    mode = Mode(mode)
    if cell.engine == JAX:
        return _unpredicted_row(cell, mode)
    if rates is None and cell.plans_by_time:
        rates = kept_rates()
    liveness, allocation = analyse(cell.schedule(mode, rates)), cell.allocation_for(timing=False)
    retained = liveness.most_retained
    figures = {
        "predicted_peak_bytes": peak_bytes(liveness, allocation),
        "peak_array_count": peak_array_count(liveness, allocation),
        "retained_bytes": sum(node.nbytes for node in retained),
    }
    for role in (Role.PARAMETER, Role.GRADIENT, Role.OPTIMIZER, Role.INPUT):
        figures[f"{role}_bytes"] = liveness.total_bytes(role)
    peak_node = liveness.peak_node.name if liveness.peak_node else ""
    notes = [UNKNOWN] if cell.plans_by_time and rates is None and mode is Mode.TRAIN else []
    return Row(cell, mode, figures, peak_node, [kept_entry(node) for node in retained], notes=notes)


def _unpredicted_row(cell: Cell, mode: Mode) -> Row:
    """The row of a cell that is only measured: the bytes that it is given. Raises ``SpecError``."""
    if mode is Mode.EVAL_GRAD:
        raise SpecError(*NO_HISTORY)
    model = cell.network.build(cell.batch)
    figures = {
        "parameter_bytes": sum(node.nbytes for node in model.parameters),
        "input_bytes": sum(feed.nbytes for feed in model.feeds[: 2 if mode is Mode.TRAIN else 1]),
    }
    return Row(cell, mode, figures)


def planned_row(cell: Cell, mode: Mode, rates: Rates | None = None) -> Row:
    """The predicted row of a cell, or a failed row if its policy has no plan."""
    try:
        return predicted_row(cell, mode, rates)
    except SpecError as error:
        status = "memory_limit" if isinstance(error, BudgetError) else "error"
        return Row(cell, mode, {"status": status, "reason": str(error)})


def notes_of(rows: Iterable[Row]) -> list[str]:
    """All notes of the rows, each once."""
    return list(dict.fromkeys(note for row in rows for note in row.notes))
