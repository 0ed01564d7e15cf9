"""Tables of values over depth × batch, each with a sentence that says what it shows."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.answers.largest import largest_within
from memtrain.answers.sizes import MOST_SIZE
from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.cells.row import planned_row, predicted_row
from memtrain.planning.remat.policy import BUDGET, read_policy
from memtrain.report.findings import Pair, cell_name, main_row, ratio
from memtrain.report.groups import Group
from memtrain.units import format_bytes

OUTCOMES = ("nothing fits", "only inference fits", "training fits")
"""What of a cell fits into a given memory; a `Table` holds the index into this tuple."""


@dataclass(frozen=True)
class Table:
    """A value for each depth (row) and batch (column); ``None`` where there is none."""

    depths: tuple[int, ...]
    batches: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    reading: str


def ratios_of(group: Group) -> Table | None:
    """The peak of training ÷ the peak of inference; ``None`` if no cell has both."""
    values = {size: value for size, pair in group.pairs.items() if (value := ratio(pair)) is not None}
    if not values:
        return None
    least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    if least == most:
        reading = f"Training needs {values[most]:.2f} × the memory of inference."
    else:
        reading = (
            f"Training needs at least {values[least]:.2f} × the memory of inference ({_at(*least)}) and at "
            f"most {values[most]:.2f} × ({_at(*most)})."
        )
    return _table(group, values, reading)


def outcomes_of(group: Group, budget_bytes: int) -> Table:
    """What of each cell fits into ``budget_bytes``, as predicted: an index into `OUTCOMES`."""
    values = {size: _outcome(pair, budget_bytes) for size, pair in group.pairs.items()}
    counts = [sum(value == outcome for value in values.values()) for outcome in range(3)]
    fitting = [f"training fits in {counts[2]} of {len(values)} cells"]
    fitting += [f"only inference in {counts[1]}"] * bool(counts[1])
    fitting += [f"nothing in {counts[0]}"] * bool(counts[0])
    reading = (
        f"Within {format_bytes(budget_bytes)}, {', '.join(fitting)}. "
        f"{_largest_batches(group.rows[-1].cell, budget_bytes)}"
    )
    return _table(group, values, reading)


def _outcome(pair: Pair, budget_bytes: int) -> float:
    """What of a cell fits: an index into `OUTCOMES`.

    A mode without a row is predicted here. A mode without a plan does not fit.
    """
    for outcome, mode in ((2, Mode.TRAIN), (1, Mode.INFER)):
        row = pair.get(mode)
        if row is None or row["predicted_peak_bytes"] is None:
            row = planned_row(main_row(pair).cell, mode, main_row(pair).rates)
        peak = row["predicted_peak_bytes"]
        if peak is not None and peak <= budget_bytes:
            return float(outcome)
    return 0.0


def _largest_batches(cell: Cell, budget_bytes: int) -> str:
    """A sentence: the largest batches that fit at the depth of ``cell``, or why they are not known."""
    if read_policy(cell.policy).kind == BUDGET:
        return "The largest batch is not known, because each batch would need a plan of its own."

    def largest(mode: Mode) -> int:
        def peak(count: int) -> int:
            row = predicted_row(cell.changed(batch=count * cell.accumulate), mode)
            return row["predicted_peak_bytes"] or 0

        found = largest_within(peak, budget_bytes, 1, MOST_SIZE // cell.accumulate)
        return (found or 0) * cell.accumulate

    of = f" of {cell.accumulate} micro-batches" if cell.accumulate > 1 else ""
    return (
        f"At depth {cell['depth']}, the largest batch{of} that fits is {_count(largest(Mode.TRAIN))} for "
        f"training and {_count(largest(Mode.INFER))} for inference."
    )


def _table(group: Group, values: dict[tuple[int, int], float], reading: str) -> Table:
    depths, batches = group.depths, group.batches
    filled = tuple(tuple(values.get((depth, batch)) for batch in batches) for depth in depths)
    return Table(tuple(depths), tuple(batches), filled, reading)


def _count(value: int) -> str:
    return f"{value:,}" if value else "none"


def _at(depth: int, batch: int) -> str:
    return cell_name(cell_of(depth=depth, batch=batch))
