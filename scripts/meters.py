"""A check of the tolerances of all meters on random cells, large and small. See `scripts/meters`."""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict

from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.cells.row import TOLERANCES, Row, planned_row
from memtrain.graph.ops import ACTIVATIONS
from memtrain.measure.host import Host
from memtrain.models.network import DTYPES
from memtrain.report.findings import cell_name, findings
from memtrain.sweeps.runner import Task
from memtrain.sweeps.sweep import expected_s, run_sweep
from memtrain.training.iteration import UPDATES
from memtrain.training.optimizers import OPTIMIZERS

METERS = ("ledger", "heap", "resident")

MOST_BYTES, MOST_S = 200 * 1024**2, 1.0
"""Limits of the cells. Larger cells, or cells whose row takes more seconds, show nothing new."""


def main() -> int:
    """Measure the cells; returns 1 if a sweep does not report a broken tolerance, or predicted ≠ ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=500)
    parser.add_argument("seed", nargs="?", type=int, default=0)
    given = parser.parse_args()
    tasks = draw_tasks(given.count, random.Random(given.seed))
    with Host() as host:
        rows = run_sweep(host, tasks, meters=METERS, finished=show_if_unusual)
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        threads = f"{row.cell.threads} thread{'s' if row.cell.threads > 1 else ''}"
        by_kind[f"{row.cell.allocation}, {threads}"].append(row)
    print(f"{'':18} {'rows':>5} {'failed':>7} {'ledger':>7} {'heap':>6} {'resident':>9}   largest off, B")
    for kind, of_kind in sorted(by_kind.items()):
        print(f"{kind:18} {summary(of_kind)}")
    print(f"{'all':18} {summary(rows)}")
    silent = [row for row in rows if not kept(row) and not said(row)]
    for row in silent:
        print(f"IN SILENCE: {cell_name(row.cell)}, {row.mode}: {row.cell}")
    wrong = [row for row in rows if row["ledger_peak_bytes"] != row["predicted_peak_bytes"]]
    print(f"broken in silence: {len(silent)}; ledger is not the prediction: {len(wrong)}")
    return int(bool(silent or wrong))


def draw_tasks(count: int, rng: random.Random) -> list[Task]:
    """Random cells, each in one mode, within `MOST_BYTES` and `MOST_S`. Cells without a plan are left out."""
    tasks: dict[Task, None] = {}
    while len(tasks) < count:
        cell, mode = draw_cell(rng), rng.choice((Mode.TRAIN, Mode.TRAIN, Mode.INFER))
        if expected_s(cell, mode, METERS) > MOST_S:
            continue
        row = planned_row(cell, mode)
        if row.ok and (row["predicted_peak_bytes"] or 0) <= MOST_BYTES:
            tasks[cell, mode] = None
    return list(tasks)


def draw_cell(rng: random.Random) -> Cell:
    """A cell with random options. Its policy may be a budget."""
    accumulate = rng.choice((1, 1, 1, 2, 4, 8))
    cell = cell_of(
        depth=rng.choice((0, 1, 1, 2, 3, 4, 6, 8, 12, 16, 24, 33, 50, 75, 100, 150)),
        width=rng.choice((1, 3, 8, 10, 16, 32, 64, 64, 100, 128, 256, 512)),
        batch=accumulate * rng.choice((1, 3, 8, 16, 32, 64, 100, 200, 256, 512, 800, 1024)),
        activation=rng.choice(list(ACTIVATIONS)),
        bias=rng.random() < 0.5,
        optimizer=rng.choice(OPTIMIZERS),
        l2=rng.choice((0.0, 1e-4)),
        dtype=rng.choice(list(DTYPES)),
        policy=rng.choice(("none", "none", "sqrt", "revolve:3")),
        update=rng.choice(UPDATES),
        allocation=rng.choice(("fresh", "packed")),
        threads=rng.choice((1, 1, 1, 2)),
        steps=rng.choice((2, 3)),
        seed=rng.randrange(100),
        accumulate=accumulate,
        cost="flops",
    )
    if cell.policy == "none" and rng.random() < 0.3:
        most = planned_row(cell, Mode.TRAIN)["predicted_peak_bytes"]
        budget = cell.changed(policy=f"budget:{int(most * rng.uniform(0.7, 1))}")
        return budget if planned_row(budget, Mode.TRAIN).ok else cell
    return cell


def kept(row: Row) -> bool:
    """Whether no figure is missing, and all are within their tolerances."""
    return row.ok and all(row.agrees(meter) for meter in TOLERANCES)


def said(row: Row) -> bool:
    """Whether the findings of a sweep with only this row report that something is wrong."""
    return "do NOT all agree" in " ".join(findings([row], []))


def show_if_unusual(row: Row) -> None:
    """Print a line for a row that is not within the tolerances."""
    if not kept(row):
        off = ", ".join(
            f"{meter} {row.difference_bytes(meter):+,} B" for meter in TOLERANCES if off_by(row, meter)
        )
        print(
            f"{cell_name(row.cell)}, {row.mode}: {row['status']} {row['reason']} {off} of "
            f"{row['ledger_peak_bytes']:,} B in {row['peak_array_count']} arrays; {row.cell}",
            flush=True,
        )


def off_by(row: Row, meter: str) -> bool:
    """Whether the figure of a meter was measured and is beyond its tolerance."""
    return row.agrees(meter) is False


def summary(rows: list[Row]) -> str:
    """A line with the numbers of rows within each tolerance, and the largest differences from the ledger."""
    exact = sum(row["ledger_peak_bytes"] == row["predicted_peak_bytes"] for row in rows)
    near = {meter: sum(row.agrees(meter) is True for row in rows) for meter in TOLERANCES}
    most = [max((abs(row.difference_bytes(meter) or 0) for row in rows), default=0) for meter in TOLERANCES]
    failed = sum(not row.ok for row in rows)
    return (
        f"{len(rows):5} {failed:7} {exact:7} {near['heap']:6} {near['resident']:9}   "
        f"heap {most[0]:,}, resident {most[1]:,}"
    )


if __name__ == "__main__":
    sys.exit(main())
