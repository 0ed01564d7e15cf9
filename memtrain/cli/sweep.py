"""``memtrain sweep``: depth × batch, training beside inference."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cli.options import Bias, Jobs, Layers, Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memtrain.measure.cell import Cell, Mode
    from memtrain.measure.row import Row
    from memtrain.sweeps.law import Law
    from memtrain.sweeps.request import Request
    from memtrain.sweeps.runner import Task
    from memtrain.sweeps.store import RowStore

BESIDE_RESUME = ("resume", "jobs", "timeout", "export_json", "html", "json", "force")
"""Options that do not say what is measured."""


def sweep(
    context: typer.Context,
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
    memory_limit: Annotated[
        str | None,
        typer.Option(
            help="Run each cell under this hard limit: 64MiB, or bytes; or a list.", show_default="none"
        ),
    ] = None,
    repeat: Annotated[
        int, typer.Option(help="Measure each figure so often: medians, and how far they spread.")
    ] = 1,
    jobs: Jobs = None,
    timeout: Timeout = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="The CSV of a sweep that was stopped: measure what is missing or failed."),
    ] = None,
    export_csv: Annotated[
        Path | None,
        typer.Option(help="Rows, as they finish.", show_default="results/sweep-<date>-<time>.csv"),
    ] = None,
    export_json: Annotated[
        Path | None, typer.Option(help="Rows with retained intermediates, laws and environment.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="The page that memtrain report makes of the rows.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="That JSON to stdout instead of the tables.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List cells and predicted peaks; run nothing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Overwrite files that exist; try cells that free memory is too small for."
        ),
    ] = False,
) -> None:
    """Measure peak memory over depth × batch, training beside inference.

    \b
    Examples:
      memtrain sweep
      memtrain sweep --depth 1,4,16 --batch 128,1024 --export-csv out.csv
      memtrain sweep --activation relu,gelu --batch 64:1024:x2 --dry-run
      memtrain sweep --memory-limit 64MiB
    """
    # What computes is imported here, so that --help does not wait for numpy.
    from memtrain.cli.console import messages, results, warn
    from memtrain.measure.client import SERVERS, measuring_environment
    from memtrain.measure.doctor import State, examine_memory
    from memtrain.measure.row import predicted_row
    from memtrain.report.findings import findings
    from memtrain.report.html import check_installed, report_html
    from memtrain.report.json import sweep_document
    from memtrain.report.terminal.sweep import sweep_tables
    from memtrain.sweeps.files import check_outputs, write_new
    from memtrain.sweeps.grid import oversized_batches
    from memtrain.sweeps.journal import SUFFIX, Journal, check_same, journal_path
    from memtrain.sweeps.ranges import parse_integers, parse_numbers, parse_sizes, parse_words
    from memtrain.sweeps.request import Request, make_tasks
    from memtrain.sweeps.store import RowStore, rows_csv
    from memtrain.sweeps.sweep import check_limits, laws_of
    from memtrain.units import parse_bytes

    out, log = results(), messages()
    check_limits(jobs, timeout)
    if html is not None:
        check_installed()
    if resume is not None:
        _refuse_beside_resume(context)
        check_outputs({"--export-json": export_json, "--html": html}, force)
        path = resume.with_name(resume.name.removesuffix(SUFFIX))
        journal, stored = Journal.reopen(journal_path(resume))
        request = stored.request
    else:
        axes: dict[str, Any] = {
            "activation": parse_words(activation, "--activation"),
            "bias": [bias],
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
        if memory_limit is not None:
            limits = parse_words(memory_limit, "--memory-limit")
            axes["memory_limit_bytes"] = [parse_bytes(limit, "--memory-limit") for limit in limits]
        sizes = None if layers is None else parse_sizes(layers, "--layers")
        request = Request(axes, sizes, mode, parse_words(meters, "--meters"), repeat)
        path = export_csv or _new_path()
        check_outputs({"--export-csv": path, "--export-json": export_json, "--html": html}, force)
    cells = request.cells()
    tasks = make_tasks(cells, request.mode)
    for name, examples in oversized_batches(cells).items():
        warn(log, f"batches larger than the {examples:,} training examples of {name} draw rows again, seeded")

    command = shlex.join(["memtrain", *sys.argv[1:]])

    def show(rows: Sequence[Row], laws: Sequence[Law] = ()) -> None:
        document = sweep_document(rows, laws, command)
        if export_json is not None:
            write_new(export_json, document, force)
        if html is not None:
            write_new(html, report_html(rows, commands=[command], laws=laws), force)
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
            write_new(export_csv, rows_csv(predictions), force)
        show(predictions)
        return

    for finding in examine_memory():
        if finding.state is not State.FINE:
            warn(log, f"{finding.subject}: {finding.found}; {finding.remedy}")
    done: dict[Task, Row] = {}
    with SERVERS:
        environment = measuring_environment(cells[0])
        if resume is None:
            store = RowStore.create(path, tasks, request, environment, command, force)
        else:
            check_same(stored.environment, environment)
            store = RowStore.resume(path, tasks, journal, stored)
            done = {task: row for task in tasks if (row := stored.good_row(*task)) is not None}
            log.print(f"{len(done)} of {len(tasks)} rows are there already", soft_wrap=True)
        try:
            with store:
                _measure(tasks, request, jobs, timeout, store, done, force)
            rows = _in_order(tasks, done)
            laws = laws_of(rows)
        except (KeyboardInterrupt, SystemExit):
            if done:
                show(_in_order(tasks, done))
            warn(log, f"stopped after {len(done)} of {len(tasks)} rows; they are in {path}")
            if store.resumable:
                warn(log, f"to go on: memtrain sweep --resume {shlex.quote(str(path))}")
            raise
    show(rows, laws)
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        warn(log, note)
    log.print(f"rows: {path}", markup=False, soft_wrap=True)
    if not all(row.ok for row in rows):
        raise typer.Exit(1)


def _measure(
    tasks: Sequence[Task],
    request: Request,
    jobs: int | None,
    timeout_s: float | None,
    store: RowStore,
    done: dict[Task, Row],
    force: bool,
) -> None:
    """Measure what is not done, behind a progress bar; finished rows go to the store and to ``done``."""
    from memtrain.cli.console import progress_bar
    from memtrain.report.findings import cell_name
    from memtrain.sweeps.sweep import expected_s, run_sweep

    with progress_bar() as progress:
        waiting = [task for task in tasks if task not in done]
        expected = {task: expected_s(*task, request.meters) for task in waiting}
        bar = progress.add_task("", total=sum(expected.values()), count=f"{len(done)}/{len(tasks)}")

        def finished(row: Row) -> None:
            store.add(row)
            done[row.cell, row.mode] = row
            progress.update(bar, advance=expected[row.cell, row.mode], count=f"{len(done)}/{len(tasks)}")

        def started(cell: Cell, mode: Mode) -> None:
            progress.update(bar, description=f"{cell_name(cell)}, {mode}")

        run_sweep(
            waiting,
            meters=request.meters,
            jobs=jobs,
            timeout_s=timeout_s,
            repeat=request.repeat,
            even_if_lacking=force,
            started=started,
            finished=finished,
        )


def _in_order(tasks: Sequence[Task], done: Mapping[Task, Row]) -> list[Row]:
    return [done[task] for task in tasks if task in done]


def _refuse_beside_resume(context: typer.Context) -> None:
    """Raise ``InputError`` for options that the resumed sweep has already said."""
    from memtrain.errors import InputError

    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in BESIDE_RESUME
        and (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise InputError(
            f"--resume together with {', '.join(given)}",
            "allowed: what the sweep was begun with, which its file says",
            "leave out the rest, or begin a new file",
        )


def _new_path() -> Path:
    """Where rows go unless said otherwise: a file that does not exist yet."""
    stem = f"sweep-{datetime.now():%Y%m%d-%H%M%S}"
    paths = (Path("results", f"{stem}{suffix}.csv") for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return next(path for path in paths if not path.exists())
