"""A picture of the table of a sweep as the terminal shows it. `scripts/pictures` runs this module.

python scripts/pictures.py FOLDER      reads FOLDER/sweep.csv, writes FOLDER/terminal.svg
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console

from memtrain.answers.swept import laws_of
from memtrain.measure.host import Host
from memtrain.report.findings import findings
from memtrain.report.terminal.sweep import sweep_tables
from memtrain.report.terminal.table import fitted, prose
from memtrain.sweeps.results import read_results

WIDTH = 100


def main() -> None:
    folder = Path(sys.argv[1])
    rows = read_results(folder / "sweep.csv").rows
    with Host() as host:
        laws = laws_of(host, rows)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print("$ memtrain sweep", highlight=False)
    console.print(fitted(sweep_tables(rows, WIDTH)[0], WIDTH))
    console.print()
    console.print(prose(findings(rows, laws), WIDTH))
    console.save_svg(str(folder / "terminal.svg"), title="memtrain sweep")


if __name__ == "__main__":
    main()
