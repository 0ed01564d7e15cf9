"""A check of the tolerances of all meters on random cells, large and small. See `scripts/meters`."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from random import Random

from drawn import draw_tasks

from memtrain.cells.engine import NUMPY, TORCH
from memtrain.cells.row import TOLERANCES, Row
from memtrain.measure.host import Host
from memtrain.models.families import FAMILIES
from memtrain.report.findings import cell_name, findings
from memtrain.sweeps.sweep import expected_s, run_sweep
from memtrain.units import parse_bytes

METERS = ("ledger", "heap", "resident")

MOST_S = 1.0
"""Cells whose row takes more seconds show nothing new."""


def main() -> int:
    """Measure the cells; returns 1 if a sweep does not report a broken tolerance, or predicted ≠ ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=500)
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("--model", default=",".join(FAMILIES), help="Families, separated by commas")
    parser.add_argument("--meters", default=",".join(METERS), help="Meters, separated by commas")
    parser.add_argument("--engine", default=NUMPY, choices=(NUMPY, TORCH))
    parser.add_argument("--least", default="1B", help="The least predicted peak of a cell")
    parser.add_argument("--most", default="200MiB", help="The largest predicted peak of a cell")
    parser.add_argument("--threads", default="1,1,1,2", help="Numbers of threads to draw from")
    parser.add_argument("--small", action="store_true", help="Draw small cells, which are quick to run")
    given = parser.parse_args()
    meters = given.meters.split(",")
    least, most = (parse_bytes(getattr(given, name), f"--{name}") for name in ("least", "most"))

    def fits(row: Row) -> bool:
        peak = row["predicted_peak_bytes"] or 0
        return least <= peak <= most and expected_s(row.cell, row.mode, METERS) <= MOST_S

    tasks, said = draw_tasks(
        given.count,
        Random(given.seed),
        small=given.small,
        models=given.model.split(","),
        threads=[int(number) for number in given.threads.split(",")],
        engine=given.engine,
        fits=fits,
    )
    draws = ", ".join(f"{number} {what}" for what, number in said.items())
    print(f"{draws}: {given.count} cells", flush=True)
    with Host() as host:
        rows = run_sweep(host, tasks, meters=meters, finished=partial(show_if_unusual, meters=meters))
    print_table(rows)
    silent = [row for row in rows if not kept(row, meters) and not said_of(row)]
    for row in silent:
        print(f"IN SILENCE: {cell_name(row.cell)}, {row.mode}: {row.cell}")
    wrong = [row for row in rows if row["ledger_peak_bytes"] != row["predicted_peak_bytes"]]
    print(f"broken in silence: {len(silent)}; ledger is not the prediction: {len(wrong)}")
    return int(bool(silent or wrong))


def print_table(rows: list[Row]) -> None:
    """Print a line for each family, one for each allocation and number of threads, and one for all."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        threads = f"{row.cell.threads} thread{'s' if row.cell.threads > 1 else ''}"
        groups[f"{row.cell['model']}, {threads}"].append(row)
        groups[f"{row.cell.allocation}, {threads}"].append(row)
    print(f"{'':22} {'rows':>5} {'failed':>7} {'ledger':>7} {'heap':>6} {'resident':>9}   largest off, B")
    for group, of_group in sorted(groups.items()):
        print(f"{group:22} {summary(of_group)}")
    print(f"{'all':22} {summary(rows)}")


def kept(row: Row, meters: Sequence[str]) -> bool:
    """Whether the figures of these meters are there, and within their tolerances."""
    return row.ok and all(row.agrees(meter) for meter in meters if meter in TOLERANCES)


def said_of(row: Row) -> bool:
    """Whether the findings of a sweep with only this row report that something is wrong."""
    return "do NOT all agree" in " ".join(findings([row], []))


def show_if_unusual(row: Row, meters: Sequence[str]) -> None:
    """Print a line for a row that is not within the tolerances."""
    if not kept(row, meters):
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
