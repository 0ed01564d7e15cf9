"""``memtrain sweep``: depth × batch, training beside inference."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cli.options import Bias, Force, Layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memtrain.measure.cell import Cell, Mode
    from memtrain.measure.row import Row
    from memtrain.sweeps.law import Law
    from memtrain.sweeps.runner import Task
    from memtrain.sweeps.store import RowStore


def sweep(
    depth: Annotated[
        str | None,
        typer.Option(
            help="Hidden layers, 0 for none: 8, or 2,4,8, or 1:16:x2, or 1:16:+3.", show_default="1:16:x2"
        ),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Examples in a batch: a range, too.", show_default="64,256,1024")
    ] = None,
    width: Annotated[
        str | None, typer.Option(help="Width of every hidden layer: a range.", show_default="256")
    ] = None,
    layers: Layers = None,
    input_size: Annotated[str | None, typer.Option(help="Input size, on synthetic data: a range.")] = None,
    output_size: Annotated[str | None, typer.Option(help="Output size, on synthetic data: a range.")] = None,
    activation: Annotated[
        str, typer.Option(help="Of relu, tanh, sigmoid, gelu, gelu_tanh, identity: one or a list.")
    ] = "relu",
    bias: Bias = False,
    optimizer: Annotated[str, typer.Option(help="Of sgd, momentum, adam: one or a list.")] = "sgd",
    l2: Annotated[str, typer.Option(help="λ of the regulariser λ/2·Σ‖W‖²: one or a list.")] = "1e-4",
    dtype: Annotated[str, typer.Option(help="float32, float64 or both as a list.")] = "float32",
    data: Annotated[
        str | None,
        typer.Option(help="digits, synthetic, or a .npz or .csv file: one or a list.", show_default="digits"),
    ] = None,
    update: Annotated[
        str, typer.Option(help="deferred: after backward, or eager: as soon as a gradient exists; or both.")
    ] = "deferred",
    allocation: Annotated[
        str,
        typer.Option(
            help="fresh: an array for each value; packed: one arena for all; auto: fresh for memory, packed"
            " for time. One or a list."
        ),
    ] = "auto",
    seed: Annotated[str, typer.Option(help="Of start values and batches: a range.")] = "0",
    threads: Annotated[str, typer.Option(help="BLAS threads, for all meters: a range.")] = "1",
    steps: Annotated[str, typer.Option(help="Iterations that a meter watches, at least 2: a range.")] = "3",
    mode: Annotated[str, typer.Option(help="both, train or infer.")] = "both",
    meters: Annotated[
        str, typer.Option(help="Of ledger, heap, resident, time; the ledger runs always.")
    ] = "ledger,heap,resident,time",
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Memory measurements at a time; time is measured alone.", show_default="a core each, up to 4"
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which a measurement is given up.")
    ] = None,
    export_csv: Annotated[
        Path | None,
        typer.Option(help="Rows, as they finish.", show_default="results/sweep-<date>-<time>.csv"),
    ] = None,
    export_json: Annotated[
        Path | None, typer.Option(help="Rows with retained intermediates, laws and environment.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="That JSON to stdout instead of the tables.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List cells and predicted peaks; run nothing.")
    ] = False,
    force: Force = False,
) -> None:
    """Measure peak memory over depth × batch, training beside inference.

    \b
    Examples:
      memtrain sweep
      memtrain sweep --depth 1,4,16 --batch 128,1024 --export-csv out.csv
      memtrain sweep --activation relu,gelu --batch 64:1024:x2 --dry-run
    """
    # What computes is imported here, so that --help does not wait for numpy.
    from memtrain.cli.console import messages, results, warn
    from memtrain.measure.row import predicted_row
    from memtrain.report.findings import findings
    from memtrain.report.json import sweep_document
    from memtrain.report.terminal.sweep import sweep_tables
    from memtrain.sweeps.grid import make_grid, oversized_batches
    from memtrain.sweeps.ranges import parse_integers, parse_numbers, parse_sizes, parse_words
    from memtrain.sweeps.store import RowStore, check_outputs, write_new
    from memtrain.sweeps.sweep import check_limits, check_meters, laws_of, make_tasks

    axes: dict[str, Any] = {
        "activation": parse_words(activation, "--activation"),
        "bias": bias,
        "optimizer": parse_words(optimizer, "--optimizer"),
        "l2": parse_numbers(l2, "--l2"),
        "dtype": parse_words(dtype, "--dtype"),
        "update": parse_words(update, "--update"),
        "allocation": parse_words(allocation, "--allocation"),
        "seed": parse_integers(seed, "--seed", least=0),
        "threads": parse_integers(threads, "--threads"),
        "steps": parse_integers(steps, "--steps", least=2),
    }
    ranges = {
        "depth": depth,
        "batch": batch,
        "width": width,
        "input_size": input_size,
        "output_size": output_size,
    }
    for name, text in ranges.items():
        if text is not None:
            option = f"--{name.replace('_', '-')}"
            axes[name] = parse_integers(text, option, least=0 if name == "depth" else 1)
    if data is not None:
        axes["data"] = parse_words(data, "--data")
    cells = make_grid(axes, None if layers is None else parse_sizes(layers, "--layers"))
    tasks = make_tasks(cells, mode)
    wanted = check_meters(parse_words(meters, "--meters"))
    path = export_csv or _new_path()
    check_outputs({"--export-csv": path, "--export-json": export_json}, force)
    check_limits(jobs, timeout)

    out, log = results(), messages()
    for name, examples in oversized_batches(cells).items():
        warn(log, f"batches larger than the {examples:,} training examples of {name} draw rows again, seeded")

    def show(rows: Sequence[Row], laws: Sequence[Law] = ()) -> None:
        document = sweep_document(rows, laws, shlex.join(["memtrain", *sys.argv[1:]]))
        if export_json is not None:
            write_new(export_json, document, force)
        if json:
            typer.echo(document)
        else:
            for table in sweep_tables(rows, out.width):
                out.print(table)
                out.print()
            for sentence in findings(rows, laws):
                out.print(sentence, markup=False)

    if dry_run:
        predictions = [predicted_row(cell, one) for cell, one in tasks]
        if export_csv is not None:
            with RowStore(export_csv, force) as store:
                for row in predictions:
                    store.add(row)
        show(predictions)
        return
    done: list[Row] = []
    try:
        with RowStore(path, force) as store:
            rows = _measure(tasks, wanted, jobs, timeout, store, done)
            store.put_in_order(rows)
    except (KeyboardInterrupt, SystemExit):
        if done:
            show(done)
        warn(log, f"stopped after {len(done)} of {len(tasks)} rows; they are in {path}")
        raise
    show(rows, laws_of(rows))
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        warn(log, note)
    log.print(f"rows: {path}", markup=False, soft_wrap=True)
    if not all(row.ok for row in rows):
        raise typer.Exit(1)


def _measure(
    tasks: Sequence[Task],
    meters: Sequence[str],
    jobs: int | None,
    timeout_s: float | None,
    store: RowStore,
    done: list[Row],
) -> list[Row]:
    """Run the sweep behind a progress bar; every finished row goes to the store and to ``done``."""
    from memtrain.cli.console import progress_bar
    from memtrain.report.findings import cell_name
    from memtrain.sweeps.sweep import expected_s, run_sweep

    with progress_bar() as progress:
        expected = {task: expected_s(*task, meters) for task in tasks}
        bar = progress.add_task("", total=sum(expected.values()), count=f"0/{len(tasks)}")

        def finished(row: Row) -> None:
            store.add(row)
            done.append(row)
            progress.update(bar, advance=expected[row.cell, row.mode], count=f"{len(done)}/{len(tasks)}")

        def started(cell: Cell, mode: Mode) -> None:
            progress.update(bar, description=f"{cell_name(cell)}, {mode}")

        return run_sweep(
            tasks, meters=meters, jobs=jobs, timeout_s=timeout_s, started=started, finished=finished
        )


def _new_path() -> Path:
    """Where rows go unless said otherwise: a file that does not exist yet."""
    stem = f"sweep-{datetime.now():%Y%m%d-%H%M%S}"
    paths = (Path("results", f"{stem}{suffix}.csv") for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return next(path for path in paths if not path.exists())
