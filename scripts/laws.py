"""A check of the laws of random grids: each law is compared with cells to which it was not fitted.

    python scripts/laws.py [GRIDS] [--seed N] [--heap N]     (or scripts/laws)

For each grid the laws are fitted exactly as by a sweep. Cells at other depths and batches, within the range
of a law, must then have the peak of the law to 0.1 %. The heap peaks of the first grids, and of their unseen
cells, are measured. For the other grids predicted peaks are used, which need no process. The exit code is 1
if a law is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import product
from random import Random

from memtrain.answers.law import MOST_ERROR, HeapMeter, Law, fit_laws
from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import ChildFailed
from memtrain.graph.ops import ACTIVATIONS
from memtrain.measure.host import Host
from memtrain.models.network import DTYPES
from memtrain.planning.remat.policy import NONE
from memtrain.run.allocation import FRESH
from memtrain.training.iteration import UPDATES
from memtrain.training.optimizers import OPTIMIZERS
from memtrain.training.sources import SYNTHETIC

UNSEEN, UNSEEN_MEASURED = 12, 4
"""The number of cells with which a law is compared: predicted, and measured by the heap meter."""

MOST_MEASURED_BYTES = 64 * 1024**2
"""Grids with a larger cell are not measured, so that two cores need only minutes."""

POLICIES = ("sqrt", "revolve:2", "revolve:4", "budget:4MiB")


@dataclass
class Tally:
    """The counts of one kind of grids: those with measured heap peaks, or those with predicted peaks."""

    grids: int = 0
    stating: int = 0
    laws: int = 0
    checked: int = 0
    largest_error: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    """Fit and check; returns 1 if a law is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grids", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--heap", type=int, default=20, help="grids whose heap peaks are measured")
    options = parser.parse_args()
    measured, predicted = Tally(), Tally()
    with Host() as host:
        for number in range(options.grids):
            random = Random(f"{options.seed} {number}")
            cells = grid(random)
            if measured.grids < options.heap and all(map(small, cells)):
                check(cells, cache(partial(measured_peak, host)), UNSEEN_MEASURED, random, measured)
            else:
                check(cells, cache(predicted_peak), UNSEEN, random, predicted)
    for name, tally in (("measured", measured), ("predicted", predicted)):
        largest, most = 100 * tally.largest_error, 100 * MOST_ERROR
        print(
            f"{tally.grids} grids with {name} heap peaks: {tally.stating} state {tally.laws} laws. "
            f"Held against {tally.checked} cells that were not fitted: at most {largest:.4f} % off, "
            f"{len(tally.wrong)} beyond {most:g} %."
        )
        for reason, count in tally.reasons.most_common():
            print(f"    {count} times no law: {reason}")
        for line in tally.wrong:
            print(f"WRONG: {line}", file=sys.stderr)
    return 1 if measured.wrong or predicted.wrong else 0


def grid(random: Random) -> list[Cell]:
    """The cells of a random sweep over some depths and batches. All other settings are random, too."""

    def some(most_count: int, least: int, most: int) -> list[int]:
        count = random.randint(1, most_count)
        return sorted({round(least * (most / least) ** random.random()) for _ in range(count)})

    def mostly(usual: str, others: tuple[str, ...]) -> str:
        return usual if random.random() < 0.85 else random.choice(others)

    depths = some(6, 1, 24)
    if random.random() < 0.2:
        depths = [0, *depths]
    accumulate = random.choice((1, 1, 1, 2, 3, 8))
    fields = {
        "width": some(1, 1, 512)[0],
        "activation": random.choice(list(ACTIVATIONS)),
        "bias": random.random() < 0.5,
        "optimizer": random.choice(OPTIMIZERS),
        "l2": random.choice((0.0, 1e-4)),
        "dtype": random.choice(DTYPES),
        "update": random.choice(UPDATES),
        "policy": mostly(NONE, POLICIES),
        "cost": "flops",
        "accumulate": accumulate,
        "allocation": mostly("auto", ("fresh", "packed")),
    }
    if random.random() < 0.5:
        sizes = {"input_size": some(1, 1, 512)[0], "output_size": some(1, 2, 512)[0]}
        fields |= {"data": SYNTHETIC, **sizes}
    batches = [accumulate * parts for parts in some(5, 1, 2048 // accumulate)]
    return [cell_of(depth=depth, batch=batch, **fields) for depth, batch in product(depths, batches)]


def check(cells: list[Cell], heap: HeapMeter, unseen_count: int, random: Random, tally: Tally) -> None:
    """Fit the laws of a sweep over ``cells``, and compare each with cells to which it was not fitted."""
    tally.grids += 1
    rows = [Row(cell, mode, {"heap_peak_bytes": heap(cell, mode)}) for cell, mode in product(cells, Mode)]
    verdicts = fit_laws(rows, heap)
    laws = [verdict for verdict in verdicts if isinstance(verdict, Law)]
    tally.stating += bool(laws)
    tally.laws += len(laws)
    tally.reasons.update(verdict.reason for verdict in verdicts if not isinstance(verdict, Law))
    for law in laws:
        for cell in unseen(law, unseen_count, random):
            peak = heap(cell, law.mode)
            if peak is None:
                continue
            error = abs(law.peak_bytes(cell["depth"], cell.batch) - peak) / peak
            tally.checked += 1
            tally.largest_error = max(tally.largest_error, error)
            if error > MOST_ERROR:
                tally.wrong.append(f"{100 * error:.3f} % at {cell.key(law.mode)}")


def unseen(law: Law, count: int, random: Random) -> set[Cell]:
    """Cells within the range of a law to which it was not fitted: all, but at most ``count``."""
    cell, step = replace(law.cell, policy=NONE), law.cell.accumulate
    found = {
        cell.changed(
            depth=random.randint(*law.depths),
            batch=step * random.randint(*(batch // step for batch in law.batches)),
        )
        for _ in range(count)
    }
    return found - {replace(fitted, policy=NONE) for fitted in law.cells}


def predicted_peak(cell: Cell, mode: Mode) -> int | None:
    """The predicted peak of a cell without its policy. A cell with a plan has no law, whatever its peak."""
    plain = cell.changed(policy=NONE, allocation=FRESH)
    peak: int | None = predicted_row(plain, mode)["predicted_peak_bytes"]
    return peak


def measured_peak(host: Host, cell: Cell, mode: Mode) -> int | None:
    """The heap peak of a cell; ``None`` if no plan is within the budget of its policy."""
    try:
        return int(host.measure("heap", cell, mode)["heap_peak_bytes"])
    except ChildFailed:
        return None


def small(cell: Cell) -> bool:
    """Whether a measurement of the cell is quick."""
    return (predicted_peak(cell, Mode.TRAIN) or 0) <= MOST_MEASURED_BYTES


if __name__ == "__main__":
    sys.exit(main())
